-- Finding every problem of an app. Run with busted from the root of the source tree.

local lfs = require "lfs"

local PARTS = { "where", "suggest", "path", "places", "definition", "freeze", "unknown" }
local REPLIES = { "json", "text", "html", "redirect", "error", "status" }
local G = package.loaded._G

local function run_part(name)
    return assert(loadfile("api/lua/" .. name .. ".lua", "t"))()
end

local function new_native()
    local native = {}
    for _, name in ipairs(PARTS) do
        native[name] = run_part(name)
    end
    return native
end

local function helpers()
    local made = {}
    for _, name in ipairs(REPLIES) do
        made[name] = function(first)
            if type(first) == "function" then
                error("bad argument #1 to '?' (a function)", 0)
            end
            return { name, first }
        end
    end
    return made
end

describe("a check", function()
    local folder, kept, path, loaded

    before_each(function()
        folder = os.tmpname()
        os.remove(folder)
        assert(lfs.mkdir(folder))
        kept, path, loaded = { require = G.require, dofile = G.dofile }, package.path, {}
        for name in pairs(package.loaded) do
            loaded[name] = true
        end
        package.path = folder .. "/?.lua"
    end)

    after_each(function()
        G.api, G.require, G.dofile, package.path = nil, kept.require, kept.dofile, path
        for name in pairs(package.loaded) do
            package.loaded[name] = loaded[name] and package.loaded[name] or nil
        end
        for name in lfs.dir(folder) do
            os.remove(folder .. "/" .. name)
        end
        lfs.rmdir(folder)
    end)

    local function write(name, text)
        local file = assert(io.open(folder .. "/" .. name, "wb"))
        file:write(text)
        file:close()
    end

    -- Check an app. Returns: its problems, without the folder's name, and the definition.
    local function check(app, files)
        write("app.lua", app)
        for name, text in pairs(files or {}) do
            write(name, text)
        end
        local native = new_native()
        local checker = run_part("check")(native)
        local tree = run_part("tree")(helpers(), native)
        G.api, G.require, G.dofile, G.FOLDER = tree.root, checker.require, checker.dofile, folder
        checker.run(folder .. "/app.lua")
        G.require, G.dofile, G.FOLDER = kept.require, kept.dofile, nil
        local list = {}
        for i, problem in ipairs(checker.problems) do
            list[i] = problem:gsub(folder:gsub("%p", "%%%0") .. "/", "")
        end
        return list, checker.finish(tree.finish())
    end

    -- The problems are these, each by what it begins with.
    local function finds(expected, app, files)
        local found = check(app, files)
        assert.equal(#expected, #found, table.concat(found, "\n"))
        for i, begin in ipairs(expected) do
            assert.equal(begin, found[i]:sub(1, #begin))
        end
    end

    it("of a good app finds nothing, and yields what it defines", function()
        local problems, definition = check([[
            local tool = require "tool"
            function api.get() end
            api.users.p_id.get = api.heavy(tool.show)
            api.config { port = 0 }
            api.on_start(function() end)
            local made = api.json({})
        ]], { ["tool.lua"] = "return { show = function() end }" })
        assert.same({}, problems)
        assert.same({ 2, 1, { port = 0 } }, { #definition.routes, #definition.on_start, definition.config })
    end)

    describe("goes on behind", function()
        it("wrong names, and keeps what is right between them", function()
            local problems, definition = check("function api.a.gett() end\nfunction api.a.get() end\nfunction api.b.befor() end")
            assert.equal(2, #problems)
            assert.truthy(problems[1]:find('app.lua:1: api.a.gett: .*did you mean "get"?'))
            assert.truthy(problems[2]:find('app.lua:3: api.b.befor: .*did you mean "before"?'))
            assert.equal(1, #definition.routes)
        end)

        it("routes and hooks that are there already, with both places", function()
            finds({
                "app.lua:2: api.a.get: GET /a: it is defined already, at app.lua:1",
                "app.lua:3: api.a.get: GET /a: it is defined already, at app.lua:1",
                "app.lua:5: api.before: it is defined already, at app.lua:4",
            }, ("api.a.get = print\n"):rep(3) .. ("api.before = print\n"):rep(2))
        end)

        it("parameters without a name, with two at one place, and twice in one path", function()
            finds({
                "app.lua:1: api.u.p_: a parameter needs a name",
                'app.lua:3: api.u.p_b.x.get: GET /u/:b/x: the parameter "b" is called "a" at ',
                'app.lua:4: api.p_c.p_c.get: GET /:c/:c: two parameters of one path are called "c"',
                'app.lua:5: api.route("GET", "/x/:"): a parameter needs a name',
            }, [[
function api.u.p_.get() end
function api.u.p_a.get() end
function api.u.p_b.x.get() end
function api.p_c.p_c.get() end
api.route("GET", "/x/:", print)]])
        end)

        it("what is no function", function()
            finds({
                "app.lua:1: api.a.get: a handler is a function, not a string",
                "app.lua:2: api.before: a hook is a function, not a table",
                "app.lua:3: api.heavy: a handler is a function, not nil",
                "app.lua:4: api.on_start takes a function, not nil",
                "app.lua:5: api[1]: a path segment is a string",
            }, "api.a.get = 'x'\napi.before = {}\napi.b.get = api.heavy()\napi.on_start()\napi[1].get = print")
        end)

        it("helpers that are not there, and helpers that refuse what they are given", function()
            finds({
                'app.lua:1: api.jsn: no such helper; did you mean "json"?',
                "app.lua:2: api.x.json is a path segment, not a helper",
                "app.lua:4: bad argument #1 to 'json' (a function)",
            }, "local a = api.jsn({}):header('x', 'y')\nlocal b = api.x.json()\n\nlocal c = api.json(print)\n")
        end)

        it("an api.config that is no table of options", function()
            finds({ "app.lua:1: api.config takes a table", "app.lua:2: api.config: options are named by strings" },
                "api.config(5)\napi.config { 1 }\napi.config { port = 0 }")
        end)
    end)

    it("ends a file at an error, and no other", function()
        finds({ "app.lua:1: api.a.gett", "one.lua:2: one fails", "app.lua:3: api.b.gett", "app.lua:4: app fails" },
            "api.a.gett = print\nrequire 'one'\napi.b.gett = print\nerror('app fails')\napi.c.gett = print",
            { ["one.lua"] = "\nerror('one fails')\napi.d.gett = print" })
    end)

    it("names the line of an error that says none", function()
        finds({ "app.lua:3: no line" }, "local function f()\n\nerror('no line', 0)\nend\nf()")
        finds({ "app.lua:2: error object is a table" }, "\nerror({})")
        finds({ "app.lua:2: localhost:80: refused" }, "\nerror('localhost:80: refused', 0)")
    end)

    it("puts a message of several lines into one", function()
        finds({ "app.lua:1: one two three" }, "error('one\\n  two\\n\\tthree')")
    end)

    it("names a file whose name Lua cuts by its whole name", function()
        local long = ("x"):rep(80)
        finds({ long .. ".lua:2: late", long .. "s.lua:1: " }, ("require '%s'\nrequire '%ss'"):format(long, long),
            { [long .. ".lua"] = "\nerror 'late'", [long .. "s.lua"] = "=" })
    end)

    it("finds the syntax error of each file", function()
        finds({ "one.lua:2: ", "two.lua:1: ", "app.lua:3: api.gett" }, "require 'one'\nrequire 'two'\napi.gett = print",
            { ["one.lua"] = "\nfunction (", ["two.lua"] = "= 5" })
        finds({ "app.lua:2: <eof> expected near 'end'" }, "\nend")
    end)

    it("finds them at any depth, and below dofile", function()
        finds({ "three.lua:1: ", "two.lua:2: api.gett", "four.lua:1: ", "app.lua:3: api.gett" },
            "require 'two'\ndofile(FOLDER .. '/four.lua')\napi.gett = print",
            { ["two.lua"] = "require 'three'\napi.gett = print", ["three.lua"] = "(", ["four.lua"] = ")" })
    end)

    it("says at the line of the require that a module is missing", function()
        finds({ "app.lua:2: module 'nowhere' not found" }, "\nlocal m = require 'nowhere'\nm.x.y()")
        finds({ "app.lua:1: cannot open nowhere.lua" }, "dofile 'nowhere.lua'")
    end)

    it("reports a module once, however often it is required", function()
        finds({ "one.lua:1: once" }, "require 'one'\nrequire 'one'\nrequire 'two'",
            { ["one.lua"] = "error 'once'", ["two.lua"] = "require 'one'" })
    end)

    it("leaves out what only comes of a module that did not load", function()
        for _, line in ipairs({
            "m.x.y(1, 2).z = m", "local n = -m.size * 2 + (1 - m)", "local s = 'a' .. m.name .. 'b'", "m:start():stop()",
            "for k, v in pairs(m) do error() end", "for x in m.each() do error() end", "for i = 1, #m do error() end",
            "for _, name in ipairs(m) do api[name].get = m[name] end", "for i = 1, m.count do end",
            "local s = ('x'):rep(m.count)", "error('cannot use ' .. tostring(m))", "local b = m < 1 or 1 <= m",
            "while m.next() do end", "local Sub = setmetatable({}, { __index = m }) Sub.new().x()", "local m2 <close> = m",
            "api.get = m.show", "api.before = m", "api.a.get = api.heavy(m.show)", "api[m.prefix].x.get = print",
            "api.route('GET', m.path, print)", "api.route('GET', '/x', m.show)", "api.on_start(m.migrate)",
            "api.on_start(print, { each = m.each })", "api.config(m)", "api.config { port = m.port }",
            "api.config(m.options)", "require(m.name)", "api.json(m)", "local q = m // 2 | 1 & ~m ~ 3 << m >> 1 % m ^ 2",
        }) do
            local problems, definition = check("local m = require 'broken'\n" .. line, { ["broken.lua"] = "(" })
            assert.equal(1, #problems, line .. ": " .. table.concat(problems, "\n"))
            assert.equal("broken.lua:1: ", problems[1]:sub(1, 14))
            assert.same({}, definition.config or {})
            package.loaded.broken = nil
        end
    end)

    it("does not leave out what is wrong beside it", function()
        finds({ "broken.lua:1: ", "app.lua:2: api.a.gett", "app.lua:3: attempt to index a nil value" },
            "local m = require 'broken'\napi.a.gett = print\nlocal x = nothing.x", { ["broken.lua"] = "(" })
    end)

    it("leaves alone what the app catches itself", function()
        finds({}, [[
            local ok, m = pcall(require, "nowhere")
            assert(not ok and m:find("module 'nowhere' not found", 1, true))
            assert(not pcall(function() return require("broken").x end))
            ok, m = xpcall(function() api.a.gett = print end, function(e) return e .. "!" end)
            assert(not ok and m:find("app.lua:4: api.a.gett: .*!$"))
            ok, m = pcall(dofile, FOLDER .. "/broken.lua")
            assert(not ok and m:find("broken.lua:1: "))
            ok, m = pcall(require, "wrong")
            assert(not ok and m:find("wrong.lua:1: api.a.gett"))
        ]], { ["broken.lua"] = "(", ["wrong.lua"] = "api.a.gett = print" })
    end)

    it("is not led astray by a pcall in front of a tail call", function()
        finds({}, "return pcall(function() api.gett = print end)")
        finds({}, "require 'one'", { ["one.lua"] = "return pcall(require, 'nowhere')" })
        finds({ "app.lua:2: api.gett" }, "local function f() api.x.get = print end f()\nreturn (function() api.gett = print end)()")
    end)

    it("ends with a module that requires itself", function()
        local problems = check("require 'one'", { ["one.lua"] = "require 'one'" })
        assert.equal(1, #problems)
        assert.truthy(problems[1]:find("one.lua:1: .*overflow"), problems[1])
    end)

    it("ends with a recursion that does not", function()
        local problems = check("local function f() return 1 + f() end\nf()")
        assert.equal(1, #problems)
        assert.truthy(problems[1]:find("app.lua:1: stack overflow"), problems[1])
    end)
end)
