-- Who is asking? "authorization: Bearer TOKEN" says it, with the token of the sign-up.
--
-- A token in a header is not sent by browsers on their own, so no other site can act for a user. It travels in
-- the clear: put a proxy with TLS in front. There is no expiry, no second token and no way to renew a lost one.

local users = require "users"

local auth = {}

local function refuse(message)
    error(api.error(401, message):header("www-authenticate", 'Bearer realm="blog"'))
end

-- The user who asks. Otherwise the request ends here, with 401.
function auth.user(ctx)
    local header = ctx:headers()["authorization"]
    if not header then refuse "Unauthorized" end
    local scheme, token = header:match "^(%a+) +(%x+)$"
    local user = scheme and scheme:lower() == "bearer" and users.by_token(token)
    return user or refuse "The token is not valid"
end

-- The same, but it must be the user of this id: otherwise the request ends with 403.
function auth.user_is(ctx, id)
    local user = auth.user(ctx)
    if user.id ~= id then error(api.error(403, "This is another user's")) end
    return user
end

return auth
