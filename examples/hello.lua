-- A first app: every common thing once. Start it and try the lines that begin with "curl":
--
--     poolsrv --dev examples/hello.lua
--
-- This file runs once in each VM, and there is one for each thread. A variable out here is therefore one of
-- several: fine for constants and caches, wrong for anything that all requests must agree on (examples/blog keeps
-- that in a database).

local started = os.time()

-- A path is spelled as a name, and the last word is the method. A string is a text reply.
-- curl localhost:8080/
function api.get()
    return "hello\n"
end

-- A table is a JSON reply. p_name takes whatever stands there in the path.
-- curl localhost:8080/hello/Ann
function api.hello.p_name.get(ctx)
    return { message = "Hello, " .. ctx:params().name, method = ctx.method }
end

-- Query values are strings, and absent ones nil.
-- curl 'localhost:8080/add?a=2&b=40'
function api.add.get(ctx)
    local a, b = tonumber(ctx:query().a), tonumber(ctx:query().b)
    if not a or not b then return api.error(400, "a and b must be numbers") end
    return { sum = a + b }
end

-- A JSON body, another status, and a header of one's own. What is not JSON gets a 400 without our help.
-- curl -i localhost:8080/notes -d '{"text":"buy milk"}' -H 'content-type: application/json'
function api.notes.post(ctx)
    local note = ctx:json()
    if type(note) ~= "table" or type(note.text) ~= "string" then
        return api.error(422, "Not a note", { text = "must be a string" })
    end
    return api.json({ length = #note.text }, 201):header("location", "/notes/1")
end

-- The raw body and the request's headers, whose names are in lower case.
-- curl localhost:8080/count --data-binary @README.md
function api.count.post(ctx)
    return { bytes = #ctx:body(), type = ctx:header "content-type" }
end

-- HTML, a redirect, an empty reply.
-- curl -i localhost:8080/page; curl -i localhost:8080/old; curl -i -X DELETE localhost:8080/page
function api.page.get()
    return api.html "<!doctype html><title>Page</title><h1>A page</h1>"
end

function api.old.get()
    return api.redirect "/page"
end

function api.page.delete()
    return api.status(204)
end

-- before() runs ahead of every handler below its place. What it returns, if anything, is the reply.
-- curl -i localhost:8080/admin/uptime; curl localhost:8080/admin/uptime -H 'x-key: sesame'
function api.admin.before(ctx)
    if ctx:header "x-key" ~= "sesame" then return api.error(403, "Forbidden") end
end

function api.admin.uptime.get()
    return { seconds = os.time() - started }
end

-- A waiting handler holds nobody up: its thread serves others meanwhile.
-- curl localhost:8080/later
function api.later.get()
    sleep(1)
    return "that was a second\n"
end

-- A handler that computes for long runs on the threads that have no sockets. The server finds out by measuring;
-- api.heavy says it beforehand.
-- curl localhost:8080/primes/20000
api.primes.p_below.get = api.heavy(function(ctx)
    local below = math.min(tonumber(ctx:params().below) or 0, 1000000)
    local composite, count = {}, 0
    for n = 2, below do
        if not composite[n] then
            count = count + 1
            for multiple = n * n, below, n do
                composite[multiple] = true
            end
        end
    end
    return { below = below, primes = count }
end)

-- An error that nobody catches is a 500: with --dev the reply says where it happened, else only the log does.
-- curl -i localhost:8080/oops
function api.oops.get()
    error "this was expected"
end

-- print goes to the log.
api.on_start(function()
    print "hello is ready"
end)
