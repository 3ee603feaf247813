-- The handlers that are compared, for HAProxy: Lua services. It loads this file once in each thread.

local cjson = require "cjson"
local payload = require "payload"
local socket = require "socket"
local work = require "work"

local items = payload.items(payload.items_64k)

local function reply(applet, value)
    local body = cjson.encode(value)
    applet:set_status(200)
    applet:add_header("content-type", "application/json")
    applet:add_header("content-length", tostring(#body))
    applet:start_response()
    applet:send(body)
end

-- Where there is nothing to decode, nothing is made.
local function decoded(text)
    if text:find "[%%+]" then
        text = text:gsub("%%(%x%x)", function(hex)
            return string.char(tonumber(hex, 16))
        end)
    end
    return text
end

local function query_value(applet, name)
    for key, value in applet.qs:gmatch "([^&=]+)=([^&]*)" do
        if key == name then
            return decoded((value:gsub("+", " ")))
        end
    end
end

-- Lua of 5.3 keeps what is an integer apart; the query's text is one.
local function query_integer(applet, name)
    return math.tointeger(tonumber(query_value(applet, name)))
end

local services = {}

function services.echo(applet)
    reply(applet, { message = "Echo GET", method = applet.method })
end

function services.echo_post(applet)
    reply(applet, { method = applet.method, received = cjson.decode(applet:receive()) })
end

function services.json_64k(applet)
    reply(applet, items)
end

function services.json_64k_built(applet)
    reply(applet, payload.items(payload.items_64k))
end

function services.route(applet)
    local user, post = applet.path:match "^/users/([^/]+)/posts/([^/]+)$"
    reply(applet, { user = decoded(user), post = decoded(post), page = query_value(applet, "page") })
end

function services.headers(applet)
    local count = 0
    for _ in pairs(applet.headers) do
        count = count + 1
    end
    reply(applet, { agent = applet.headers["user-agent"][0], count = count })
end

function services.burn(applet)
    reply(applet, work.burn(query_integer(applet, "turns")))
end

function services.block(applet)
    socket.sleep(0.1)
    reply(applet, { blocked_ms = 100 })
end

for name, service in pairs(services) do
    core.register_service(name, "http", service)
end
