-- The module "poolsrv.queue": pushing messages, and consuming them.
--
-- The chunk returns open(native, where) -> the module.
--   native    push(queue, value, delay_ms, id, priority, window_ms, wait_ms) -> id, duplicate;
--             stats(queue or ""), peek(queue, most), retry(queue, id), purge(queue); each nil, why and a word for it
--             when it fails. push_all(queue, values, delay_ms, ids, priority, window_ms, wait_ms) -> ids, how many were
--             there; or nil, why, a word, and the ids with false for what failed. duration(value) -> milliseconds, or
--             nil. define(kind, name, fn, options) keeps a consumer, or returns where there is one.
--   where     of where.lua.

local error, ipairs, pairs, setmetatable, tostring, type = error, ipairs, pairs, setmetatable, tostring, type
local concat, floor, format, match, math_type, min, move =
    table.concat, math.floor, string.format, string.match, math.type, math.min, table.move

local PRIORITY_MOST, CONCURRENCY_MOST, BATCH_MOST, RETRIES_MOST = 9, 1024, 1024, 1000
local DELAY_MOST_S, TIME_MOST_S = 3650 * 86400, 86400 * 30
local WINDOW_S = 3600
local NAME_MOST = 127
local BACKOFFS = { exponential = true, linear = true, constant = true }

local function shown(value)
    return type(value) == "string" and format("%q", value) or tostring(value)
end

local function open(native, where)
    where.hide("=poolsrv/queue.lua")
    local raise = where.raise
    local queue = {}

    -- What native's functions return, for those who call: an error that can be told apart by its field `code`.
    local failure = {
        __name = "poolsrv.queue error",
        __tostring = function(self)
            return self.message
        end,
    }

    local function check(title, ok, ...)
        if ok == nil then
            local message, code = ...
            error(setmetatable({ message = title .. ": " .. message, code = code }, failure), 0)
        end
        return ok, ...
    end

    local function refuse(title, field, value, wanted)
        raise(format("%s: %s = %s: expected %s", title, field, shown(value), wanted))
    end

    -- A length of time, in seconds.
    local function number(title, options, field, least, most, preset, wanted)
        local value = options[field]
        if value == nil then
            return preset
        elseif type(value) == "string" then
            local length = native.duration(value)
            value = length and length / 1000 or value
        end
        if type(value) ~= "number" or not (value >= least and value <= most) then
            refuse(title, field, options[field], wanted .. ', or a text such as "5m"')
        end
        return value
    end

    local function whole(title, options, field, least, most, preset)
        local value = options[field]
        if value == nil then
            return preset
        elseif math_type(value) ~= "integer" or value < least or value > most then
            refuse(title, field, value, format("a whole number from %d to %d", least, most))
        end
        return value
    end

    local function check_fields(title, options, known)
        if type(options) ~= "table" then
            raise(format("%s: options are a table, not %s", title, type(options)))
        end
        for field in pairs(options) do
            local found = false
            for _, name in ipairs(known) do
                found = found or name == field
            end
            if not found then
                raise(format("%s: %s: no such option; there are %s", title, tostring(field),
                    concat(known, ", ")))
                raise(format("%s: %s: no such option; there are %s", title, tostring(field), concat(known, ", ")))
            end
        end
    end

    local function check_name(title, field, name)
        if #name > NAME_MOST or not match(name, "^[%w._-]+$") then
            refuse(title, field, name, 'a queue\'s name, of 1 to 127 letters, digits and ".", "_", "-"')
        end
    end

    local PUSH = { "delay", "id", "priority", "window", "wait" }

    local function ms(seconds)
        return floor(seconds * 1000 + 0.5)
    end

    local function push(title, name, value, options)
        if options == nil then
            return native.push(name, value)
        end
        check_fields(title, options, PUSH)
        local delay = number(title, options, "delay", 0, DELAY_MOST_S, 0, "seconds, up to ten years")
        local window = number(title, options, "window", 0, TIME_MOST_S, WINDOW_S, "seconds, up to 30 days")
        local wait = number(title, options, "wait", 0, TIME_MOST_S, 0, "seconds")
        local priority = whole(title, options, "priority", 0, PRIORITY_MOST, 0)
        return native.push(name, value, ms(delay), options.id, priority, ms(window), ms(wait))
    end

    function queue.push(name, value, options)
        return check("queue.push", push("queue.push", name, value, options))
    end

    function queue.try_push(name, value, options)
        return push("queue.try_push", name, value, options)
    end

    local PUSH_ALL = { "delay", "ids", "priority", "window", "wait" }
    local AT_ONCE = 256

    -- push_all in pieces: what native takes at once has its memory for all of it.
    local function push_pieces(name, values, delay, ids, priority, window, wait)
        local all, duplicates = {}, 0
        for first = 1, #values, AT_ONCE do
            local last = min(first + AT_ONCE - 1, #values)
            local piece, piece_ids = move(values, first, last, 1, {}), ids and move(ids, first, last, 1, {})
            local list, more, code, some = native.push_all(name, piece, delay, piece_ids, priority, window, wait)
            move(list or some or {}, 1, #piece, first, all)
            if not list then
                for i = #all + 1, #values do
                    all[i] = false
                end
                return nil, more, code, all
            end
            duplicates = duplicates + more
        end
        return all, duplicates
    end

    function queue.push_all(name, values, options)
        local title = "queue.push_all"
        if type(values) ~= "table" then
            raise(format("%s: expected a list of messages, not %s", title, type(values)))
        end
        options = options or {}
        check_fields(title, options, PUSH_ALL)
        local delay = number(title, options, "delay", 0, DELAY_MOST_S, 0, "seconds, up to ten years")
        local window = number(title, options, "window", 0, TIME_MOST_S, WINDOW_S, "seconds, up to 30 days")
        local wait = number(title, options, "wait", 0, TIME_MOST_S, 0, "seconds")
        local priority = whole(title, options, "priority", 0, PRIORITY_MOST, 0)
        local ids = options.ids
        if ids ~= nil and (type(ids) ~= "table" or #ids ~= #values) then
            raise(format("%s: ids: expected a list of as many ids as there are messages, %d", title, #values))
        end
        local list, more, code, all = push_pieces(name, values, ms(delay), ids, priority, ms(window), ms(wait))
        if not list then
            local pushed = 0
            for _, id in ipairs(all) do
                pushed = pushed + (id and 1 or 0)
            end
            local message = format("%s: %d of %d messages were not pushed: %s", title, #values - pushed, #values, more)
            error(setmetatable({ message = message, code = code, ids = all }, failure), 0)
        end
        return list, more
    end

    function queue.stats(name)
        if name == nil then
            return (check("queue.stats", native.stats("")))
        end
        local list = check("queue.stats", native.stats(name))
        return list[1] or { queue = name, ready = 0, delayed = 0, taken = 0, oldest = 0 }
    end

    function queue.peek(name, most)
        return (check("queue.peek", native.peek(name, most or 10)))
    end

    function queue.retry(name, id)
        return (check("queue.retry", native.retry(name, id)))
    end

    function queue.purge(name)
        return (check("queue.purge", native.purge(name)))
    end

    local CONSUME = { "concurrency", "retries", "backoff", "delay", "max_delay", "timeout", "dead_letter", "batch",
        "lease" }

    queue.consume = where.guard(function(name, options, fn)
        if fn == nil and type(options) == "function" then
            options, fn = {}, options
        end
        if type(name) ~= "string" then
            raise("queue.consume: the queue's name is a text, not " .. type(name))
        end
        local title = format('queue.consume("%s")', name)
        check_name(title, "queue", name)
        if type(fn) ~= "function" then
            raise(format("%s: expected a function that is given the message and the job, not %s", title, type(fn)))
        end
        check_fields(title, options, CONSUME)
        local backoff = options.backoff
        if backoff ~= nil and not BACKOFFS[backoff] then
            refuse(title, "backoff", backoff, '"exponential", "linear" or "constant"')
        end
        local dead = options.dead_letter
        if dead ~= nil and dead ~= false and type(dead) ~= "string" then
            refuse(title, "dead_letter", dead, "a queue's name, or false to let such messages go")
        end
        dead = dead == nil and name .. ".dead" or dead or ""
        if dead ~= "" then
            check_name(title, "dead_letter", dead)
        end
        if dead == name then
            raise(title .. ": the dead letters of a queue go into another one")
        end
        local definition = {
            where = where.here(),
            concurrency = whole(title, options, "concurrency", 1, CONCURRENCY_MOST, 1),
            retries = whole(title, options, "retries", 0, RETRIES_MOST, 5),
            batch = whole(title, options, "batch", 1, BATCH_MOST, 0),
            backoff = backoff or "exponential",
            delay = number(title, options, "delay", 0, TIME_MOST_S, 1, "seconds before the first retry"),
            max_delay = number(title, options, "max_delay", 0, TIME_MOST_S, 3600, "seconds between two tries at most"),
            timeout = number(title, options, "timeout", 0, TIME_MOST_S, 60, "seconds, 0 for no limit"),
            lease = number(title, options, "lease", 1, TIME_MOST_S, 30, "seconds, 1 at least"),
            dead_letter = dead,
        }
        local before = native.define("consume", name, fn, definition)
        if before then
            raise(format("%s: the queue has a consumer already, at %s", title, before))
        end
    end)

    return queue
end

return open
