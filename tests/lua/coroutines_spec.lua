-- Waits inside an app's own coroutines. Run with busted from the root of the source tree.

local plain = {}
for name, value in pairs(coroutine) do
    plain[name] = value
end

local MARK = setmetatable({}, { __eq = function() error("compared by value") end })

-- A table like `coroutine` with the replacements in it; busted goes on with its own.
local function install(native)
    local co = {}
    for name, value in pairs(plain) do
        co[name] = value
    end
    local globals = setmetatable({ coroutine = co }, { __index = _G })
    assert(loadfile("api/lua/coroutines.lua", "t", globals))()(MARK, native)
    return co
end

-- What the server's sleep does: it yields the mark and gets the answer.
local function sleep(...)
    return plain.yield(MARK, ...)
end

-- Runs fn as the server runs a handler: answers each wait with "woke" and what was asked for.
-- Returns the list of the waits, then what fn returned.
local function serve(fn, ...)
    local handler, waits = plain.create(fn), {}
    local results = table.pack(plain.resume(handler, ...))
    while plain.status(handler) == "suspended" do
        assert.is_true(rawequal(results[2], MARK), "a yield of the app came out")
        waits[#waits + 1] = results[3]
        results = table.pack(plain.resume(handler, "woke", results[3]))
    end
    assert(results[1], results[2])
    return waits, table.unpack(results, 2, results.n)
end

describe("resume", function()
    it("hands values in and out as the library does", function()
        local co = install()
        local thread = co.create(function(...)
            local again = table.pack(co.yield(select("#", ...), ...))
            return again.n, nil
        end)
        assert.same({ n = 4, true, 2, nil, "x" }, table.pack(co.resume(thread, nil, "x")))
        assert.same({ n = 3, true, 3, nil }, table.pack(co.resume(thread, 1, nil, nil)))
        assert.same({ false, "cannot resume dead coroutine" }, { co.resume(thread) })
    end)

    it("reports an error as the library does", function()
        local co, value = install(), {}
        assert.same({ false, value }, { co.resume(co.create(function() error(value) end)) })
    end)

    it("refuses what is no coroutine at the caller's line", function()
        local co = install()
        local ok, err = pcall(function() co.resume(5) end)
        assert.is_false(ok)
        assert.truthy(err:find("coroutines_spec.lua:%d+: bad argument #1 to 'resume' %(coroutine expected, got number%)"))
        err = select(2, pcall(function() co.resume() end))
        assert.truthy(err:find("got no value", 1, true))
    end)

    it("reports that the coroutine runs", function()
        local co = install()
        local thread
        thread = co.create(function() return co.resume(thread) end)
        assert.same({ true, false, "cannot resume non-suspended coroutine" }, { co.resume(thread) })
    end)
end)

describe("wrap", function()
    it("returns what the coroutine yields and returns", function()
        local co = install()
        local f = co.wrap(function(a) local b = co.yield(a, nil) return b, nil end)
        assert.same({ n = 2, 1, nil }, table.pack(f(1)))
        assert.same({ n = 2, 2, nil }, table.pack(f(2)))
    end)

    -- Each case is run on the library's functions and on ours: the messages agree to the letter.
    local function message_of(co, body)
        local f = co.wrap(body)
        local function call()
            local x = f()
            return x
        end
        return select(2, pcall(call))
    end

    it("propagates errors as the library does", function()
        local co, value = install(), {}
        local bodies = {
            function() error("text") end,
            function() error("bare text", 0) end,
            function() error(value) end,
            function() error() end,
            function() error(12) end,
            function() local x <close> = setmetatable({}, { __close = function() error("on closing") end }) error("first") end,
        }
        for _, body in ipairs(bodies) do
            assert.equal(message_of(plain, body), message_of(co, body))
        end
    end)

    it("tells the same of a dead coroutine as the library", function()
        local co = install()
        local function messages(lib)
            local done, failed = lib.wrap(function() end), lib.wrap(function() error("x") end)
            done()
            pcall(failed)
            local function call(f)
                local x = f()
                return x
            end
            return { select(2, pcall(call, done)), select(2, pcall(call, failed)) }
        end
        assert.same(messages(plain), messages(co))
    end)

    it("closes the coroutine on an error", function()
        local co = install()
        local closed = false
        local f = co.wrap(function()
            local guard <close> = setmetatable({}, { __close = function() closed = true end })
            error("x", guard and 0)
        end)
        assert.is_false((pcall(f)))
        assert.is_true(closed)
    end)

    it("and create refuse what is no function at the caller's line", function()
        local co = install()
        for _, name in ipairs({ "wrap", "create" }) do
            local err = select(2, pcall(function() co[name]("x") end))
            local wanted = ("bad argument #1 to '%s' (function expected, got string)"):format(name)
            assert.truthy(err:find(wanted, 1, true))
            assert.truthy(err:find("coroutines_spec.lua:%d+: "))
        end
    end)
end)

describe("a wait", function()
    it("in a coroutine goes out to the server and comes back in", function()
        local co = install()
        local waits, result = serve(function()
            local thread = co.create(function(arg)
                local a, b = sleep(5)
                local c = co.yield(a .. b .. arg)
                return c .. select(2, sleep(6))
            end)
            local _, first = co.resume(thread, "x")
            local _, second = co.resume(thread, "y")
            return first .. " " .. second .. " " .. co.status(thread)
        end)
        assert.same({ 5, 6 }, waits)
        assert.equal("woke5x y6 dead", result)
    end)

    it("in a wrapped one does too, and in a for loop over it", function()
        local co = install()
        local waits, sum = serve(function()
            local total = 0
            for n in co.wrap(function() for i = 1, 3 do sleep(i) co.yield(i) end end) do
                total = total + n
            end
            return total
        end)
        assert.same({ 1, 2, 3 }, waits)
        assert.equal(6, sum)
    end)

    it("crosses many levels, created and wrapped", function()
        local co = install()
        local function level(n)
            if n == 0 then
                return (select(2, sleep("deep")))
            elseif n % 2 == 0 then
                return co.wrap(level)(n - 1)
            end
            return select(2, co.resume(co.create(level), n - 1))
        end
        local waits, result = serve(level, 20)
        assert.same({ "deep" }, waits)
        assert.equal("deep", result)
    end)

    it("can happen any number of times without the stack growing", function()
        local co = install()
        local waits = serve(function()
            co.wrap(function() for _ = 1, 100000 do sleep(0) end end)()
        end)
        assert.equal(100000, #waits)
    end)

    it("works under pcall, and an error after it is reported", function()
        local co = install()
        local waits, ok, err = serve(function()
            return co.resume(co.create(function()
                local fine = pcall(sleep, 1)
                sleep(2)
                error("after " .. tostring(fine), 0)
            end))
        end)
        assert.same({ 1, 2 }, waits)
        assert.same({ false, "after true" }, { ok, err })
    end)

    it("is not mistaken for a yield of the app's, whatever it yields", function()
        local co = install()
        local odd = setmetatable({}, getmetatable(MARK))
        local thread = co.create(function() co.yield(odd) end)
        local _, got = co.resume(thread)
        assert.is_true(rawequal(got, odd))
    end)

    it("fails where the caller cannot wait", function()
        local co = install()
        local closed = false
        local function body()
            local guard <close> = setmetatable({}, { __close = function() closed = true end })
            sleep(1)
            return guard
        end
        local waits, ok, err, status = serve(function()
            local thread, good, why = co.create(body), nil, nil
            string.gsub("x", "x", function() good, why = co.resume(thread) end)
            return good, why, co.status(thread)
        end)
        assert.same({}, waits)
        assert.is_false(ok)
        assert.truthy(err:find("cannot wait", 1, true))
        assert.equal("dead", status)
        assert.is_true(closed)
        _, ok, err = serve(function()
            local f, good, why = co.wrap(body), nil, nil
            string.gsub("x", "x", function() good, why = pcall(f) end)
            return good, why
        end)
        assert.is_false(ok)
        assert.truthy(err:find("cannot wait", 1, true))
    end)
end)

describe("the machine", function()
    it("is told of each coroutine that the app creates", function()
        local spawned = 0
        local co = install({ spawned = function() spawned = spawned + 1 end })
        co.create(print)
        co.wrap(print)
        pcall(co.create, 5)
        assert.equal(2, spawned)
    end)

    it("uses no global that the app may have changed", function()
        local libs = {}
        for name, value in pairs(plain) do
            libs[name] = value
        end
        local globals = { coroutine = libs, string = { format = string.format } }
        for _, name in ipairs({ "error", "rawequal", "select", "type" }) do
            globals[name] = _G[name]
        end
        assert(loadfile("api/lua/coroutines.lua", "t", globals))()(MARK)
        local resume, create = libs.resume, libs.create
        for _, tab in ipairs({ libs, globals.string, globals }) do
            for name in pairs(tab) do
                tab[name] = nil
            end
        end
        local waits, ok, value = serve(function()
            return resume(create(function() sleep(1) return "fine" end))
        end)
        assert.same({ 1 }, waits)
        assert.same({ true, "fine" }, { ok, value })
    end)
end)
