-- Operations on a shared dictionary, many to a request, for poolsrv and for lua-nginx-module: load/compare_shared.
--
-- run(dict, kind, turns): 1000 keys one after the other; of ten turns nine read and one writes.
--   empty    the loop alone        text     values of 20 bytes
--   count    incr in every turn    number   whole numbers

local KEYS = 1000
local keys = {}
for i = 1, KEYS do
    keys[i] = "key:" .. i
end
local TEXT = ("x"):rep(20)

local kinds = {}

function kinds.empty(_, turns)
    local last
    for i = 1, turns do
        local key = keys[i % KEYS + 1]
        if i % 10 == 0 then
            last = i
        else
            last = key
        end
    end
    return last
end

function kinds.text(dict, turns)
    local last
    for i = 1, turns do
        local key = keys[i % KEYS + 1]
        if i % 10 == 0 then
            dict:set(key, TEXT)
        else
            last = dict:get(key)
        end
    end
    return last
end

function kinds.number(dict, turns)
    local last
    for i = 1, turns do
        local key = keys[i % KEYS + 1]
        if i % 10 == 0 then
            dict:set(key, i)
        else
            last = dict:get(key)
        end
    end
    return last
end

function kinds.count(dict, turns)
    local last
    for i = 1, turns do
        last = dict:incr(keys[i % KEYS + 1], 1, 0)
    end
    return last
end

local function fill(dict, value)
    for _, key in ipairs(keys) do
        dict:set(key, value)
    end
end

-- The keys are there before anything is measured.
local function prepare(dict, kind)
    fill(dict, kind == "text" and TEXT or 1)
end

return { run = function(dict, kind, turns) return kinds[kind](dict, turns) end, prepare = prepare }
