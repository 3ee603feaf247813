-- The chain of one route that has hooks, made once while the app loads.
--
-- The chunk returns compose and, second, the metatable of what is raised for an error that no hook answered.
-- compose(fn, before, after, on_error, helpers) -> function(ctx), which returns what a handler may return.
--   before    functions, outermost first; after, on_error: innermost first. They are not to change later.
--   helpers   reply(...): a handler's return values as a reply object that nobody else has; is_reply(value);
--             log(message).
--
-- The order of a request:
--   1. before(ctx), outermost first. The first that returns something (`nil, status` is something) ends it:
--      that is the reply, and neither the other before hooks nor the handler run.
--   2. The handler.
--   3. A reply raised in 1, 2 or 4 is the reply. Any other error goes to on_error(ctx, err, traceback),
--      nearest first, until one returns something. One that returns nothing or fails leaves the same error to
--      the next one out; its own failure is logged. A reply that it raises counts as returned.
--   4. after(ctx, reply), innermost first and each once, whichever way the reply came: from the handler, a
--      before hook, a raised reply or on_error. What it returns replaces the reply; nothing keeps it. If it
--      fails, the reply of on_error takes the place of the old one and goes on to the hooks further out.
--   An error that nobody answers leaves the chain at once (no after hook sees it) as a table with the fields
--   `error`, the value that was raised, and `traceback`, which begins with its text and shows where it was;
--   tostring gives the traceback. With before hooks alone nothing is caught, and the error itself leaves.
--
-- All of it may yield: hooks and handlers wait inside plain xpcall, whose message handler does not wait. A
-- request makes no closures.

local debug_traceback, error, getmetatable, pcall = debug.traceback, error, getmetatable, pcall
local setmetatable, tostring, type, xpcall = setmetatable, tostring, type, xpcall

local unanswered = { __name = "poolsrv.unanswered" }

function unanswered.__tostring(failure)
    return failure.traceback
end

local function text_of(value)
    if type(value) == "string" then
        return value
    end
    local ok, text = pcall(tostring, value)
    return ok and text or "error object is a " .. type(value)
end

local function fail(value, traceback)
    return setmetatable({ error = value, traceback = traceback }, unanswered)
end

-- Results that say "nothing": none, or nil without a status.
local function is_nothing(body, status)
    return body == nil and status == nil
end

-- The before hooks from the i-th on, then the handler. The results of the hook before come in as `...`.
local function run_from(before, i, fn, ctx, ...)
    if not is_nothing(...) then
        return ...
    end
    local hook = before[i]
    if hook then
        return run_from(before, i + 1, fn, ctx, hook(ctx))
    end
    return fn(ctx)
end

-- Without hooks that look at replies there is nothing to protect: errors and raised replies are the caller's.
local function compose_before(fn, before)
    return function(ctx)
        return run_from(before, 1, fn, ctx)
    end
end

local function compose_all(fn, before, after, on_error, helpers)
    local to_reply, is_reply, log = helpers.reply, helpers.is_reply, helpers.log

    -- Message handler: a raised reply passes, an error becomes a failure that knows where it happened.
    local function caught(value)
        if is_reply(value) then
            return value
        end
        return fail(value, debug_traceback(text_of(value), 2))
    end

    local function first_reply(ctx)
        return to_reply(run_from(before, 1, fn, ctx))
    end

    local function reply_or(otherwise, ...)
        if is_nothing(...) then
            return otherwise
        end
        return to_reply(...)
    end

    local function call_after(hook, ctx, reply)
        return reply_or(reply, hook(ctx, reply))
    end

    local function call_on_error(hook, ctx, failure)
        return reply_or(nil, hook(ctx, failure.error, failure.traceback))
    end

    -- Out of memory, or an error inside `caught`, gives a bare value.
    local function failure_of(value)
        return getmetatable(value) == unanswered and value or fail(value, text_of(value))
    end

    local function ask(hook, ctx, failure)
        local ok, reply = xpcall(call_on_error, caught, hook, ctx, failure)
        if ok then
            return reply
        elseif is_reply(reply) then
            return to_reply(reply)
        end
        log("on_error hook failed: " .. failure_of(reply).traceback)
    end

    local function recover(ctx, failure)
        for i = 1, #on_error do
            local reply = ask(on_error[i], ctx, failure)
            if reply ~= nil then
                return reply
            end
        end
        error(failure, 0)
    end

    local function settled(ctx, ok, value)
        if ok then
            return value
        elseif is_reply(value) then
            return to_reply(value)
        end
        return recover(ctx, failure_of(value))
    end

    return function(ctx)
        local reply = settled(ctx, xpcall(first_reply, caught, ctx))
        for i = 1, #after do
            reply = settled(ctx, xpcall(call_after, caught, after[i], ctx, reply))
        end
        return reply
    end
end

local function compose(fn, before, after, on_error, helpers)
    if #after == 0 and #on_error == 0 then
        return compose_before(fn, before)
    end
    return compose_all(fn, before, after, on_error, helpers)
end

return compose, unanswered
