-- The requests of the load test and what must come back: each with a method (GET), a path, headers, a body, the
-- status (200), and either the text or the value of the JSON that the reply must be. `weight` is the share in
-- the mix, in percent.

local folder = debug.getinfo(1, "S").source:match "^@(.*/)" or "./"
local payload = dofile(folder .. "../apps/payload.lua")

local AS_JSON = { ["Content-Type"] = "application/json" }

return {
    text = { path = "/", text = "hello", weight = 10 },
    echo = { path = "/echo", json = { message = "Echo GET", method = "GET" }, weight = 30 },
    echo_post = {
        method = "POST",
        path = "/echo",
        headers = AS_JSON,
        body = '{"title":"A title","tags":["a","b"],"count":3}',
        json = {
            message = "Echo POST",
            method = "POST",
            received = { title = "A title", tags = { "a", "b" }, count = 3 },
        },
        weight = 10,
    },
    params = { path = "/users/42", json = { user_id = "42" }, weight = 20 },
    query = { path = "/search?name=john", json = { found = "john" }, weight = 10 },
    -- wrk sends Host and what is listed here, so the handler sees two headers.
    headers = {
        path = "/headers",
        headers = { ["User-Agent"] = "load" },
        json = { agent = "load", count = 2 },
        weight = 5,
    },
    body = { method = "POST", path = "/body", body = ("x"):rep(4096), json = { bytes = 4096 }, weight = 5 },
    json_1k = { path = "/json/1k", json = payload.items(payload.items_1k), weight = 9 },
    json_64k = { path = "/json/64k", json = payload.items(payload.items_64k), weight = 1 },
    burn = { path = "/burn?ms=20", json = { burned = 20 } },
    sleep = { path = "/sleep?s=0.1", json = { slept = 0.1 } },
}
