-- The module "poolsrv.limit": before-hooks that let a key's requests pass at a rate, and answer 429 to the rest.
--
-- The chunk returns open(native, helpers, where) -> the module.
--   native    limiter(id, rate, burst) -> a limiter, nil while a request is answered; take_key(limiter, text) and
--             take_address(limiter, ip) -> nil, or after how many seconds a request may pass.
--   helpers   error(status, message), as api.error.
--   where     of where.lua.
--
-- A limiter is known by its place in the app, and by which of those made there it is. So it is the same one in
-- every VM, and after a reload that did not move it; a name of its own makes it so whatever moves.

local error, ipairs, pairs, tostring, type = error, ipairs, pairs, tostring, type
local ceil, format, math_type = math.ceil, string.format, math.type

local RATE_MOST, BURST_MOST, FILL_MOST_S = 1e6, 1000000, 1e9
local KNOWN = { "rate", "burst", "name" }

local function open(native, helpers, where)
    where.hide("=poolsrv/limit.lua") -- in strict mode nobody says what it is
    local raise, to_error = where.raise, helpers.error
    local take_address, take_key = native.take_address, native.take_key
    local made, names = {}, {}

    local function shown(value)
        return type(value) == "string" and format("%q", value) or tostring(value)
    end

    local function refuse_unless(good, title, field, value, wanted)
        if not good then
            raise(format("%s: %s = %s: expected %s", title, field, shown(value), wanted))
        end
    end

    local function check_names(title, options)
        for field in pairs(options) do
            local known = false
            for _, name in ipairs(KNOWN) do
                known = known or name == field
            end
            if not known then
                raise(format("%s: %s: no such field; there are rate, burst and name", title, tostring(field)))
            end
        end
    end

    local function id_of(title, name)
        if name == nil then
            local place = where.here()
            made[place] = (made[place] or 0) + 1
            return place .. "\0" .. made[place]
        end
        refuse_unless(type(name) == "string" and name ~= "", title, "name", name, "a text")
        if names[name] then
            raise(format("%s: name = %s: it is taken, at %s", title, shown(name), names[name]))
        end
        names[name] = where.here()
        return "\0" .. name
    end

    local function new_limiter(title, options)
        if type(options) ~= "table" then
            raise(format("%s: expected a table such as { rate = 10, burst = 20 }, not %s", title, type(options)))
        end
        check_names(title, options)
        local rate, burst = options.rate, options.burst
        refuse_unless(type(rate) == "number" and rate > 0 and rate <= RATE_MOST, title, "rate", rate,
            "requests a second, more than 0 and at most 1e6")
        if burst == nil then
            burst = ceil(rate)
        end
        refuse_unless(math_type(burst) == "integer" and burst >= 1 and burst <= BURST_MOST, title, "burst", burst,
            "a whole number from 1 to 1000000")
        refuse_unless(burst / rate <= FILL_MOST_S, title, "rate", rate, "one that fills the bucket within 1e9 seconds")
        return native.limiter(id_of(title, options.name), rate, burst)
            or raise(title .. ": limiters are made while the app loads, not by a handler")
    end

    local function reply_after(seconds)
        local message = format("Too many requests; try again in %d second%s", seconds, seconds == 1 and "" or "s")
        return to_error(429, message):header("Retry-After", tostring(seconds))
    end

    local limit = {}

    function limit.by_address(options)
        local limiter = new_limiter("limit.by_address", options)
        return function(ctx)
            local seconds = take_address(limiter, ctx.ip)
            return seconds and reply_after(seconds)
        end
    end

    function limit.by_header(name, options)
        if type(name) ~= "string" or name == "" then
            raise(format("limit.by_header: expected the name of a header, not %s", shown(name)))
        end
        local limiter = new_limiter("limit.by_header", options)
        return function(ctx)
            local value = ctx:header(name)
            local seconds
            if value then
                seconds = take_key(limiter, value)
            else
                seconds = take_address(limiter, ctx.ip)
            end
            return seconds and reply_after(seconds)
        end
    end

    function limit.by(key_of, options)
        if type(key_of) ~= "function" then
            raise(format("limit.by: expected a function that returns a request's key, not %s", type(key_of)))
        end
        local limiter = new_limiter("limit.by", options)
        return function(ctx)
            local key = key_of(ctx)
            if key == nil then
                return nil
            elseif type(key) ~= "string" and math_type(key) ~= "integer" then
                error("limit.by: the key is a " .. type(key) .. "; expected a text, a whole number, or nil", 0)
            end
            local seconds = take_key(limiter, key)
            return seconds and reply_after(seconds)
        end
    end

    return limit
end

return open
