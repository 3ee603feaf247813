-- The module "poolsrv.task": work beside requests.
--
-- The chunk returns open(native, where) -> the module.
--   native    spawn(cpu, wall, memory, fn, ...); call(name, { arguments... }) -> { { ok, results or why }... };
--             stopping() -> bool; define(kind, name, fn, options) keeps an entry of the clock;
--             duration(value) -> milliseconds, or nil and why; calendar(expression, zone) -> why it is wrong, or nil.
--   where     of where.lua.

local ipairs, json, pairs, tostring, type = ipairs, json, pairs, tostring, type
local format, math_type, tonumber = string.format, math.type, tonumber
local gsub, match, sub = string.gsub, string.match, string.sub
local pack, unpack = table.pack, table.unpack

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

    -- The same entry has the same name on every machine, unless the app's files differ: the name says when it is due
    -- and which of those with that time it is.
    local named = {}
    local function name_of(title, options, made)
        if options.name ~= nil then
            if type(options.name) ~= "string" or not match(options.name, "^[%w._-]+$") or #options.name > 100 then
                where.raise(format("%s: name = %s: expected letters, digits and \"._-\", 100 of them at most", title,
                    tostring(options.name)))
            end
            return "clock." .. options.name
        end
        local base = "clock-" .. gsub(made, "[^%w.-]", "_")
        named[base] = (named[base] or 0) + 1
        return format("%s-%d", sub(base, 1, 100), named[base])
    end

    local ENTRY = { name = true, missed = true, overlap = true, timeout = true }
    local ENTRY_TEXT = "name, missed, overlap, timeout"

    local function read_entry(title, fn, options, more)
        if type(fn) ~= "function" then
            where.raise(format("%s: expected a function, not %s", title, type(fn)))
        elseif type(options) ~= "table" then
            where.raise(format("%s: options are a table, not %s", title, type(options)))
        end
        for field in pairs(options) do
            if not ENTRY[field] and field ~= more then
                where.raise(format("%s: %s: no such option; there are %s%s", title, tostring(field), ENTRY_TEXT,
                    more and ", " .. more or ""))
            end
        end
        local missed, timeout = options.missed or "skip", options.timeout == nil and 3600 or options.timeout
        if missed ~= "skip" and missed ~= "once" then
            where.raise(format('%s: missed = %s: expected "skip" or "once"', title, tostring(missed)))
        end
        local timeout_ms, why = native.duration(timeout)
        if not timeout_ms then
            where.raise(format("%s: timeout: %s", title, why))
        end
        local overlap = options.overlap and 1 or 0
        return { where = where.here(), missed = missed, overlap = overlap, timeout = timeout_ms / 1000 }
    end

    local function define(title, name, fn, definition)
        definition.title = format("%s, %s", title, definition.where)
        local before = native.define("clock", name, fn, definition)
        if before then
            where.raise(format("%s: the name is taken, at %s", title, before))
        end
    end

    task.every = where.guard(function(interval, fn, options)
        local title = format("task.every(%s)", type(interval) == "string" and format("%q", interval)
            or tostring(interval))
        options = options or {}
        local ms, why = native.duration(interval)
        if not ms then
            where.raise(format("%s: %s", title, why))
        elseif ms < 1000 then
            where.raise(title .. ": a second is the least")
        end
        local definition = read_entry(title, fn, options)
        definition.every = ms
        define(title, name_of(title, options, "every-" .. tostring(interval)), fn, definition)
    end)

    task.at = where.guard(function(expression, fn, options)
        local title = format("task.at(%s)", type(expression) == "string" and format("%q", expression)
            or tostring(expression))
        options = options or {}
        if type(expression) ~= "string" then
            where.raise(title .. ': expected a text as in "0 3 * * *"')
        end
        local definition = read_entry(title, fn, options, "zone")
        local zone = options.zone or "UTC"
        if type(zone) ~= "string" then
            where.raise(format('%s: zone = %s: expected a text as in "Europe/Berlin"', title, tostring(zone)))
        end
        local why = native.calendar(expression, zone)
        if why then
            where.raise(format("%s: %s", title, why))
        end
        definition.cron, definition.zone = expression, zone
        define(title, name_of(title, options, "at-" .. expression .. "-" .. zone), fn, definition)
    end)

    function task.stopping()
        return native.stopping()
    end

    return task
end

return open
