-- What the wrk scripts share: they send requests of routes.lua and look at every reply.
--
-- A reply is read and compared once; after that its bytes are known to be right, and looking at the next one
-- costs a table lookup. wrk does not say which request a reply belongs to, so with several routes a reply is
-- right when it is right for one of them.
--
-- At the end two lines are printed: "wrong: N" for people, and "result name=value ..." for load/run.

local folder = debug.getinfo(1, "S").source:match "^@(.*/)" or "./"
local read_json = dofile(folder .. "json_read.lua")
local routes = dofile(folder .. "routes.lua")
local finish = dofile(folder .. "finish.lua")

local KNOWN_MAX = 1000 -- distinct replies that are remembered

local check = {}

local expected = {} -- the routes of this run
local known = {} -- the status that is right with a body
local known_count = 0

wrong = 0 -- a global, since that is what wrk can read from another thread

local function equal(a, b)
    if type(a) ~= "table" or type(b) ~= "table" then return a == b end
    for key, value in pairs(a) do
        if not equal(value, b[key]) then return false end
    end
    for key in pairs(b) do
        if a[key] == nil then return false end
    end
    return true
end

local function is_right(route, status, body)
    if status ~= (route.status or 200) then return false end
    if route.text then return body == route.text end
    local ok, value = pcall(read_json, body)
    return ok and equal(value, route.json)
end

local function is_expected(status, body)
    for _, route in ipairs(expected) do
        if is_right(route, status, body) then
            if known_count < KNOWN_MAX then
                known[body] = status
                known_count = known_count + 1
            end
            return true
        end
    end
    return false
end

function response(status, _, body)
    if known[body] == status or is_expected(status, body) then return end
    wrong = wrong + 1
    if wrong == 1 then
        io.stderr:write(("the first wrong reply: status %d, %d bytes: %s\n"):format(status, #body, body:sub(1, 300)))
    end
end

finish.install()

-- Sends one route over and over.
function check.one(name)
    local route = assert(routes[name], name)
    expected = { route }
    wrk.method = route.method or "GET"
    wrk.path = route.path
    wrk.headers = route.headers or {}
    wrk.body = route.body
end

-- Sends all routes that have a weight, in an order that is shuffled but the same in every run.
function check.mix()
    local names, deck = {}, {}
    for name, route in pairs(routes) do
        if route.weight then names[#names + 1] = name end
    end
    table.sort(names)
    for _, name in ipairs(names) do
        expected[#expected + 1] = routes[name]
        for _ = 1, routes[name].weight do
            deck[#deck + 1] = routes[name]
        end
    end
    math.randomseed(1)
    for i = #deck, 2, -1 do
        local j = math.random(i)
        deck[i], deck[j] = deck[j], deck[i]
    end

    local requests, at = {}, 0
    function request()
        at = at % #deck + 1
        requests[at] = requests[at]
            or wrk.format(deck[at].method, deck[at].path, deck[at].headers or {}, deck[at].body)
        return requests[at]
    end
end

return check
