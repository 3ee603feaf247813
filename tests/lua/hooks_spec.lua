-- The chain of a route with hooks. Run with busted from the root of the source tree.

local compose, unanswered = assert(loadfile("api/lua/hooks.lua", "t"))()

local Reply = {}

local function is_reply(value)
    return getmetatable(value) == Reply
end

-- A reply object that remembers what it was made from.
local function reply(...)
    local first = ...
    if is_reply(first) then
        return first
    end
    return setmetatable({ n = select("#", ...), ... }, Reply)
end

local function returning(...)
    local values = table.pack(...)
    return function()
        return table.unpack(values, 1, values.n)
    end
end

local function raising(value)
    return function()
        error(value, 0)
    end
end

-- A chain from { handler, before =, after =, on_error = }, and what it logged.
local function chain_of(parts)
    local logged = {}
    local helpers = {
        reply = reply,
        is_reply = is_reply,
        log = function(message)
            logged[#logged + 1] = message
        end,
    }
    local fn = compose(parts[1], parts.before or {}, parts.after or {}, parts.on_error or {}, helpers)
    return fn, logged
end

local function values_of(answer)
    assert(is_reply(answer), "no reply")
    return table.unpack(answer, 1, answer.n)
end

-- Functions that note their names in `trace`, and return nothing.
local function tracer()
    local trace = {}
    return trace, function(name, ...)
        local results = table.pack(...)
        return function()
            trace[#trace + 1] = name
            return table.unpack(results, 1, results.n)
        end
    end
end

-- What fn(...) gives when each of its yields is answered with what it yielded, and the number of yields.
local function run_waiting(fn, ...)
    local co, waits = coroutine.create(fn), 0
    local results = table.pack(coroutine.resume(co, ...))
    while coroutine.status(co) == "suspended" do
        waits = waits + 1
        results = table.pack(coroutine.resume(co, table.unpack(results, 2, results.n)))
    end
    assert(results[1], results[2])
    return waits, table.unpack(results, 2, results.n)
end

describe("before hooks", function()
    it("run outermost first, then the handler, all with the context", function()
        local ctx, trace = {}, {}
        local function hook(name)
            return function(given, ...)
                assert.equal(ctx, given)
                assert.equal(0, select("#", ...))
                trace[#trace + 1] = name
            end
        end
        chain_of({ hook("handler"), before = { hook("outer"), hook("inner") } })(ctx)
        assert.same({ "outer", "inner", "handler" }, trace)
    end)

    it("end the request with what they return", function()
        for _, after in ipairs({ {}, { returning() } }) do
            local trace, step = tracer()
            local chain = chain_of({
                step("handler", "page"),
                before = { step("first"), step("second", "stop", 403), step("third") },
                after = after,
            })
            assert.same({ "stop", 403 }, { values_of(reply(chain({}))) })
            assert.same({ "first", "second" }, trace)
        end
    end)

    it("end it with nil and a status", function()
        local chain = chain_of({ returning("page"), before = { returning(nil, 404) }, after = { returning() } })
        local answer = chain({})
        assert.equal(2, answer.n)
        assert.is_nil(answer[1])
        assert.equal(404, answer[2])
    end)

    it("end it with false, which is a reply", function()
        local chain = chain_of({ returning("page"), before = { returning(false) } })
        assert.equal(false, (chain({})))
    end)

    it("let it pass with nil, with nothing, and with nils", function()
        local chain = chain_of({ returning("page"), before = { returning(nil), returning(), returning(nil, nil) } })
        assert.equal("page", (chain({})))
    end)

    it("alone leave values and errors of the handler untouched", function()
        local chain = chain_of({ returning("page", 201, nil), before = { returning() } })
        assert.same({ n = 3, "page", 201 }, table.pack(chain({})))
        local value = {}
        chain = chain_of({ raising(value), before = { returning() } })
        local _, err = pcall(chain, {})
        assert.equal(value, err)
    end)
end)

describe("after hooks", function()
    it("run in the order given, with the context and the reply", function()
        local ctx, trace = {}, {}
        local function hook(name)
            return function(given, answer)
                assert.equal(ctx, given)
                trace[#trace + 1] = name .. " " .. values_of(answer)
            end
        end
        local chain = chain_of({ returning("page"), after = { hook("inner"), hook("outer") } })
        assert.equal("page", values_of(chain(ctx)))
        assert.same({ "inner page", "outer page" }, trace)
    end)

    it("get all values of the handler as one reply", function()
        local seen
        local chain = chain_of({ returning(nil, 204), after = { function(_, answer) seen = answer end } })
        assert.equal(chain({}), seen)
        assert.same({ 2, 204 }, { seen.n, seen[2] })
    end)

    it("replace the reply for those further out", function()
        local seen
        local chain = chain_of({
            returning("page"),
            after = { returning("new", 201), function(_, answer) seen = answer end, returning() },
        })
        assert.same({ "new", 201 }, { values_of(chain({})) })
        assert.equal("new", seen[1])
    end)

    it("keep a reply object as it is", function()
        local mine = reply("mine")
        assert.equal(mine, (chain_of({ returning("page"), after = { returning(mine) } })({})))
    end)

    it("see replies of before hooks, raised replies and replies of on_error alike", function()
        local raised = reply("raised")
        local cases = {
            early = { returning("page"), before = { returning("early") } },
            raised = { raising(raised) },
            mended = { raising("oops"), on_error = { returning("mended") } },
            page = { returning("page") },
        }
        for expected, parts in pairs(cases) do
            local seen
            parts.after = { function(_, answer) seen = answer end }
            assert.equal(expected, values_of(chain_of(parts)({})))
            assert.equal(expected, values_of(seen))
        end
    end)

    it("may raise a reply, and the others still run once each", function()
        local trace, step = tracer()
        local chain = chain_of({
            returning("page"),
            after = { step("a"), raising(reply("raised")), step("c") },
            on_error = { step("error", "no") },
        })
        assert.equal("raised", values_of(chain({})))
        assert.same({ "a", "c" }, trace)
    end)

    it("that fail are answered by on_error, and the others still run once each", function()
        local trace, step = tracer()
        local seen
        local chain = chain_of({
            returning("page"),
            after = { step("a"), raising("oops"), function(_, answer) seen = values_of(answer) end, step("d") },
            on_error = { step("error", "mended") },
        })
        assert.equal("mended", values_of(chain({})))
        assert.equal("mended", seen)
        assert.same({ "a", "error", "d" }, trace)
    end)
end)

describe("a raised reply", function()
    it("is the reply, from the handler and from a before hook", function()
        local no = reply("no")
        local trace, step = tracer()
        local on_error = { step("error", "wrong") }
        assert.equal(no, (chain_of({ raising(no), on_error = on_error })({})))
        assert.equal(no, (chain_of({ step("handler"), before = { raising(no) }, on_error = on_error })({})))
        assert.same({}, trace)
    end)

    it("is the reply from an on_error hook", function()
        local trace, step = tracer()
        local no = reply("no")
        local chain, logged = chain_of({ raising("oops"), on_error = { raising(no), step("outer", "x") } })
        assert.equal(no, (chain({})))
        assert.same({}, trace)
        assert.same({}, logged)
    end)
end)

describe("on_error hooks", function()
    it("get the context, the error as it was raised, and the traceback", function()
        local ctx, value = {}, { code = 7 }
        local got
        local on_error = { function(...) got = table.pack(...) return "mended" end }
        chain_of({ raising(value), on_error = on_error })(ctx)
        assert.equal(3, got.n)
        assert.equal(ctx, got[1])
        assert.equal(value, got[2])
        assert.is_string(got[3])
        local function deep_down()
            local nothing
            return nothing.field .. "x"
        end
        chain_of({ function() local x = deep_down() return x end, on_error = on_error })(ctx)
        assert.truthy(got[2]:find("hooks_spec.lua:%d+: attempt to index a nil value"))
        assert.truthy(got[3]:find("stack traceback:.*deep_down"))
    end)

    it("answer errors of before hooks", function()
        local chain = chain_of({ returning("page"), before = { raising("oops") }, on_error = { returning("mended", 500) } })
        assert.same({ "mended", 500 }, { values_of(chain({})) })
    end)

    it("answer errors in making a reply of what the handler returned", function()
        local helpers = { is_reply = is_reply, log = print }
        helpers.reply = function(body)
            return body == "bad" and error("cannot encode") or reply(body)
        end
        local chain = compose(returning("bad"), {}, {}, { returning("mended") }, helpers)
        assert.equal("mended", values_of(chain({})))
    end)

    it("are asked nearest first until one returns something", function()
        local trace, step = tracer()
        local chain = chain_of({
            raising("oops"),
            on_error = { step("inner"), step("middle", nil, 503), step("outer", "late") },
        })
        assert.same({ nil, 503 }, { values_of(chain({})) })
        assert.same({ "inner", "middle" }, trace)
    end)

    it("that fail are logged, and the next gets the first error", function()
        local got
        local chain, logged = chain_of({
            raising("first"),
            on_error = { raising("second"), function(_, err) got = err return "mended" end },
        })
        assert.equal("mended", values_of(chain({})))
        assert.equal("first", got)
        assert.equal(1, #logged)
        assert.truthy(logged[1]:find("on_error hook failed: second\nstack traceback:", 1, true))
    end)

    it("may return false as a reply", function()
        local chain = chain_of({ raising("oops"), on_error = { returning(false) } })
        assert.equal(false, (values_of(chain({}))))
    end)

    it("get errors that are nil", function()
        local called
        chain_of({ raising(nil), on_error = { function(_, err) called = err == nil return "x" end } })({})
        assert.is_true(called)
    end)
end)

describe("an error that nobody answers", function()
    local function fail(parts)
        local ok, err = pcall(chain_of(parts), {})
        assert.is_false(ok)
        return err
    end

    it("is raised with the value and the traceback of its place", function()
        local function true_place()
            local nothing
            return nothing.field .. "x"
        end
        local function handler()
            local x = true_place()
            return x
        end
        for _, parts in ipairs({
            { handler, on_error = { returning(), returning(nil) } },
            { handler, after = { returning() } },
        }) do
            local err = fail(parts)
            assert.equal(unanswered, getmetatable(err))
            assert.truthy(err.error:find("attempt to index a nil value", 1, true))
            assert.truthy(err.traceback:find("true_place", 1, true))
            assert.equal(1, (err.traceback:find(err.error, 1, true)))
            assert.equal(err.traceback, tostring(err))
        end
    end)

    it("keeps a value that is no text, shown as its tostring in the traceback", function()
        local value = setmetatable({}, { __tostring = function() return "my error" end })
        local err = fail({ raising(value), after = { returning() } })
        assert.equal(value, err.error)
        assert.truthy(err.traceback:find("^my error\nstack traceback:"))
    end)

    it("survives a value whose tostring fails", function()
        local value = setmetatable({}, { __tostring = function() error("no") end })
        local err = fail({ raising(value), after = { returning() } })
        assert.equal(value, err.error)
        assert.truthy(err.traceback:find("error object is a table", 1, true))
    end)

    it("is the first one even if on_error fails", function()
        assert.equal("first", fail({ raising("first"), on_error = { raising("second") } }).error)
    end)

    it("is seen by no after hook", function()
        local trace, step = tracer()
        fail({ raising("oops"), after = { step("after") } })
        assert.same({}, trace)
    end)

    it("may be an endless recursion", function()
        local function endless(n)
            return 1 + endless(n)
        end
        local err = fail({ endless, after = { returning() } })
        assert.truthy(tostring(err):find("stack overflow", 1, true))
        assert.equal("mended", values_of((chain_of({ endless, on_error = { returning("mended") } })(1))))
    end)
end)

describe("waiting", function()
    local wait = coroutine.yield

    it("works in every kind of hook and in the handler", function()
        local chain = chain_of({
            function() wait() error("oops after " .. wait("a wait"), 0) end,
            before = { function() wait() end, function() wait() wait() end },
            on_error = { function() wait() error("again", 0) end, function(_, err) wait() return err end },
            after = { function() wait() end, function(_, answer) wait() return answer[1] .. ", seen" end },
        })
        local waits, answer = run_waiting(chain, {})
        assert.equal(9, waits)
        assert.equal("oops after a wait, seen", values_of(answer))
    end)

    it("works with before hooks alone", function()
        local chain = chain_of({ function() return wait("page") end, before = { function() wait() end } })
        local waits, body = run_waiting(chain, {})
        assert.equal(2, waits)
        assert.equal("page", body)
    end)

    it("keeps the traceback of an error after it", function()
        local function after_wait()
            wait()
            error("late")
        end
        local chain = chain_of({ function() after_wait() return 1 end, after = { returning() } })
        local _, ok, err = run_waiting(pcall, chain, {})
        assert.is_false(ok)
        assert.truthy(err.traceback:find("after_wait", 1, true))
    end)

    it("serves many requests in one chain at a time", function()
        local chain = chain_of({
            function(ctx) wait() return ctx.name end,
            before = { function() wait() end },
            after = { function(ctx, answer) wait() return answer[1] .. ctx.name end },
        })
        local running, answers = {}, {}
        for i = 1, 20 do
            running[i] = coroutine.create(chain)
        end
        for round = 1, 4 do
            for i, co in ipairs(running) do
                local _, answer = assert(coroutine.resume(co, round == 1 and { name = "r" .. i } or nil))
                answers[i] = answer
            end
        end
        for i = 1, 20 do
            assert.equal(("r%dr%d"):format(i, i), values_of(answers[i]))
        end
    end)
end)

describe("the chunk", function()
    it("uses no global that the app may have changed", function()
        local globals = {}
        for name, value in pairs(_G) do
            globals[name] = value
        end
        globals.debug = { traceback = debug.traceback }
        local private = assert(loadfile("api/lua/hooks.lua", "t", globals))()
        globals.debug.traceback = nil
        for name in pairs(globals) do
            globals[name] = nil
        end
        local helpers = { reply = reply, is_reply = is_reply, log = function() end }
        local chain = private(raising({}), { returning() }, { returning() }, { raising("x"), returning("fine") }, helpers)
        assert.equal("fine", values_of(chain({})))
    end)

    it("makes no closures and no tables of its own in a request that goes well", function()
        local answer, ctx = reply("page"), {}
        local fixed = function() return answer end
        local chain = compose(fixed, { function() end }, { function() end }, {},
            { reply = fixed, is_reply = is_reply, log = print })
        chain(ctx)
        collectgarbage()
        collectgarbage("stop")
        local before = collectgarbage("count")
        for _ = 1, 100 do
            chain(ctx)
        end
        local used = collectgarbage("count") - before
        collectgarbage("restart")
        assert.is_true(used < 0.2, "KiB used: " .. used)
    end)
end)
