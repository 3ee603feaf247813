-- Sending a mail: by SMTP to the server that SMTP_SERVER=HOST:PORT names, or as a file in the outbox.
--
-- A job may run twice: when the process ends after the mail server has taken the mail and before the queue knows of it.
-- Both mails have the same Message-ID, by which receivers tell that they are one.

local files = require "files"

local SERVER = os.getenv "SMTP_SERVER"
local FROM = os.getenv "MAIL_FROM" or "welcome@example.org"
local TIMEOUT_S = 20

local mail = {}

local function percent(c)
    return ("%%%02x"):format(c:byte())
end

local function message(to, name, id)
    local domain = FROM:match "@(.+)$"
    local headers = {
        ["from"] = FROM,
        ["to"] = to,
        ["subject"] = "Welcome",
        ["message-id"] = ("<%s@%s>"):format(id:gsub("[^%w.+_-]", percent), domain),
        ["mime-version"] = "1.0",
        ["content-type"] = "text/plain; charset=utf-8",
        ["content-transfer-encoding"] = "8bit",
    }
    return headers, ("Dear %s,\r\n\r\nthank you for signing up.\r\n"):format(name)
end

local function send(to, headers, body)
    local smtp = require "socket.smtp" -- Debian's package lua-socket
    local host, port = SERVER:match "^(.-):(%d+)$"
    if not host then error("SMTP_SERVER: HOST:PORT is wanted", 0) end
    smtp.TIMEOUT = TIMEOUT_S
    local ok, fault = smtp.send {
        from = ("<%s>"):format(FROM),
        rcpt = ("<%s>"):format(to),
        server = host,
        port = tonumber(port),
        source = smtp.message { headers = headers, body = body },
    }
    if not ok then error(("%s: %s"):format(SERVER, fault), 0) end
end

local function file(id, headers, body)
    local lines = {}
    for name, value in pairs(headers) do
        lines[#lines + 1] = ("%s: %s\r\n"):format(name, value)
    end
    table.sort(lines)
    files.write(files.path("outbox", id .. ".eml"), table.concat(lines) .. "\r\n" .. body)
end

-- What is wrong with a sign-up, by field; nil when it is fine. Neither may end a header's line.
function mail.faults(new)
    local faults = {}
    if type(new) ~= "table" then return { body = "is no object" } end
    if type(new.email) ~= "string" or #new.email > 100 or not new.email:find "^[%w.+_-]+@[%w-]+%.[%w.-]+$" then
        faults.email = "is no address that mail can be sent to"
    end
    if type(new.name) ~= "string" or #new.name > 100 or new.name == "" or new.name:find "%c" then
        faults.name = "1 to 100 bytes without control characters"
    end
    return next(faults) and faults
end

function mail.welcome(user, id)
    local headers, body = message(user.email, user.name, id)
    if SERVER then send(user.email, headers, body) else file(id, headers, body) end
end

return mail
