-- The handlers that are compared, for Apache's mod_lua. With LuaScope thread each thread loads this file once.

local cjson = require "cjson"
local payload = require "payload"
local socket = require "socket"
local work = require "work"

local items = payload.items(payload.items_64k)

local function reply(r, value)
    local body = cjson.encode(value)
    r.content_type = "application/json"
    r.headers_out["Content-Length"] = tostring(#body)
    r:puts(body)
    return apache2.OK
end

function echo(r)
    if r.method == "POST" then
        return reply(r, { method = r.method, received = cjson.decode((r:requestbody())) })
    end
    return reply(r, { message = "Echo GET", method = r.method })
end

function json_64k(r)
    return reply(r, items)
end

function json_64k_built(r)
    return reply(r, payload.items(payload.items_64k))
end

-- Apache has decoded r.uri and what parseargs() gives.
function route(r)
    local user, post = r.uri:match "^/users/([^/]+)/posts/([^/]+)$"
    return reply(r, { user = user, post = post, page = r:parseargs().page })
end

function headers(r)
    local count = 0
    for _ in pairs(r:headers_in_table()) do
        count = count + 1
    end
    return reply(r, { agent = r.headers_in["User-Agent"], count = count })
end

function burn(r)
    return reply(r, work.burn(math.tointeger(tonumber(r:parseargs().turns))))
end

function block(r)
    socket.sleep(0.1)
    return reply(r, { blocked_ms = 100 })
end
