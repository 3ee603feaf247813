-- The module "poolsrv.task": work beside requests.
--
-- The chunk returns open(native, where) -> the module.
--   native    spawn(cpu, wall, memory, fn, ...); call(name, { arguments... }) -> { { ok, results or why }... };
--             stopping() -> bool; define(kind, name, fn, options) keeps an entry of the clock.
--   where     of where.lua.

local ipairs, json, pairs, tostring, type = ipairs, json, pairs, tostring, type
local format, math_type, tonumber = string.format, math.type, tonumber
local match, pack, unpack = string.match, table.pack, table.unpack

local UNITS = { [""] = 1, k = 1024, m = 1024 ^ 2, g = 1024 ^ 3 }
local LIMITS = { cpu = true, wall = true, memory = true }

local function open(native, where)
    where.hide("=poolsrv/task.lua")
    local raise = where.raise
    local task = {}

    local function read_bytes(value)
        if type(value) == "string" then
            local digits, unit = match(value, "^(%d+)([kmg]?)$")
            return digits and tonumber(digits) * UNITS[unit]
        end
        return math_type(value) == "integer" and value >= 0 and value
    end

    local function read_limits(limits)
        for name, value in pairs(limits) do
            if not LIMITS[name] then
                raise(format("task.spawn: a limit is one of cpu, wall, memory, not %s", tostring(name)))
            end
            local good = name == "memory" and read_bytes(value) or name ~= "memory" and type(value) == "number"
                and value >= 0 and value <= 1e9
            if not good then
                raise(format("task.spawn: %s = %s: expected %s, 0 for no limit", name, tostring(value),
                    name == "memory" and 'bytes or a text like "64m"' or "seconds"))
            end
        end
        return limits.cpu, limits.wall, limits.memory and read_bytes(limits.memory)
    end

    function task.spawn(first, ...)
        if type(first) == "table" then
            local cpu, wall, memory = read_limits(first)
            if type((...)) ~= "function" then
                raise(format("task.spawn: expected a function behind the limits, not %s", type((...))))
            end
            return native.spawn(cpu, wall, memory, ...)
        elseif type(first) ~= "function" then
            raise(format("task.spawn: expected a function, not %s", type(first)))
        end
        return native.spawn(nil, nil, nil, first, ...)
    end

    local function check_name(title, name)
        if type(name) ~= "string" or not match(name, "^[%w_.-]+%.[%w_]+$") then
            raise(format('%s: expected the name of a module\'s function, as in "thumbnails.make", not %s', title,
                type(name) == "string" and format("%q", name) or type(name)))
        end
    end

    -- Where the other VM was has been logged there; its traceback says nothing about the caller.
    local function reason(text)
        return match(text, "^(.-)\nstack traceback:") or text
    end

    function task.run(name, ...)
        check_name("task.run", name)
        local arguments = pack(...)
        for i = 1, arguments.n do
            if arguments[i] == nil then
                arguments[i] = json.null
            end
        end
        arguments.n = nil
        local outcome = native.call(name, { json.array(arguments) })[1]
        if not outcome[1] then
            raise(format("task.run(%q): %s", name, reason(outcome[2])))
        end
        local results = outcome[2]
        local n = #results
        for i = 1, n do
            if results[i] == json.null then
                results[i] = nil
            end
        end
        return unpack(results, 1, n)
    end

    function task.map(name, list)
        check_name("task.map", name)
        if type(list) ~= "table" then
            raise(format("task.map: expected a list, not %s", type(list)))
        end
        local calls = {}
        for i, value in ipairs(list) do
            calls[i] = json.array({ value })
        end
        local results = json.array({})
        for i, outcome in ipairs(native.call(name, calls)) do
            if not outcome[1] then
                raise(format("task.map(%q): element %d: %s", name, i, reason(outcome[2])))
            end
            results[i] = outcome[2][1]
        end
        return results
    end

    function task.stopping()
        return native.stopping()
    end

    return task
end

return open
