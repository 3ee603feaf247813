-- The app that is measured: one route for each thing a handler commonly does. load/run drives every one of them,
-- and load/scripts knows what they must answer.
--
-- poolsrv load/apps/main.lua

local payload = require "payload"

-- Turns of the loop below that make a millisecond on a machine of the 2020s. A fixed number, so that the work is
-- the same everywhere: a clock would let a busy machine do less of it.
local TURNS_PER_MS = 125000
local BURN_MAX_MS = 10000
local SLEEP_MAX_S = 60

-- Made once a VM, when the app is loaded: what is measured is the reply's JSON.
local items_1k = payload.items(payload.items_1k)
local items_64k = payload.items(payload.items_64k)

-- text
function api.get()
    return "hello"
end

-- a small JSON reply
function api.echo.get(ctx)
    return api.json { message = "Echo GET", method = ctx.method }
end

-- a JSON body
function api.echo.post(ctx)
    return api.json { message = "Echo POST", method = ctx.method, received = ctx:json() }
end

-- a path parameter
function api.users.p_id.get(ctx)
    return { user_id = ctx:params().id }
end

-- a query value: /search?name=john
function api.search.get(ctx)
    return { found = ctx:query().name }
end

-- one header by its name, and all of them
function api.headers.get(ctx)
    local count = 0
    for _ in pairs(ctx:headers()) do
        count = count + 1
    end
    return { agent = ctx:header "user-agent", count = count }
end

-- a raw body
function api.body.post(ctx)
    return { bytes = #ctx:body() }
end

api.route("GET", "/json/1k", function()
    return items_1k
end)

api.route("GET", "/json/64k", function()
    return items_64k
end)

local function burn(turns)
    local x = 1
    for i = 1, turns do
        x = (x * 31 + i) & 0xffffffff
    end
    return x
end

-- A number from the query, or a 400.
local function number(ctx, name, most)
    local value = tonumber(ctx:query()[name])
    if not value or not (value >= 0 and value <= most) then
        error(api.error(400, ("%s must be a number from 0 to %d"):format(name, most)))
    end
    return value
end

-- CPU: /burn?ms=20
function api.burn.get(ctx)
    local ms = number(ctx, "ms", BURN_MAX_MS)
    burn(math.floor(ms * TURNS_PER_MS))
    return { burned = ms }
end

-- waiting: /sleep?s=0.1
function api.sleep.get(ctx)
    local seconds = number(ctx, "s", SLEEP_MAX_S)
    sleep(seconds)
    return { slept = seconds }
end
