-- What load/profile_context_creation.sh asks of load/apps/context.lua, and what must come back. The program in
-- C, the script of wrk and the report all read this list; its order is theirs.
--
-- A case has a name, a title, a route and its parameter `id`, a target, a body, the text of the reply, and its
-- status (200). Cases whose name has a slash are there to learn what one field costs; the others are the patterns
-- that the report compares. All send the same headers: what it costs to read them depends on their number.

local BODY = '{"title":"A title","text":"Some words that somebody has typed","tags":["a","b"],"draft":false}'
local QUERY = "page=2&sort=name"

local cases = {
    { name = "none", title = "no context fields", route = "GET /none", target = "/none", text = "ok" },
    { name = "method", title = "only method", route = "GET /method", target = "/method", text = "GET" },
    { name = "params", title = "only params", route = "GET /params/:id", target = "/params/42", text = "42" },
    { name = "all", title = "all fields", route = "POST /all/:id", target = "/all/42?" .. QUERY, body = BODY, text = BODY },
    {
        name = "real",
        title = "real-world: params, body, headers with an auth check",
        route = "POST /users/:id/posts",
        target = "/users/42/posts",
        body = BODY,
        text = BODY,
    },
    { name = "own", title = "own fields on ctx", route = "GET /own", target = "/own", text = "jo" },
}

-- One handler a field; "field/none" reads nothing, and the others are compared with it.
local FIELDS = {
    "none", "method", "path", "target", "ip", "id", "scheme", "host", "headers", "header", "query", "query_all", "params",
    "body", "json", "cookies",
}
for _, field in ipairs(FIELDS) do
    cases[#cases + 1] = {
        name = "field/" .. field,
        title = "reads " .. field,
        route = "POST /field/:id/" .. field,
        target = "/field/42/" .. field .. "?" .. QUERY,
        body = BODY,
        text = "ok",
    }
end

for _, case in ipairs(cases) do
    case.id = case.route:find ":id" and "42"
    case.method = case.route:match "^%u+"
    case.status = 200
end

return {
    cases = cases,
    headers = {
        { "Host", "127.0.0.1" },
        { "User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0" },
        { "Accept", "application/json" },
        { "Accept-Language", "en" },
        { "Accept-Encoding", "gzip, deflate, br" },
        { "Content-Type", "application/json" },
        { "Authorization", "Bearer 3f2a9c1e5b7d4860" },
        { "Cookie", "session=8d4e1f60; theme=dark" },
    },
}
