-- Waits inside coroutines that the app made itself.
--
-- A wait (sleep, a query) yields the private value park_mark to the server. In a coroutine of the app's own
-- that yield would land in the app's coroutine.resume; the functions here hand it on outward, by yielding it
-- again from the coroutine that called resume, and resume the inner one with the answer. The app sees only
-- its own yields.
--
-- The chunk returns install(park_mark, native), which replaces create, resume and wrap in `coroutine`.
--   native.spawned()  if given: called for each coroutine that the app creates
-- Where the caller cannot yield (inside string.gsub or a sort, or while the app loads) the coroutine that
-- wanted to wait is closed, and fails as if the wait had raised an error. Otherwise all is as in the manual.

local coroutine = coroutine
local close, create, resume, status = coroutine.close, coroutine.create, coroutine.resume, coroutine.status
local isyieldable, yield = coroutine.isyieldable, coroutine.yield
local error, format, rawequal, select, type = error, string.format, rawequal, select, type

local CANNOT_WAIT = "attempt to wait inside a coroutine whose caller cannot wait"

local function check_argument(name, wanted, expected, ...)
    local got = type((...))
    if got ~= wanted then
        got = select("#", ...) == 0 and "no value" or got
        error(format("bad argument #1 to '%s' (%s expected, got %s)", name, expected, got), 3)
    end
end

return function(park_mark, native)
    local spawned = native and native.spawned

    local function relay(co, ok, first, ...)
        if not ok or not rawequal(first, park_mark) then
            return ok, first, ...
        elseif not isyieldable() then
            close(co)
            return false, CANNOT_WAIT
        end
        return relay(co, resume(co, yield(first, ...)))
    end

    local function spawn(fn)
        if spawned then
            spawned()
        end
        return create(fn)
    end

    -- A failed coroutine's pending variables are closed; the error they end with is the one that counts, as
    -- in wrap of the library. A string gets the place of the call in front: here two levels up, for this is
    -- tail-called.
    local function unwrap(co, ok, ...)
        if ok then
            return ...
        end
        local err = ...
        if status(co) == "dead" then
            local closed, last = close(co)
            if not closed then
                err = last
            end
        end
        error(err, 2)
    end

    function coroutine.create(...)
        check_argument("create", "function", "function", ...)
        return spawn((...))
    end

    function coroutine.resume(...)
        check_argument("resume", "thread", "coroutine", ...)
        return relay((...), resume(...))
    end

    function coroutine.wrap(...)
        check_argument("wrap", "function", "function", ...)
        local co = spawn((...))
        return function(...)
            return unwrap(co, relay(co, resume(co, ...)))
        end
    end
end
