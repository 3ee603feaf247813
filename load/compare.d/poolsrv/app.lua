-- The handlers that are compared, for poolsrv.

local payload = require "payload"
local work = require "work"
local socket = require "socket"

local items = payload.items(payload.items_64k)

function api.echo.get(ctx)
    return { message = "Echo GET", method = ctx.method }
end

function api.echo.post(ctx)
    return { method = ctx.method, received = ctx:json() }
end

api.route("GET", "/json/64k", function()
    return items
end)

api.route("GET", "/json/64k/built", function()
    return payload.items(payload.items_64k)
end)

function api.users.p_user.posts.p_post.get(ctx)
    local params = ctx:params()
    return { user = params.user, post = params.post, page = ctx:query().page }
end

function api.headers.get(ctx)
    local headers, count = ctx:headers(), 0
    for _ in pairs(headers) do
        count = count + 1
    end
    return { agent = headers["user-agent"], count = count }
end

function api.burn.get(ctx)
    return work.burn(math.tointeger(ctx:query().turns))
end

function api.block.get()
    socket.sleep(0.1)
    return { blocked_ms = 100 }
end
