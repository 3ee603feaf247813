-- What the app defines while it loads: routes, hooks, options, and functions for the start and the stop.
--
-- new(native) -> a table of functions: heavy, route, config, on_start and on_stop are what the app calls
-- under these names; handler_of, add_route, add_hook and add_limits serve assignments to the tree, which begins
-- at `root`; finish() returns the definition but for its field `frozen`. tree.lua says what native and a
-- definition are.
--
-- Mistakes are raised with the place of the definition, and of the other one where two disagree.

local concat, format, lower, upper = table.concat, string.format, string.lower, string.upper
local match, math_type, tonumber = string.match, math.type, tonumber
local getmetatable, ipairs, next, setmetatable, tostring, type =
    getmetatable, ipairs, next, setmetatable, tostring, type
local source = debug.getinfo(1, "S").source

local METHODS = { "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS" }
local IS_METHOD = {}
for _, name in ipairs(METHODS) do
    IS_METHOD[name] = true
end

local LIMITS = { "cpu", "wall", "memory" }
local LONGEST_S, MOST_BYTES = 1e9, 2 ^ 53

local function read_seconds(value)
    if type(value) == "number" and value >= 0 and value <= LONGEST_S then
        return value
    end
    return nil, "a number of seconds, 0 for no limit"
end

local UNITS = { [""] = 1, k = 1024, m = 1024 ^ 2, g = 1024 ^ 3 }

local function read_bytes(value)
    local bytes
    if type(value) == "string" then
        local digits, unit = match(value, "^(%d+)([kmg]?)$")
        bytes = digits and tonumber(digits) * UNITS[unit]
    else
        bytes = math_type(value) == "integer" and value
    end
    if bytes and bytes >= 0 and bytes <= MOST_BYTES then
        return bytes
    end
    return nil, 'a number of bytes or a text like "64m", 0 for no limit'
end

local READ_LIMIT = { cpu = read_seconds, wall = read_seconds, memory = read_bytes }

local function a(value)
    return value == nil and "nil" or "a " .. type(value)
end

return function(native)
    local where, suggest, path, places = native.where, native.suggest, native.path, native.places
    local raise = where.raise
    where.hide(source)

    local root = places.root()
    local routes, starts, stops = {}, {}, {}
    local options, options_where = nil, {}
    local heavy_mark = { __name = "api.heavy" }

    -- The function, and whether it is heavy; nil for what is no handler.
    local function handler_of(value)
        if type(value) == "function" then
            return value, false
        elseif type(value) == "table" and getmetatable(value) == heavy_mark then
            return value.fn, true
        end
    end

    -- `title` is what the app wrote: "api.users.get".
    local function add_route(title, place, method, value)
        local fn, heavy = handler_of(value)
        if not fn then
            raise(format("%s: a handler is a function, not %s", title, a(value)))
        end
        local at = where.statement(fn)
        local ok, why = places.add_handler(place, method, { fn = fn, where = at })
        if not ok then
            raise(format("%s: %s %s: %s", title, method, path.pattern_of(places.segments(place)), why), at)
        end
        routes[#routes + 1] = { method = method, place = place, fn = fn, heavy = heavy, where = at }
    end

    local function add_hook(title, place, name, value)
        local fn, heavy = handler_of(value)
        if not fn then
            raise(format("%s: a hook is a function, not %s", title, a(value)))
        end
        local at = where.statement(fn)
        if heavy then
            raise(title .. ": only a route can be heavy; its hooks run where it runs", at)
        end
        local ok, why = places.add_hook(place, name, { fn = fn, where = at })
        if not ok then
            raise(title .. ": " .. why, at)
        end
    end

    -- { cpu = seconds, wall = seconds, memory = bytes or "64m" } for a place and all below it.
    local function add_limits(title, place, given)
        if type(given) ~= "table" then
            raise(format("%s: limits are a table, as in { cpu = 1, memory = \"64m\" }, not %s", title, a(given)))
        end
        local limits = {}
        for kind, value in next, given do
            local read = READ_LIMIT[kind]
            if not read then
                local near = type(kind) == "string" and suggest(kind, LIMITS)
                local hint = near and format('; did you mean "%s"?', near) or ""
                raise(format("%s: a limit is one of %s, not %s%s", title, concat(LIMITS, ", "), tostring(kind), hint))
            end
            local limit, wanted = read(value)
            if not limit then
                raise(format("%s: %s is %s, not %s", title, kind, wanted, tostring(value)))
            end
            limits[kind] = limit
        end
        local ok, why = places.add_hook(place, "limits", { fn = limits, where = where.here() })
        if not ok then
            raise(title .. ": " .. why)
        end
    end

    local function heavy(fn)
        if type(fn) ~= "function" then
            raise("api.heavy: a handler is a function, not " .. a(fn))
        end
        return setmetatable({ fn = fn }, heavy_mark)
    end

    local function place_of(segments)
        local place, why = root, nil
        for _, segment in ipairs(segments) do
            place, why = places.child(place, segment)
            if not place then
                return nil, why
            end
        end
        return place
    end

    local function route(method, pattern, value)
        if type(method) ~= "string" or type(pattern) ~= "string" then
            raise('api.route takes a method, a path and a function, as in api.route("GET", "/users/:id", fn)')
        end
        local title = format('api.route("%s", "%s")', method, pattern)
        if not IS_METHOD[upper(method)] then
            local near = suggest(method, METHODS)
            local hint = near and format('; did you mean "%s"?', near) or ""
            raise(format("%s: the method is one of %s%s", title, concat(METHODS, ", "), hint))
        end
        local segments, why = path.segments(pattern)
        local place
        if segments then
            place, why = place_of(segments)
        end
        if not place then
            raise(title .. ": " .. why)
        end
        add_route(title, place, upper(method), value)
    end

    local function config(given)
        if type(given) ~= "table" then
            raise("api.config takes a table of options, as in api.config { threads = 4 }, not " .. a(given))
        end
        for name in next, given do
            if type(name) ~= "string" then
                local got = format("%s (%s)", a(name), tostring(name))
                raise("api.config: options are named by strings, not by " .. got)
            end
        end
        options = options or {}
        local at = where.here()
        for name, value in next, given do
            options[name], options_where[name] = value, at
        end
    end

    -- `each` says whether fn runs once a process or in every VM.
    local function add_step(list, title, fn, given)
        if type(fn) ~= "function" then
            raise(format("%s takes a function, not %s", title, a(fn)))
        end
        if given ~= nil and type(given) ~= "table" then
            raise(format('%s: options are a table, as in { each = "vm" }, not %s', title, a(given)))
        end
        for name in next, given or {} do
            if name ~= "each" then
                raise(format('%s: no option "%s"; the only one is "each"', title, tostring(name)))
            end
        end
        local each = given and given.each
        if each == nil then
            each = "process"
        end
        if each ~= "process" and each ~= "vm" then
            raise(format('%s: each is "process" or "vm", not %s', title, tostring(each)))
        end
        list[#list + 1] = { fn = fn, each = each, where = where.here() }
    end

    local function on_start(fn, given)
        add_step(starts, "api.on_start", fn, given)
    end

    local function on_stop(fn, given)
        add_step(stops, "api.on_stop", fn, given)
    end

    -- Hooks may be defined after the routes they hold for, so the chains are made at the end.
    local function finished(defined)
        local before, after, on_error = places.chains(defined.place)
        return {
            method = defined.method,
            segments = places.segments(defined.place),
            fn = defined.fn,
            heavy = defined.heavy,
            limits = places.limits_of(defined.place),
            where = defined.where,
            before = before,
            after = after,
            on_error = on_error,
        }
    end

    local function finish()
        local list = {}
        for i, defined in ipairs(routes) do
            list[i] = finished(defined)
        end
        return {
            routes = list,
            config = options,
            config_where = options_where,
            on_start = starts,
            on_stop = stops,
        }
    end

    return {
        root = root,
        add_route = add_route,
        add_hook = add_hook,
        add_limits = add_limits,
        handler_of = handler_of,
        heavy = heavy,
        route = route,
        config = config,
        on_start = on_start,
        on_stop = on_stop,
        finish = finish,
    }
end
