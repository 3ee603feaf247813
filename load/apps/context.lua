-- The handlers of load/profile_context_creation.sh: each reads what its name says of the context, and does next to
-- nothing else, so that the context is most of what a request costs in the VM. They are the same for every
-- strategy. What they are asked, and must answer, is in context_requests.lua.
--
-- poolsrv --context lazy load/apps/context.lua

function api.none.get()
    return "ok"
end

function api.method.get(ctx)
    return ctx.method
end

function api.params.p_id.get(ctx)
    return ctx:params().id
end

function api.all.p_id.post(ctx)
    local headers, query, params = ctx:headers(), ctx:query(), ctx:params()
    if ctx.method == "POST" and ctx.path == "/all/42" and headers.accept and query.page == "2" and params.id == "42" then
        return ctx:body()
    end
    return nil, 500
end

-- The design note's own example, with the body in place of a database.
function api.users.p_id.posts.post(ctx)
    local params = ctx:params()
    local body = ctx:body()
    local headers = ctx:headers()
    if not headers["authorization"] then
        return api.error(401, "Unauthorized")
    end
    if params.id ~= "42" then
        return api.error(404, "No such user")
    end
    return body
end

-- What a `before` hook leaves for the handler.
local function sign_in(ctx)
    ctx.user = "jo"
    ctx.role = "editor"
end

function api.own.get(ctx)
    sign_in(ctx)
    return ctx.role == "editor" and ctx.user or nil
end

-- One field each.
local field = api.field.p_id

function field.none.post(ctx)
    local _ = ctx
    return "ok"
end

function field.method.post(ctx)
    local _ = ctx.method
    return "ok"
end

function field.path.post(ctx)
    local _ = ctx.path
    return "ok"
end

function field.target.post(ctx)
    local _ = ctx.target
    return "ok"
end

function field.ip.post(ctx)
    local _ = ctx.ip
    return "ok"
end

function field.id.post(ctx)
    local _ = ctx.id
    return "ok"
end

function field.scheme.post(ctx)
    local _ = ctx.scheme
    return "ok"
end

function field.host.post(ctx)
    local _ = ctx.host
    return "ok"
end

function field.headers.post(ctx)
    local _ = ctx:headers()
    return "ok"
end

function field.header.post(ctx)
    local _ = ctx:header "authorization"
    return "ok"
end

function field.query.post(ctx)
    local _ = ctx:query()
    return "ok"
end

function field.query_all.post(ctx)
    local _ = ctx:query_all()
    return "ok"
end

function field.params.post(ctx)
    local _ = ctx:params()
    return "ok"
end

function field.body.post(ctx)
    local _ = ctx:body()
    return "ok"
end

function field.json.post(ctx)
    local _ = ctx:json()
    return "ok"
end

function field.cookies.post(ctx)
    local _ = ctx:cookies()
    return "ok"
end
