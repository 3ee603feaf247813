-- A Redis client, as small as it can be: redis("HGET", "key", "field") returns the reply, nil for none, and raises
-- errors. One connection for each VM, by lua-socket; a call holds its thread until the reply is there.

local socket = require "socket"

local ADDRESS = os.getenv "CLUSTER_REDIS" or "127.0.0.1:6379"
local TIMEOUT_S = 2

local connection

local function must(value, fault)
    if value == nil then
        if connection then connection:close() end
        connection = nil
        error(("Redis at %s: %s"):format(ADDRESS, fault), 0)
    end
    return value
end

local function connect()
    if connection then connection:close() end
    local host, port = ADDRESS:match "^(.-):(%d+)$"
    local fresh = must(socket.tcp())
    fresh:settimeout(TIMEOUT_S)
    connection = fresh
    must(fresh:connect(host, tonumber(port)))
    fresh:setoption("tcp-nodelay", true)
end

-- Nothing comes unasked but the end, when Redis was restarted meanwhile.
local function is_open()
    connection:settimeout(0)
    local _, fault = connection:receive(1)
    connection:settimeout(TIMEOUT_S)
    return fault == "timeout"
end

-- The next reply, nil for none. An error is { fault = text }: the rest of the reply is to be read all the same.
local function read()
    local line = must(connection:receive "*l")
    local kind, rest = line:sub(1, 1), line:sub(2)
    if kind == "+" then return rest end
    if kind == "-" then return { fault = rest } end
    if kind == ":" then return math.tointeger(tonumber(rest)) end
    local n = tonumber(rest)
    if n < 0 then return nil end
    if kind == "$" then return must(connection:receive(n + 2)):sub(1, n) end
    local list = { n = n }
    for i = 1, n do
        list[i] = read()
    end
    return list
end

return function(...)
    local words, text = table.pack(...), {}
    for i = 1, words.n do
        local word = tostring(words[i])
        text[i] = ("$%d\r\n%s\r\n"):format(#word, word)
    end
    if not connection or not is_open() then connect() end
    must(connection:send(("*%d\r\n%s"):format(words.n, table.concat(text))))
    local reply = read()
    if type(reply) == "table" and reply.fault then error(("Redis: %s: %s"):format(words[1], reply.fault), 0) end
    return reply
end
