-- The handlers that are compared, for lua-nginx-module.

local cjson = require "cjson"
local ffi = require "ffi"
local payload = require "payload"
local work = require "work"

ffi.cdef "int usleep(unsigned int microseconds);"

local encode, decode = cjson.encode, cjson.decode
local items = payload.items(payload.items_64k)

local app = {}

local function reply(value)
    local body = encode(value)
    local header = ngx.header
    header["Content-Type"] = "application/json"
    header["Content-Length"] = #body
    ngx.print(body)
end

function app.echo()
    local method = ngx.req.get_method()
    if method ~= "POST" then
        return reply { message = "Echo GET", method = method }
    end
    ngx.req.read_body()
    reply { method = method, received = decode(ngx.req.get_body_data()) }
end

function app.json_64k()
    reply(items)
end

function app.json_64k_built()
    reply(payload.items(payload.items_64k))
end

-- The location's two groups, which nginx has decoded.
function app.route()
    local var = ngx.var
    reply { user = var[1], post = var[2], page = ngx.req.get_uri_args().page }
end

function app.headers()
    local headers, count = ngx.req.get_headers(), 0
    for _ in pairs(headers) do
        count = count + 1
    end
    reply { agent = headers["user-agent"], count = count }
end

function app.burn()
    reply(work.burn(tonumber(ngx.req.get_uri_args().turns)))
end

function app.block()
    ffi.C.usleep(100000)
    reply { blocked_ms = 100 }
end

return app
