-- The table `api` while an app loads, and after. Run with busted from the root of the source tree.

local PARTS = { "where", "suggest", "path", "places", "definition", "freeze" }
local REPLIES = { "json", "text", "html", "redirect", "error", "status" }

local function run_part(name, globals)
    return assert(loadfile("api/lua/" .. name .. ".lua", "t", globals or _G))()
end

local function load_tree(helpers, globals)
    local native = {}
    for _, name in ipairs(PARTS) do
        native[name] = run_part(name, globals)
    end
    return run_part("tree", globals)(helpers, native)
end

-- Helpers that answer with what they were given.
local function echo_helpers()
    local helpers = {}
    for _, name in ipairs(REPLIES) do
        helpers[name] = function(...)
            return { name, ... }
        end
    end
    return helpers
end

-- An app in VM-like surroundings: run(text) runs text as app.lua.
local function new_app(helpers)
    local tree = load_tree(helpers or echo_helpers())
    local env = setmetatable({ api = tree.root }, { __index = _G })
    local app = { env = env, tree = tree }
    function app.run(text, ...)
        return assert(load(text, "@app.lua", "t", env))(...)
    end
    function app.finish()
        app.definition = tree.finish()
        env.api = app.definition.frozen
        return app.definition
    end
    return app
end

local function define(text)
    local app = new_app()
    app.run(text)
    return app.finish()
end

local function failure(text)
    local ok, err = pcall(new_app().run, text)
    assert.is_false(ok, "no error")
    return err
end

local function failure_after(text, ...)
    local app = new_app()
    app.finish()
    local ok, err = pcall(app.run, text, ...)
    assert.is_false(ok, "no error")
    return err
end

local MARK = { literal = "", param = ":", rest = "*" }

local function line_of(route)
    local parts = {}
    for i, segment in ipairs(route.segments) do
        parts[i] = "/" .. MARK[segment.kind] .. segment.name
    end
    local path = #parts == 0 and "/" or table.concat(parts)
    return route.method .. " " .. path
end

local function lines(definition)
    local list = {}
    for i, route in ipairs(definition.routes) do
        list[i] = line_of(route)
    end
    return list
end

local function has(message, ...)
    for _, part in ipairs({ ... }) do
        assert(message:find(part, 1, true), ("%q lacks %q"):format(message, part))
    end
end

describe("routes", function()
    it("are assigned as methods, in the order of definition", function()
        assert.same(
            { "GET /", "POST /users", "PUT /a", "PATCH /a", "DELETE /a", "HEAD /a", "OPTIONS /a" },
            lines(define([[
                function api.get() end
                function api.users.post() end
                function api.a.put() end
                function api.a.patch() end
                function api.a.delete() end
                function api.a.head() end
                function api.a.options() end
            ]]))
        )
    end)

    it("may lie below names of methods, hooks and helpers", function()
        assert.same(
            { "GET /get", "GET /before", "GET /status", "POST /json", "GET /route/config", "GET /users/json" },
            lines(define([[
                function api.get.get() end
                function api.before.get() end
                function api.status.get() end
                function api.json.post() end
                function api.route.config.get() end
                function api.users.json.get() end
            ]]))
        )
    end)

    it("take one segment as p_x and the rest as s_x", function()
        local definition = define([[
            function api.users.p_id.posts.p_post.get() end
            function api.files.s_path.get() end
        ]])
        assert.same({ "GET /users/:id/posts/:post", "GET /files/*path" }, lines(definition))
        assert.same({
            { kind = "literal", name = "files" },
            { kind = "rest", name = "path" },
        }, definition.routes[2].segments)
    end)

    it("take any other segment in brackets", function()
        assert.same(
            { "GET /a-b", "GET /.well-known", "GET /two words", "GET /p", "GET /x_p_y", "GET /:id" },
            lines(define([[
                api["a-b"].get = print
                api[".well-known"].get = print
                api["two words"].get = print
                api.p.get = print
                api.x_p_y.get = print
                api[":id"].get = print
            ]]))
        )
    end)

    it("have a trailing slash as a path of its own, by an empty segment", function()
        assert.same(
            { "GET /users/", "GET /users", "GET //x", "GET //" },
            lines(define([[
                api.users[""].get = print
                api.users.get = print
                api[""].x.get = print
                api[""][""].get = print
            ]]))
        )
    end)

    it("refuse a single empty segment, which is the root", function()
        has(failure('\napi[""].get = print'), 'app.lua:2: api[""].get: ', "api.get")
        assert.same({ "GET //x" }, lines(define('api[""].before = print api[""].x.get = print')))
    end)

    it("tell the function, and the line of the statement that defines", function()
        local app = new_app()
        local by_name = app.run([[
            function api.a.get()
                return 1
            end
            api.b.get = function()
                return 2
            end
            local function c()
            end
            api.c.get = c
            api.d.get = api.heavy(function()
                return 4
            end)
            api.route("GET", "/e", function()
                return 5
            end)
            api.f.get =
                c
            return c
        ]])
        local routes = app.finish().routes
        local at = {}
        for i, route in ipairs(routes) do
            at[i] = route.where
        end
        assert.same({ "app.lua:1", "app.lua:4", "app.lua:9", "app.lua:10", "app.lua:13", "app.lua:17" }, at)
        assert.equal(1, routes[1].fn())
        assert.equal(by_name, routes[3].fn)
    end)

    it("are heavy only where marked", function()
        local routes = define([[
            function api.quick.get() return 1 end
            api.slow.get = api.heavy(function() return 2 end)
            api.route("GET", "/x", api.heavy(function() return 3 end))
        ]]).routes
        assert.same({ false, true, true }, { routes[1].heavy, routes[2].heavy, routes[3].heavy })
        assert.equal(2, routes[2].fn())
    end)

    it("do not come from reading nodes", function()
        assert.same({}, define("local _ = api.users, api.json, api.users.p_id, api.users.p_name").routes)
    end)
end)

describe("a node", function()
    it("is the same table at each reading", function()
        local app = new_app()
        assert.is_true(app.run("return api.users == api.users and api.json == api.json"))
        assert.is_true(app.run("return api.users ~= api.people and type(api.json) == 'table'"))
    end)

    it("can be kept and used as a prefix", function()
        assert.same({ "GET /v1/users" }, lines(define("local v1 = api.v1 function v1.users.get() end")))
    end)

    it("shows as it is written", function()
        local app = new_app()
        assert.equal('api.users.p_id["a-b"]["end"]', app.run('return tostring(api.users.p_id["a-b"]["end"])'))
        assert.equal('api["a\\n\\"b"]', app.run([[return tostring(api["a\n\"b"])]]))
    end)

    it("needs a string", function()
        has(failure("\nlocal _ = api.users[1]"), "app.lua:2: api.users[1]: ", "string")
        has(failure("\n\napi.users[true] = print"), "app.lua:3: api.users[true]: ", "string")
        has(failure("return api[nil]"), "app.lua:1: api[nil]: ", "string")
        has(failure("return api[{}].get"), "app.lua:1: api[table: ", "string")
    end)

    it("is no segment with a slash or a NUL byte", function()
        has(failure('\napi["a\\0b"].get = print'), "app.lua:2: ", "NUL")
        has(failure('\napi["a/b"].get = print'), 'app.lua:2: api["a/b"]: ', "api.route", "node")
    end)
end)

describe("a parameter", function()
    it("needs a name", function()
        has(failure("\nfunction api.users.p_.get() end"), "app.lua:2: api.users.p_: a parameter needs a name", "p_name")
        has(failure("\nfunction api.s_.get() end"), "app.lua:2: api.s_: a parameter needs a name", "s_name")
        has(failure('api.route("GET", "/a/:", print)'), 'app.lua:1: api.route("GET", "/a/:"): ', ":name")
        has(failure('api.route("GET", "/a/*", print)'), "app.lua:1: ", "*name")
    end)

    it("is a whole segment", function()
        has(failure('api.route("GET", "/a/:id.json", print)'), "app.lua:1: ", "letters, digits")
        assert.same({ "GET /a/x:id" }, lines(define('api.route("GET", "/a/x:id", print)')))
        assert.same({ "GET /:user-id" }, lines(define('api["p_user-id"].get = print')))
    end)

    it("has one name at one place, and the error names both lines", function()
        has(failure("function api.users.p_id.get() end\n\nfunction api.users.p_name.posts.post() end"),
            "app.lua:3: api.users.p_name.posts.post: ", '"name"', '"id" at app.lua:1')
        has(failure("function api.s_a.get() end\nfunction api.s_b.get() end"), "app.lua:2: ", '"a" at app.lua:1')
        has(failure('api.u.p_a.get = print\napi.route("GET", "/u/:b/x", print)'), "app.lua:2: ", '"a" at app.lua:1')
        has(failure("api.u.p_a.before = print\napi.u.p_b.get = print"), "app.lua:2: ", '"a" at app.lua:1')
    end)

    it("may have another name elsewhere, and a rest beside it", function()
        define("api.a.p_x.get = print api.b.p_y.get = print api.a.s_z.get = print")
    end)

    it("occurs once in a path", function()
        has(failure("\napi.p_id.x.p_id.get = print"), "app.lua:2: api.p_id.x.p_id.get: ", 'called "id"')
        has(failure('api.route("GET", "/:id/*id", print)'), "app.lua:1: ", 'called "id"')
    end)

    it("that takes the rest is the last", function()
        has(failure("\nfunction api.files.s_path.edit.get() end"), "app.lua:2: api.files.s_path.edit: ", "nothing can follow")
        has(failure('api.route("GET", "/*rest/x", print)'), "app.lua:1: ", "nothing can follow")
    end)
end)

describe("a mistaken assignment", function()
    it("is an error that tells the right spelling", function()
        assert.equal(
            "app.lua:3: api.users.gett: a handler is assigned to a method "
                .. "(get, post, put, patch, delete, head, options) or a hook (before, after, on_error); "
                .. 'did you mean "get"?',
            failure("\n\nfunction api.users.gett(ctx) end")
        )
    end)

    it("finds near names whatever the mistake", function()
        local meant = {
            GET = "get", POST = "post", Get = "get", pots = "post", optoins = "options", option = "options",
            del = "delete", DELETE = "delete", onerror = "on_error", befor = "before", afterr = "after",
            heda = "head", ptach = "patch",
        }
        for wrong, right in pairs(meant) do
            has(failure("function api.x." .. wrong .. "() end"), ('did you mean "%s"?'):format(right))
        end
    end)

    it("suggests nothing where nothing is near", function()
        local err = failure("function api.users() end")
        assert.is_nil(err:find("did you mean", 1, true))
        has(err, "app.lua:1: api.users: ", "api.users.get")
    end)

    it("gives the first line of a function of many lines", function()
        has(failure("\napi.users.gett = function()\n\n\nend"), "app.lua:2: api.users.gett")
    end)

    it("takes functions only", function()
        for _, value in ipairs({ "5", "'x'", "true", "nil", "{}", "api.json", "setmetatable({}, {})" }) do
            has(failure("\napi.users.get = " .. value), "app.lua:2: api.users.get: a handler is a function")
            has(failure("\napi.users.before = " .. value), "app.lua:2: api.users.before: a hook is a function")
            has(failure("\napi.users.other = " .. value), "app.lua:2: api.users.other: a handler is assigned to")
        end
    end)

    it("to a helper says that helpers are called", function()
        has(failure("api.config = { threads = 4 }"), "app.lua:1: api.config is called, as in api.config(...)")
        has(failure("api.json = print"), "app.lua:1: api.json is called")
        has(failure("api.users.json = print"), "app.lua:1: api.users.json: a handler is assigned to")
    end)

    it("of a heavy hook is refused", function()
        has(failure("\napi.before = api.heavy(print)"), "app.lua:2: api.before: only a route can be heavy")
    end)

    it("is reported at the app's line through functions and modules of the app", function()
        local text = "local function add(node)\n  node.gett = print\nend\nadd(api.x)"
        has(failure(text), "app.lua:2: api.x.gett")
        has(failure("\npcall(error)\nlocal ok, err = pcall(function() api.gett = print end) error(err, 0)"), "app.lua:3: ")
        has(failure("local co = coroutine.wrap(function()\n api.gett = print end) co()"), "app.lua:2: api.gett")
    end)
end)

describe("the same twice", function()
    it("is an error for a route, with both lines", function()
        local err = failure("function api.users.get()\nend\n\nfunction api.users.get()\nend")
        has(err, "app.lua:4: api.users.get: GET /users: ", "at app.lua:1")
    end)

    it("is seen between the tree and api.route", function()
        has(failure('api.u.p_id.get = print\napi.route("get", "/u/:id", print)'), "app.lua:2: ", "GET /u/:id", "app.lua:1")
        has(failure('api.route("get", "/", print)\napi.get = print'), "app.lua:2: api.get: GET /: ", "app.lua:1")
    end)

    it("is an error for a hook", function()
        has(failure("api.u.before = print\napi.u.before = print"), "app.lua:2: api.u.before: ", "at app.lua:1")
    end)

    it("is none for other methods and other paths", function()
        assert.equal(3, #define('api.u.get = print api.u.post = print api.u[""].get = print').routes)
    end)
end)

describe("api.route", function()
    it("takes paths as text", function()
        assert.same(
            { "GET /", "POST /users/:id/*rest", "DELETE /p_id/s_x", "PATCH /users/", "GET //", "GET /a//b" },
            lines(define([[
                api.route("GET", "/", print)
                api.route("post", "/users/:id/*rest", print)
                api.route("Delete", "/p_id/s_x", print)
                api.route("PATCH", "/users/", print)
                api.route("GET", "//", print)
                api.route("GET", "/a//b", print)
            ]]))
        )
    end)

    it("decodes literals, which are URL text", function()
        local definition = define([[
            api.route("GET", "/a%20b/%3Aid/%2a", print)
            api.route("GET", "/a%2Fb/100%25", print)
        ]])
        assert.same({ "GET /a b/:id/*", "GET /a/b/100%" }, lines(definition))
        assert.equal("literal", definition.routes[1].segments[2].kind)
        has(failure('\napi["a b"][":c"].get = print\napi.route("GET", "/a%20b/%3ac", print)'),
            "app.lua:3: ", "GET /a%20b/%3Ac: ", "app.lua:2")
        has(failure('api.route("GET", "/100%", print)'), "app.lua:1: ", "hexadecimal")
        has(failure('api.route("GET", "/%zz", print)'), "app.lua:1: ", "hexadecimal")
        has(failure('api.route("GET", "/%%4141", print)'), "app.lua:1: ", "hexadecimal")
        has(failure('api.route("GET", "/a%00", print)'), "app.lua:1: ", "NUL")
        has(failure('api.route("GET", "/a?b", print)'), "app.lua:1: ", "%3F")
        has(failure('api.route("GET", "/a/b#c", print)'), "app.lua:1: ", "%23")
        assert.same({ "GET /a?b/#" }, lines(define('api.route("GET", "/a%3Fb/%23", print)')))
        assert.same({ "GET /a?b" }, lines(define('api["a?b"].get = print')))
    end)

    it("keeps the literal p_id apart from the parameter", function()
        local definition = define([[
            api.users.p_id.get = print
            api.route("GET", "/users/p_id", print)
            api.users.p_id.before = print
        ]])
        assert.same({ 1, 0 }, { #definition.routes[1].before, #definition.routes[2].before })
    end)

    it("refuses what is no method, path or function", function()
        has(failure('\napi.route("GETT", "/", print)'), 'app.lua:2: api.route("GETT", "/"): ', 'did you mean "GET"?')
        has(failure('api.route("before", "/", print)'), "app.lua:1: ", "GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS")
        has(failure('api.route("TRACE", "/", print)'), "app.lua:1: ")
        has(failure('api.route("GET", "users", print)'), 'app.lua:1: api.route("GET", "users"): a path begins with "/"')
        has(failure('api.route("GET", "", print)'), "app.lua:1: ")
        has(failure('api.route("GET", "/")'), "app.lua:1: ", "a handler is a function, not nil")
        has(failure('api.route("/", print)'), "app.lua:1: api.route takes a method, a path and a function")
        has(failure("api.route()"), "app.lua:1: api.route takes")
    end)
end)

describe("hooks", function()
    local text = [[
        local h = setmetatable({}, { __index = function(t, k) local f = function() return k end t[k] = f return f end })
        function api.a.p_id.get() end
        api.route("POST", "/a/:id/x", print)
        api.b.get = print
        api.a.before, api.a.after, api.a.on_error = h.a_before, h.a_after, h.a_error
        api.before, api.after, api.on_error = h.root_before, h.root_after, h.root_error
        api.a.p_id.before, api.a.p_id.after, api.a.p_id.on_error = h.id_before, h.id_after, h.id_error
    ]]

    local function names(list)
        local out = {}
        for i, fn in ipairs(list) do
            out[i] = fn()
        end
        return out
    end

    it("hold below their node, wherever they were defined", function()
        local routes = define(text).routes
        for i = 1, 2 do
            assert.same({ "root_before", "a_before", "id_before" }, names(routes[i].before))
            assert.same({ "id_after", "a_after", "root_after" }, names(routes[i].after))
            assert.same({ "id_error", "a_error", "root_error" }, names(routes[i].on_error))
        end
        assert.same({ "root_before" }, names(routes[3].before))
    end)

    it("skip levels that have none", function()
        local routes = define("api.before = print api.a.b.c.before = error api.a.b.c.get = print").routes
        assert.same({ print, error }, routes[1].before)
        assert.same({}, routes[1].after)
        assert.same({}, routes[1].on_error)
    end)

    it("of a parameter do not hold for the literal beside it", function()
        local routes = define("api.u.p_id.before = print api.u.me.get = print api.u.p_id.get = print").routes
        assert.same({ 0, 1 }, { #routes[1].before, #routes[2].before })
    end)
end)

describe("limits", function()
    local function limits_of(text)
        local found = {}
        for i, route in ipairs(define(text).routes) do
            found[i] = route.limits
        end
        return found
    end

    it("hold below their place, and of each kind the nearest counts", function()
        assert.same({ { cpu = 1, wall = 0 }, { cpu = 2, wall = 0, memory = 65536 }, { cpu = 1, wall = 0, memory = 9 } }, limits_of([[
            api.get = print
            api.a.b.get = print
            api.route("GET", "/c/:id", print)
            api.limits = { cpu = 1, wall = 0 }
            api.a.limits = { cpu = 2, memory = "64k" }
            api.c.p_id.limits = { memory = 9 }
        ]]))
    end)

    it("are none where none are given", function()
        assert.same({ {} }, limits_of("api.get = print"))
    end)

    it("are copied, so that a later change counts for nothing", function()
        assert.same({ { cpu = 1 } }, limits_of("local t = { cpu = 1 } api.limits = t t.cpu = 2 api.get = print"))
    end)

    it("leave a path segment of their name alone", function()
        assert.equal("limits", define("api.limits.get = print").routes[1].segments[1].name)
    end)
end)

describe("reply helpers while loading", function()
    it("are called through their nodes with all values", function()
        local app = new_app()
        for _, name in ipairs(REPLIES) do
            assert.same({ name, 1, nil, 3 }, app.run("return api." .. name .. "(1, nil, 3)"))
        end
    end)

    it("return all values", function()
        local helpers = echo_helpers()
        helpers.json = function()
            return nil, 2, nil
        end
        assert.equal(3, select("#", new_app(helpers).run("return api.json()")))
    end)

    it("raise at the app's line", function()
        local helpers = echo_helpers()
        helpers.json = io.stdout.seek
        local ok, err = pcall(new_app(helpers).run, "\nlocal r = api.json({}, 1)\nreturn r")
        assert.is_false(ok)
        has(err, "app.lua:2: bad argument #1 to 'json'")
    end)

    it("raise values that are no text as they are", function()
        local helpers, value = echo_helpers(), {}
        helpers.json = function()
            error(value)
        end
        local _, err = pcall(new_app(helpers).run, "local r = api.json() return r")
        assert.equal(value, err)
    end)

    it("are helpers at the root only", function()
        has(failure("\nlocal r = api.users.json({})"), "app.lua:2: api.users.json is a path segment", "api.json(")
        has(failure("\nlocal r = api.users.p_id({})"), "app.lua:2: api.users.p_id is a path segment")
    end)

    it("are suggested to those who misspell them", function()
        has(failure("\nlocal r = api.jsn({})"), 'app.lua:2: api.jsn: no such helper; did you mean "json"?')
        has(failure("local r = api.rout('GET', '/', print)"), 'did you mean "route"?')
        has(failure("local r = api.onstart(print)"), 'did you mean "on_start"?')
        has(failure("local r = api.something({})"), "app.lua:1: api.something: no such helper")
        has(failure('local r = api.get("/x", print)'), "app.lua:1: api.get is not called", 'api.route("GET", path, fn)')
        has(failure("local r = api()"), "app.lua:1: api itself cannot be called")
    end)
end)

describe("api.heavy", function()
    it("takes a function", function()
        has(failure("\nlocal h = api.heavy()"), "app.lua:2: api.heavy: a handler is a function, not nil")
        has(failure("\nlocal h = api.heavy({})"), "app.lua:2: api.heavy: a handler is a function, not a table")
    end)
end)

describe("api.config", function()
    it("is nil without a call and empty with an empty one", function()
        assert.is_nil(define("").config)
        assert.same({}, define("api.config {}").config)
    end)

    it("merges its calls and tells the line of each option", function()
        local definition = define("api.config { threads = 4, dev = true }\napi.config { threads = 2, port = 0 }")
        assert.same({ threads = 2, dev = true, port = 0 }, definition.config)
        assert.same({ threads = "app.lua:2", dev = "app.lua:1", port = "app.lua:2" }, definition.config_where)
    end)

    it("takes a table with string keys", function()
        has(failure("\napi.config()"), "app.lua:2: api.config takes a table", "nil")
        has(failure("\napi.config(4)"), "app.lua:2: api.config takes a table", "a number")
        has(failure("\napi.config { threads = 1, 5 }"), "app.lua:2: api.config: ", "strings", "1")
        has(failure("\napi.config { [true] = 5 }"), "app.lua:2: api.config: ", "true")
    end)
end)

describe("api.on_start and api.on_stop", function()
    it("are kept in order, once a process unless told", function()
        local definition = define([[
            api.on_start(print)
            api.on_start(error, { each = "vm" })
            api.on_start(print, { each = "process" })
            api.on_stop(error)
        ]])
        assert.same({
            { fn = print, each = "process", where = "app.lua:1" },
            { fn = error, each = "vm", where = "app.lua:2" },
            { fn = print, each = "process", where = "app.lua:3" },
        }, definition.on_start)
        assert.same({ { fn = error, each = "process", where = "app.lua:4" } }, definition.on_stop)
    end)

    it("refuse what they do not know", function()
        has(failure("\napi.on_start()"), "app.lua:2: api.on_start takes a function, not nil")
        has(failure("\napi.on_stop({})"), "app.lua:2: api.on_stop takes a function, not a table")
        has(failure("\napi.on_start(print, 'vm')"), "app.lua:2: api.on_start: ", "table")
        has(failure("\napi.on_start(print, { each = 'thread' })"), "app.lua:2: ", '"process" or "vm", not thread')
        has(failure("\napi.on_start(print, { every = 'vm' })"), "app.lua:2: ", '"every"')
        has(failure("\napi.on_start(print, { each = false })"), "app.lua:2: ", "not false")
    end)
end)

describe("after loading", function()
    it("the helpers are the plain functions", function()
        local helpers = echo_helpers()
        local app = new_app(helpers)
        local frozen = app.finish().frozen
        for _, name in ipairs(REPLIES) do
            assert.equal(helpers[name], frozen[name])
        end
    end)

    it("an unknown name says so", function()
        has(failure_after("\nlocal _ = api.jsn"), 'app.lua:2: api.jsn: no such helper; did you mean "json"?')
        has(failure_after("\nlocal _ = api.users"), "app.lua:2: api.users: no such helper")
        has(failure_after("\nlocal _ = api[1]"), "app.lua:2: ", "no such helper")
    end)

    it("the helpers for loading are functions that refuse", function()
        for _, name in ipairs({ "heavy", "route", "config", "on_start", "on_stop" }) do
            local call = "local f = api." .. name .. "\nlocal _ = f(print, {})"
            has(failure_after("assert(type(api." .. name .. ") == 'function') " .. call),
                "app.lua:2: api." .. name .. ": only while the app loads")
        end
    end)

    it("nothing can be written", function()
        for _, name in ipairs({ "get", "json", "users", "before" }) do
            has(failure_after("\napi." .. name .. " = print"), "app.lua:2: api." .. name .. ": routes are defined while the app loads")
        end
    end)

    it("the root that the app kept is the global", function()
        local app = new_app()
        app.run("local api = api function later() return api end")
        local frozen = app.finish().frozen
        assert.equal(frozen, app.env.later())
    end)

    it("kept nodes work as helpers and refuse routes", function()
        local app = new_app()
        app.run("json, users, route, heavy = api.json, api.users, api.route, api.heavy")
        app.finish()
        assert.same({ "json", 1, 2 }, app.run("return json(1, 2)"))
        local function err(text)
            return (select(2, pcall(app.run, text)))
        end
        has(err("\nfunction users.get() end"), "app.lua:2: api.users.get: routes are defined while the app loads")
        has(err("\nfunction users.p_id.get() end"), "app.lua:2: api.users.p_id: routes can be named only while the app loads")
        has(err("\nlocal _ = route('GET', '/', print)"), "app.lua:2: api.route: only while the app loads")
        has(err("\nlocal _ = heavy(print)"), "app.lua:2: api.heavy: only while the app loads")
        has(err("\nlocal _ = users()"), "app.lua:2: api.users: no such helper")
        assert.equal("api.users", app.run("return tostring(users)"))
    end)
end)

describe("the chunks", function()
    -- The globals, with copies of the libraries, so that all of it can be emptied.
    local function copied_globals()
        local copy = {}
        for name, value in pairs(_G) do
            copy[name] = type(value) ~= "table" and value or nil
        end
        for _, name in ipairs({ "coroutine", "debug", "math", "string", "table" }) do
            copy[name] = {}
            for key, value in pairs(_G[name]) do
                copy[name][key] = value
            end
        end
        return copy
    end

    local function empty(globals)
        for name, value in pairs(globals) do
            if type(value) == "table" then
                empty(value)
            end
            globals[name] = nil
        end
    end

    it("use no global that the app may have changed", function()
        local globals = copied_globals()
        local tree = load_tree(echo_helpers(), globals)
        empty(globals)
        local app = { api = tree.root, pcall = pcall, errors = {} }
        assert(load([[
            function api.users.p_id.get() end
            api.route("GET", "/x/:y", function() end)
            api.config { port = 0 }
            api.on_start(function() end, { each = "vm" })
            local r = api.json(1)
            local function try(f) local ok, err = pcall(f) errors[#errors + 1] = err end
            try(function() api.gett = api.heavy(function() end) end)
            try(function() api.users.p_id.get = function() end end)
            try(function() local _ = api["a/b\n"] end)
            try(function() local _ = api.jsn(1) end)
        ]], "@app.lua", "t", app))()
        local definition = tree.finish()
        assert.same({ "GET /users/:id", "GET /x/:y" }, lines(definition))
        has(app.errors[1], 'did you mean "get"?')
        has(app.errors[2], "is defined already")
        has(app.errors[3], "a segment has no")
        has(app.errors[4], 'did you mean "json"?')
    end)
end)
