"""The tree and the paths: what an app defines and which request finds it."""

import pytest

from poolsrv import ROOT, message

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")

SPEC_APP = """
    function api.get(ctx) return "hello" end
    function api.echo.get(ctx) return api.json { message = "Echo GET", method = ctx.method } end
    function api.users.get(ctx) return { found = ctx:query().name } end
    function api.users.p_id.get(ctx) return { user_id = ctx:params().id } end
    function api.users.p_id.posts.post(ctx)
        if not ctx:headers()["authorization"] then return api.error(401, "Unauthorized") end
        local post = ctx:json()
        return api.json({ user = ctx:params().id, title = post.title }, 201)
    end
    function api.admin.before(ctx) if not ctx:header("x-key") then return api.error(403, "Forbidden") end end
    function api.admin.home.get(ctx) return "admin" end
"""


def test_the_example_app_answers_as_its_comments_say(serve):
    server = serve(SPEC_APP)
    with server.client() as client:
        reply = client.get("/")
        assert (reply.status, reply.text) == (200, "hello")
        assert reply.header("Content-Type").startswith("text/plain")
        assert client.get("/echo").json() == {"message": "Echo GET", "method": "GET"}
        assert client.get("/users?name=john").json() == {"found": "john"}
        assert client.get("/users/42").json() == {"user_id": "42"}
        reply = client.ask("POST", "/users/42/posts", {"Authorization": "x"}, '{"title":"T"}')
        assert (reply.status, reply.json()) == (201, {"user": "42", "title": "T"})
        reply = client.ask("POST", "/users/42/posts", {}, '{"title":"T"}')
        assert (reply.status, reply.json()["error"]) == (401, "Unauthorized")
        assert client.get("/admin/home").status == 403
        assert client.get("/admin/home", {"X-Key": "k"}).text == "admin"


def test_hello_lua_of_the_examples_answers(serve):
    server = serve(ROOT / "examples/hello.lua")
    with server.client() as client:
        assert client.get("/").text == "hello\n"
        assert client.get("/hello/Ann").json() == {"message": "Hello, Ann", "method": "GET"}
        assert client.get("/add?a=2&b=40").json() == {"sum": 42}
        assert client.get("/add?a=2&b=x").status == 400
        reply = client.ask("POST", "/notes", {"Content-Type": "application/json"}, '{"text":"buy milk"}')
        assert (reply.status, reply.header("location"), reply.json()) == (201, "/notes/1", {"length": 8})
        assert client.ask("POST", "/count", {}, "12345").json() == {"bytes": 5}
        assert client.get("/page").header("Content-Type").startswith("text/html")
        assert client.get("/old").header("Location") == "/page"
        assert client.ask("DELETE", "/page").status == 204
        assert client.get("/admin/uptime").status == 403
        assert client.get("/admin/uptime", {"x-key": "sesame"}).status == 200
        assert client.get("/primes/20000").json()["primes"] == 2262
        assert client.get("/oops").status == 500
    server.log.wait("hello is ready")


# --- the tree ---


def test_a_name_is_a_segment_when_read_and_a_role_when_assigned(serve):
    server = serve("""
        function api.get() return "GET /" end
        function api.get.get() return "GET /get" end
        function api.before.get() return "GET /before" end
        function api.status.get() return "GET /status" end
        function api.json.post() return "POST /json" end
    """)
    assert server.get("/").text == "GET /"
    assert server.get("/get").text == "GET /get"
    assert server.get("/before").text == "GET /before"
    assert server.get("/status").text == "GET /status"
    assert server.post("/json", "").text == "POST /json"


def test_helpers_are_nodes_that_can_be_called_while_loading_and_after(serve):
    server = serve("""
        local teapot = api.status(418)
        function api.status.get() return api.status(404) end
        function api.pot.get() return teapot end
    """)
    assert server.get("/status").status == 404
    assert server.get("/pot").status == 418


def test_every_method_can_be_defined(serve):
    server = serve("".join(f"function api.x.{m.lower()}(ctx) return ctx.method end\n" for m in METHODS))
    for method in METHODS:
        reply = server.ask(method, "/x")
        assert reply.status == 200
        assert reply.text == ("" if method == "HEAD" else method)


def test_any_other_segment_is_written_in_brackets_or_as_a_route(serve):
    server = serve("""
        api["a-b"].get = function() return "a-b" end
        api["p q"].get = function() return "p q" end
        api.route("GET", "/items/:id/*rest", function(ctx)
            return { id = ctx:params().id, rest = ctx:params().rest }
        end)
        api.route("get", "/p_x/s_y", function() return "literal" end)
    """)
    assert server.get("/a-b").text == "a-b"
    assert server.get("/p%20q").text == "p q"
    assert server.get("/items/7/a/b").json() == {"id": "7", "rest": "a/b"}
    assert server.get("/p_x/s_y").text == "literal"
    assert server.get("/other/s_y").status == 404


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_literal_goes_before_parameter_before_rest_in_any_order_of_definition(serve, order):
    lines = [
        "function api.a.b.get() return 'literal' end",
        "function api.a.p_x.get(ctx) return 'parameter ' .. ctx:params().x end",
        "function api.a.s_all.get(ctx) return 'rest ' .. ctx:params().all end",
    ]
    server = serve("\n".join(lines[i] for i in order))
    assert server.get("/a/b").text == "literal"
    assert server.get("/a/bb").text == "parameter bb"
    assert server.get("/a/b/c").text == "rest b/c"


def test_a_literal_that_leads_nowhere_falls_back_to_the_parameter(serve):
    server = serve("""
        function api.a.b.c.get() return "literal" end
        function api.a.p_x.d.get(ctx) return "parameter " .. ctx:params().x end
    """)
    assert server.get("/a/b/c").text == "literal"
    assert server.get("/a/b/d").text == "parameter b"


def test_misspelt_role_is_an_error_with_place_and_right_spelling(app_problem):
    problem = app_problem("\nfunction api.users.gte(ctx) return 1 end\n")
    assert problem.startswith("app.lua:2: api.users.gte")
    assert 'did you mean "get"?' in problem


def test_a_value_that_is_no_function_is_an_error_at_its_line(app_problem):
    assert app_problem("\n\napi.users.get = 5").startswith("app.lua:3: api.users.get")


def test_parameter_without_a_name_is_an_error_at_its_line(app_problem):
    assert app_problem("\nfunction api.users.p_.get() end").startswith("app.lua:2: api.users.p_")
    assert app_problem('api.route("GET", "/users/:", print)').startswith("app.lua:1: ")


def test_two_parameter_names_at_one_place_name_both_lines(app_problem):
    problem = app_problem("function api.u.p_id.get() end\n\nfunction api.u.p_name.posts.get() end\n")
    assert problem.startswith("app.lua:3: ")
    assert "app.lua:1" in problem
    assert '"id"' in problem and '"name"' in problem


def test_the_same_route_twice_names_both_lines(app_problem):
    problem = app_problem("function api.u.get() end\n\napi.route('GET', '/u', function() end)\n")
    assert problem.startswith("app.lua:3: ")
    assert "app.lua:1" in problem


def test_an_error_in_a_module_names_the_modules_file_and_line(app_problem):
    problem = app_problem('require "routes"', files={"routes.lua": "\n\nfunction api.x.gett() end\n"})
    assert "routes.lua:3: api.x.gett" in problem


def test_unknown_helper_is_named_when_it_is_used(serve):
    server = serve("function api.get() return api.jsn {} end")
    assert server.get("/").status == 500
    assert server.log.wait(r"api\.jsn: no such helper")[0].string.find('"json"') > 0


def test_the_tree_is_frozen_after_loading(serve):
    server = serve("""
        function api.define.get() function api.later.get() end return "defined" end
        function api.helper.get() api.json = nil return "gone" end
        function api.plain.get() return type(api.json) end
    """)
    assert server.get("/define").status == 500
    assert server.get("/later").status == 404
    assert server.get("/helper").status == 500
    assert server.get("/plain").text == "function"


# --- paths ---

PATHS_APP = """
    function api.get() return "root" end
    function api.one.p_x.get(ctx) return { x = ctx:params().x, path = ctx.path, target = ctx.target } end
    function api.rest.s_r.get(ctx) return { r = ctx:params().r } end
    function api.dir.get() return "dir" end
    api.slash[""].get = function() return "slash/" end
    function api.bytes.p_x.get(ctx) return #ctx:params().x .. ":" .. ctx:params().x:byte(1, -1) end
"""


def test_encoded_slash_stays_inside_its_parameter(serve):
    server = serve(PATHS_APP)
    reply = server.get("/one/a%2Fb?q=1").json()
    assert reply == {"x": "a/b", "path": "/one/a/b", "target": "/one/a%2Fb?q=1"}
    assert server.get("/rest/a%2Fb/c").json() == {"r": "a/b/c"}


def test_percent_encoded_literal_finds_its_route(serve):
    assert serve(PATHS_APP).get("/%64ir").text == "dir"


def test_plus_in_a_path_is_a_plus(serve):
    assert serve(PATHS_APP).get("/one/a+b").json()["x"] == "a+b"


@pytest.mark.parametrize("path", ["/one/%", "/one/%4", "/one/%zz", "/one/%4g", "/one/a%00b", "/%00", "/nowhere/%"])
def test_bad_encoding_and_nul_are_400(serve, path):
    reply = serve(PATHS_APP).get(path)
    assert reply.status == 400
    assert reply.json()["status"] == 400


def test_trailing_and_double_slashes_are_paths_of_their_own(serve):
    server = serve(PATHS_APP)
    assert server.get("/dir").status == 200
    assert server.get("/dir/").status == 404
    assert server.get("//dir").status == 404
    assert server.get("//").status == 404
    assert server.get("/one//").status == 404
    assert server.get("/slash").status == 404
    assert server.get("/slash/").text == "slash/"


def test_dot_segments_are_not_resolved(serve):
    server = serve(PATHS_APP)
    assert server.get("/one/../dir").status == 404
    assert server.get("/./dir").status == 404
    assert server.get("/one/..").json()["x"] == ".."
    assert server.get("/rest/../../etc/passwd").json() == {"r": "../../etc/passwd"}


def test_parameters_are_bytes(serve):
    server = serve("function api.p_x.get(ctx) return table.concat({ ctx:params().x:byte(1, -1) }, ' ') end")
    assert server.get("/%ff%01").text == "255 1"


def test_target_in_absolute_form_finds_the_path(serve):
    assert serve(PATHS_APP).get("http://example.org/dir").text == "dir"


# --- methods ---

METHODS_APP = """
    function api.x.get(ctx) return api.text(ctx.method):header("x-method", ctx.method) end
    function api.x.post(ctx) return ctx.method end
    function api.y.head(ctx) return api.text("yy"):header("x-own", "head") end
    function api.y.get(ctx) return "get" end
    function api.z.options(ctx) return "own options" end
"""


def test_head_falls_back_to_get_and_sees_its_own_method(serve):
    reply = serve(METHODS_APP).ask("HEAD", "/x")
    assert (reply.status, reply.body) == (200, b"")
    assert reply.header("x-method") == "HEAD"
    assert reply.header("Content-Length") == "4"


def test_head_of_ones_own_goes_before_get(serve):
    reply = serve(METHODS_APP).ask("HEAD", "/y")
    assert reply.header("x-own") == "head"
    assert reply.header("Content-Length") == "2"


def allowed(reply):
    names = [name.strip() for name in reply.header("Allow").split(",")]
    assert len(names) == len(set(names))
    return set(names)


def test_options_answers_204_with_allow(serve):
    server = serve(METHODS_APP)
    reply = server.ask("OPTIONS", "/x")
    assert reply.status == 204
    assert allowed(reply) == {"GET", "HEAD", "POST", "OPTIONS"}
    assert server.ask("OPTIONS", "/nowhere").status == 404
    assert server.ask("OPTIONS", "/z").text == "own options"


def test_options_star_answers_204_with_allow(serve):
    reply = serve(METHODS_APP).ask("OPTIONS", "*")
    assert reply.status == 204
    assert {"GET", "POST", "OPTIONS"} <= allowed(reply)


def test_405_carries_allow(serve):
    reply = serve(METHODS_APP).ask("DELETE", "/x")
    assert reply.status == 405
    assert allowed(reply) == {"GET", "HEAD", "POST", "OPTIONS"}
    assert reply.json()["status"] == 405


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PROPFIND", "get", "X"])
def test_trace_connect_and_unknown_methods_are_501(serve, method):
    server = serve(METHODS_APP)
    assert server.ask(method, "/x").status == 501
    assert server.ask(method, "/nowhere").status == 501


def test_no_method_mismatch_is_answered_404(serve):
    """A fault of old: a path that exists, asked with another method, was not found."""
    server = serve(METHODS_APP)
    for method in ("PUT", "PATCH", "DELETE"):
        assert server.ask(method, "/x").status == 405


def test_no_static_route_is_found_by_its_hash_alone(serve):
    """A fault of old: the path itself was never compared, so any path with the same 64-bit hash was served.

    Nobody finds such a path at random; but near ones, permutations and prefixes must all be told apart."""
    server = serve("\n".join(f"function api.r{n}.x{n}.get() return '{n}' end" for n in range(300)))
    with server.client() as client:
        for n in range(0, 300, 7):
            others = [f"/r{n}/x{n + 1}", f"/x{n}/r{n}", f"/r{n}x{n}", f"/r{n}/x{n}/", f"/R{n}/x{n}", f"/r{n}",
                      f"/r{n}/x{n}%20"]
            client.send(b"".join(message("GET", path) for path in [f"/r{n}/x{n}", *others]))
            assert client.read().text == str(n)
            assert [client.read().status for _ in others] == [404] * len(others)


def test_pipelined_requests_are_answered_in_order_on_one_connection(serve):
    server = serve("""
        function api.p_n.get(ctx) return ctx:params().n end
        function api.wait.p_n.get(ctx) sleep(0.02) return ctx:params().n end
    """)
    with server.client() as client:
        paths = [f"/wait/{n}" if n % 5 == 0 else f"/{n}" for n in range(40)]
        client.send(b"".join(message("GET", path) for path in paths))
        assert [client.read().text for _ in paths] == [str(n) for n in range(40)]
