-- The module "poolsrv.shared": dictionaries and locks that all threads of the server share.
--
-- The chunk returns open(native, methods, define, where) -> the module.
--   native    dict(name, max_bytes, persist) -> a dictionary, nil while a request is answered, or false and why
--             not; now() -> seconds; sleep;
--             lock(name, ttl) -> a token, or nil when it is held; unlock(name, token), extend(name, token, ttl)
--             -> whether it was held by that token; update_get, update_cas: get_versioned and cas under the name of
--             update, for messages.
--             store_dict(name, url) as dict; store_methods; store_update_get, store_update_cas, and store_lock,
--             store_unlock and store_extend with the url first: as those without; store_problem(url) -> what is
--             wrong with it, or nil.
--   methods   of dictionaries, those in C; the others are added here.
--   define    define(kind, name, fn, options) keeps a listener.
--   where     of where.lua.

local error, ipairs, pairs, setmetatable, tostring, type = error, ipairs, pairs, setmetatable, tostring, type
local format, match, lower, math_type, min = string.format, string.match, string.lower, math.type, math.min
local tonumber = tonumber

local MAX_BYTES_PRESET, MAX_BYTES_LEAST, MAX_BYTES_MOST = 16 << 20, 64 << 10, 1 << 46
local UPDATES_MOST = 1000
local TTL_PRESET, TTL_MOST = 30, 1e9
local WAIT_FIRST, WAIT_LONGEST = 0.001, 0.05
local UNITS = { [""] = 1, k = 1 << 10, m = 1 << 20, g = 1 << 30 }

local function open(native, methods, define, where)
    where.hide("=poolsrv/shared.lua") -- in strict mode nobody says what it is
    local raise = where.raise
    local now, sleep = native.now, native.sleep
    local take, give, extend = native.lock, native.unlock, native.extend
    local store_methods = native.store_methods
    local made = {}
    local names = setmetatable({}, { __mode = "k" }) -- dictionary -> its name

    local function shown(value)
        return type(value) == "string" and format("%q", value) or tostring(value)
    end

    local function refuse(what, name, value, wanted)
        raise(format("%s: %s = %s: expected %s", what, name, shown(value), wanted))
    end

    local function check_names(what, options, known)
        if type(options) ~= "table" then
            raise(format("%s: options: expected a table, not %s", what, type(options)))
        end
        for field in pairs(options) do
            local is_known = false
            for _, name in ipairs(known) do
                is_known = is_known or name == field
            end
            if not is_known then
                raise(format("%s: %s: no such option", what, tostring(field)))
            end
        end
    end

    -- --- dictionaries ---

    local function bytes_of(value)
        if type(value) == "string" then
            local digits, unit = match(lower(value), "^(%d+)([kmg]?)$")
            value = digits and #digits < 16 and tonumber(digits) * UNITS[unit]
        end
        return math_type(value) == "integer" and value
    end

    local function max_bytes_of(what, options)
        local value = options.max_bytes
        if value == nil then
            return MAX_BYTES_PRESET
        end
        local bytes = bytes_of(value)
        if not bytes or bytes < MAX_BYTES_LEAST or bytes > MAX_BYTES_MOST then
            refuse(what, "max_bytes", value, 'bytes, as a whole number or a text such as "64m", from "64k" on')
        end
        return bytes
    end

    local function persist_of(what, options)
        local value = options.persist
        if value ~= nil and type(value) ~= "string" then
            refuse(what, "persist", value, 'a text such as "sqlite:shared.db"')
        end
        return value
    end

    local function store_of(what, options)
        local value = options.store
        if value ~= nil and type(value) ~= "string" then
            refuse(what, "store", value, 'a text such as "redis://HOST:PORT/DB"')
        end
        local problem = value and native.store_problem(value)
        if problem then
            raise(format("%s: store: %s", what, problem)) -- not what it is: there may be a password in it
        end
        return value
    end

    local function in_store(what, name, store, options)
        local known = made[name]
        if options.max_bytes ~= nil then
            raise(what .. ": max_bytes: with a store it is Redis that limits the memory, by its setting maxmemory")
        elseif options.persist ~= nil then
            raise(what .. ": persist: with a store it is Redis that keeps what is in it")
        elseif known and known.store ~= store then
            raise(format("%s: store: it was made with another, or with none, at %s", what, known.at))
        elseif known then
            return known.dict
        end
        local dict, why = native.store_dict(name, store)
        if dict == nil then
            raise(what .. ": dictionaries are made while the app loads, not by a handler; keep it in a local")
        elseif not dict then
            raise(format("%s: store: %s", what, why))
        end
        names[dict] = name
        made[name] = { dict = dict, store = store, at = where.here(), kind = "store:" }
        return dict
    end

    local shared = {}

    function shared.dict(name, options)
        if type(name) ~= "string" or not match(name, "^[%w_.-]+$") or #name > 64 then
            raise(format("shared.dict: name: expected up to 64 letters, digits and ._-, not %s", shown(name)))
        end
        local what = format("shared.dict(%q)", name)
        local known = made[name]
        if known and options == nil then
            return known.dict
        end
        check_names(what, options or {}, { "max_bytes", "persist", "store" })
        local store = store_of(what, options or {})
        if store then
            return in_store(what, name, store, options)
        elseif known and known.store then
            raise(format("%s: it was made with a store, at %s", what, known.at))
        end
        local max_bytes = max_bytes_of(what, options or {})
        local persist = persist_of(what, options or {})
        if known then
            if known.max_bytes ~= max_bytes then
                raise(format("%s: max_bytes = %d: it was made with %d, at %s", what, max_bytes, known.max_bytes,
                    known.at))
            end
            if known.persist ~= persist then
                raise(format("%s: persist = %s: it was made with %s, at %s", what, shown(persist),
                    shown(known.persist), known.at))
            end
            return known.dict
        end
        local dict, why = native.dict(name, max_bytes, persist)
        if dict == nil then
            raise(what .. ": dictionaries are made while the app loads, not by a handler; keep it in a local")
        elseif not dict then
            raise(format("%s: persist = %s: %s", what, shown(persist), why))
        end
        names[dict] = name
        made[name] = { dict = dict, max_bytes = max_bytes, persist = persist, at = where.here(), kind = "dict:" }
        return dict
    end

    -- No lock is held while fn runs: it may wait, fail, or take long. Another change meanwhile, and it is asked again.
    local function make_update(get_versioned, cas)
        return function(dict, key, fn, options)
            if type(fn) ~= "function" then
                raise(format("dict:update: fn: expected a function, not %s", type(fn)))
            end
            for _ = 1, UPDATES_MOST do
                local old, version = get_versioned(dict, key)
                local new = fn(old)
                if cas(dict, key, version, new, options) then
                    return new
                end
            end
            error(format("dict:update: key %s was changed by others %d times while fn ran; make fn shorter, or take a lock",
                shown(key), UPDATES_MOST), 2)
        end
    end

    methods.update = make_update(native.update_get, native.update_cas)
    store_methods.update = make_update(native.store_update_get, native.store_update_cas)

    -- It is called in every VM, a moment after the change: fn(key, event, version).
    function methods.on_change(dict, fn)
        local name = names[dict]
        if not name then
            raise(format("dict:on_change: expected a dictionary before the colon, not %s", type(dict)))
        elseif type(fn) ~= "function" then
            raise(format("dict:on_change: expected a function, not %s", type(fn)))
        end
        define("notice", made[name].kind .. name, fn, { where = where.here() })
    end

    store_methods.on_change = methods.on_change

    -- --- locks ---

    local function seconds_of(what, name, value, preset, least)
        if value == nil then
            return preset
        end
        if type(value) ~= "number" or not (value >= least and value <= TTL_MOST) then
            refuse(what, name, value, "seconds, at most 1e9")
        end
        return value
    end

    local lock_methods = {}
    local lock_mt = { __index = lock_methods, __name = "poolsrv.lock" }

    local function check_lock(what, lock)
        if type(lock) ~= "table" or math_type(lock.token) ~= "integer" or type(lock.name) ~= "string" then
            raise(format("%s: expected a lock before the colon, not %s", what, type(lock)))
        end
    end

    -- True if it was held until now; false if its time had ended, and another may have had it.
    function lock_methods.unlock(lock)
        check_lock("lock:unlock", lock)
        if lock.store then
            return native.store_unlock(lock.store, lock.name, lock.token)
        end
        return give(lock.name, lock.token)
    end

    function lock_methods.extend(lock, ttl)
        check_lock("lock:extend", lock)
        local seconds = seconds_of("lock:extend", "ttl", ttl, TTL_PRESET, 1e-9)
        if lock.store then
            return native.store_extend(lock.store, lock.name, lock.token, seconds)
        end
        return extend(lock.name, lock.token, seconds)
    end

    lock_mt.__close = lock_methods.unlock

    local function take_from(store, name, ttl)
        if store then
            return native.store_lock(store, name, ttl)
        end
        return take(name, ttl)
    end

    -- The first wait is short, each next one longer, and the last ends when the time is over.
    local function wait_for(store, name, ttl, wait)
        local token = take_from(store, name, ttl)
        local until_s, pause = now() + wait, WAIT_FIRST
        while not token do
            local left = until_s - now()
            if left <= 0 then
                return nil
            end
            sleep(min(pause, left))
            pause = min(pause * 2, WAIT_LONGEST)
            token = take_from(store, name, ttl)
        end
        return token
    end

    function shared.lock(name, options)
        if type(name) ~= "string" or name == "" then
            raise(format("shared.lock: name: expected a text, not %s", shown(name)))
        end
        options = options == nil and {} or options
        local what = format("shared.lock(%q)", name)
        check_names(what, options, { "ttl", "wait", "store" })
        local store = store_of(what, options)
        local ttl = seconds_of(what, "ttl", options.ttl, TTL_PRESET, 1e-9)
        local token = wait_for(store, name, ttl, seconds_of(what, "wait", options.wait, 0, 0))
        if not token then
            return nil, "locked"
        end
        return setmetatable({ name = name, token = token, store = store }, lock_mt)
    end

    return shared
end

return open
