"""What a handler returns or raises, and the reply it makes."""

import pytest

JSON = "application/json"


def one(serve, body, *options, **more):
    """A server whose GET / runs `body`, and the reply to it."""
    server = serve("function api.get(ctx) " + body + " end", *options, **more)
    return server.get("/"), server


def reply_to(serve, body, *options):
    return one(serve, body, *options)[0]


# --- values ---


@pytest.mark.parametrize("value, expected", [
    ("{ a = 1 }", b'{"a":1}'),
    ("{ 1, 2 }", b"[1,2]"),
    ("{}", b"{}"),
    ("json.empty_array", b"[]"),
    ("true", b"true"),
    ("false", b"false"),
    ("42", b"42"),
    ("0.5", b"0.5"),
    ("math.mininteger", b"-9223372036854775808"),
    ("json.null", b"null"),
])
def test_tables_booleans_and_numbers_are_json(serve, value, expected):
    reply = reply_to(serve, "return " + value)
    assert (reply.status, reply.header("Content-Type"), reply.body) == (200, JSON, expected)


def test_a_string_is_text(serve):
    reply = reply_to(serve, r"return 'caf\u{e9}\0'")
    assert (reply.status, reply.header("Content-Type")) == (200, "text/plain; charset=utf-8")
    assert reply.body == "café\0".encode()


def test_an_empty_string_is_an_empty_200(serve):
    reply = reply_to(serve, "return ''")
    assert (reply.status, reply.header("Content-Length")) == (200, "0")


@pytest.mark.parametrize("body", ["return nil", "return", "", "local x = 1"])
def test_nothing_is_204_without_a_type(serve, body):
    reply = reply_to(serve, body)
    assert (reply.status, reply.body, reply.header("Content-Type")) == (204, b"", None)


def test_a_second_value_is_the_status(serve):
    assert reply_to(serve, "return { a = 1 }, 201").status == 201
    reply = reply_to(serve, "return 'gone', 410")
    assert (reply.status, reply.text) == (410, "gone")
    reply = reply_to(serve, "return nil, 404")
    assert (reply.status, reply.body) == (404, b"")


@pytest.mark.parametrize("body", ["return print", "return coroutine.create(print)", "return io.stderr", "return {}, 99",
                                  "return {}, 600", "return {}, 'x'", "return {}, 200.5", "return {}, 100"])
def test_what_cannot_be_a_reply_is_500(serve, body):
    reply, server = one(serve, body)
    assert reply.status == 500
    server.log.wait("GET /: ")


# --- helpers ---


def test_json_helper_takes_any_value_and_a_status(serve):
    assert reply_to(serve, "return api.json('text')").body == b'"text"'
    assert reply_to(serve, "return api.json(nil)").body == b"null"
    reply = reply_to(serve, "return api.json({ 1 }, 202)")
    assert (reply.status, reply.header("Content-Type"), reply.body) == (202, JSON, b"[1]")


def test_text_and_html_helpers_set_their_types(serve):
    reply = reply_to(serve, "return api.text('a', 201)")
    assert (reply.status, reply.header("Content-Type"), reply.body) == (201, "text/plain; charset=utf-8", b"a")
    reply = reply_to(serve, "return api.html('<p>', 202)")
    assert (reply.status, reply.header("Content-Type"), reply.body) == (202, "text/html; charset=utf-8", b"<p>")


def test_redirect_is_302_or_what_it_is_told(serve):
    reply = reply_to(serve, "return api.redirect('/there?a=b')")
    assert (reply.status, reply.header("Location"), reply.body) == (302, "/there?a=b", b"")
    assert reply_to(serve, "return api.redirect('https://example.org/', 308)").status == 308
    assert reply_to(serve, "return api.redirect('/x', 200)").status == 500


def test_status_helper_is_an_empty_reply(serve):
    reply = reply_to(serve, "return api.status(202)")
    assert (reply.status, reply.body, reply.header("Content-Length")) == (202, b"", "0")


def test_error_helper_makes_the_error_format(serve):
    reply = reply_to(serve, "return api.error(422, 'Not \"good\"', { name = 'is missing' })")
    assert reply.status == 422
    assert reply.json() == {"error": 'Not "good"', "status": 422, "request_id": reply.header("X-Request-Id"),
                            "fields": {"name": "is missing"}}
    reply = reply_to(serve, "return api.error(404, 'Gone')")
    assert reply.json() == {"error": "Gone", "status": 404, "request_id": reply.header("X-Request-Id")}


def test_an_error_without_a_message_says_what_its_status_means(serve):
    assert reply_to(serve, "return api.error(404)").json()["error"] == "Not Found"
    assert reply_to(serve, "return api.error(503)").json()["error"] == "Service Unavailable"


def test_errors_of_the_server_itself_have_the_same_format(serve):
    server = serve("function api.x.get() return 1 end")
    for method, target, status in [("GET", "/", 404), ("POST", "/x", 405), ("GET", "/%", 400), ("TRACE", "/x", 501)]:
        reply = server.ask(method, target, {"X-Request-Id": "abc"})
        got = reply.json()
        assert reply.status == status == got["status"]
        assert set(got) == {"error", "status", "request_id"}
        assert got["request_id"] == reply.header("X-Request-Id") == "abc"


@pytest.mark.parametrize("body", [
    "return api.error(200, 'x')", "return api.error(99, 'x')", "return api.error('x')", "return api.error(400, {})",
    "return api.error(400, 'x', 'y')", "return api.json()", "return api.text()", "return api.text({})",
    "return api.status('x')", "return api.status(1000)", "return api.redirect()", "return api.redirect('')",
    "return api.status(204):status('x')", "return api.text('x'):header('a')", "return api.text('x'):unknown()",
])
def test_wrong_use_of_a_helper_is_500_with_the_app_line_in_the_log(serve, body):
    reply, server = one(serve, body)
    assert reply.status == 500
    server.log.wait(r"app\.lua:1")


# --- status, header, cookie ---


def test_more_headers_than_there_is_room_for_are_a_500(serve):
    reply, server = one(serve, "return api.text('x'):header('X-A', ('a'):rep(2000)):header('X-B', ('b'):rep(2000))")
    assert reply.status == 500
    assert reply.header("X-A") is None
    server.log.wait("a reply's headers need more than a third of --header-room")


def test_status_header_and_cookie_follow_each_other(serve):
    reply = reply_to(serve, """
        return api.json({ ok = true }):status(201):header("X-A", "1"):header("x-a", "2"):cookie("c", "v")
            :header("Content-Language", "de")
    """)
    assert reply.status == 201
    assert reply.header("X-A") == "2"
    assert reply.header("Content-Language") == "de"
    assert reply.header("Set-Cookie") == "c=v"


@pytest.mark.parametrize("maker", ["api.text('x')", "api.html('x')", "api.json(1)", "api.status(200)",
                                   "api.redirect('/x')", "api.error(400, 'x')"])
def test_every_helper_can_be_followed(serve, maker):
    reply = reply_to(serve, f"return {maker}:status(418):header('X-A', 'b'):cookie('c', 'd')")
    assert (reply.status, reply.header("X-A"), reply.header("Set-Cookie")) == (418, "b", "c=d")


def test_set_cookie_appends(serve):
    reply = reply_to(serve, """
        return api.text("x"):cookie("a", "1"):cookie("b", "2", { path = "/", max_age = 60, http_only = true,
            secure = true, same_site = "lax" }):header("Set-Cookie", "c=3")
    """)
    first, second, third = reply.all("Set-Cookie")
    assert (first, third) == ("a=1", "c=3")
    name, *attributes = second.split("; ")
    assert name == "b=2"
    assert sorted(a.lower() for a in attributes) == ["httponly", "max-age=60", "path=/", "samesite=lax", "secure"]


@pytest.mark.parametrize("call", ["cookie('a', 'b', { pth = '/' })", "cookie('a b', 'c')", "cookie('a', 'b;c')",
                                  "cookie('a', 'b\\r\\nc')", "cookie('a', 'b', { path = '/;x' })", "cookie('', 'b')"])
def test_a_wrong_cookie_is_500(serve, call):
    reply = reply_to(serve, f"return api.text('x'):{call}")
    assert (reply.status, reply.all("Set-Cookie")) == (500, [])


def test_content_type_can_be_replaced(serve):
    reply = reply_to(serve, "return api.text('a,b'):header('content-type', 'text/csv')")
    assert reply.header("Content-Type") == "text/csv"


@pytest.mark.parametrize("maker", ["api.text('x')", "api.json(1)", "api.error(404)", "api.status(204)"])
def test_a_header_may_be_empty(serve, maker):
    reply = reply_to(serve, f"return {maker}:header('X-A', ''):header('X-B', 'b')")
    assert (reply.status < 500, reply.header("X-A"), reply.header("X-B")) == (True, "", "b")


@pytest.mark.parametrize("name", ["Content-Length", "content-length", "Transfer-Encoding", "Connection", "CONNECTION"])
def test_headers_of_the_server_are_refused(serve, name):
    reply, server = one(serve, f"return api.text('x'):header('{name}', '5')")
    assert reply.status == 500
    server.log.wait("set by the server alone")


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\\r\\nX-Evil", "a\\0", "\\xe4", "a\\n"])
def test_a_name_that_is_no_token_is_500(serve, name):
    reply = reply_to(serve, f"return api.text('x'):header('{name}', 'v')")
    assert reply.status == 500
    assert reply.header("X-Evil") is None


@pytest.mark.parametrize("value", ["a\\r\\nX-Evil: 1", "a\\nX-Evil: 1", "a\\rb", "a\\0b", "\\r\\n\\r\\nbody", "\\x7f"])
@pytest.mark.parametrize("call", ["text('sent'):header('X-A', '{}')", "redirect('/{}')"])
def test_control_characters_in_a_value_are_500_and_nothing_of_them_is_sent(serve, call, value):
    reply = reply_to(serve, "return api." + call.format(value))
    assert reply.status == 500
    assert b"sent" not in reply.body
    assert reply.header("X-Evil") is None and reply.header("X-A") is None and reply.header("Location") is None


def test_a_value_of_bytes_beyond_ascii_passes(serve):
    assert reply_to(serve, r"return api.text('x'):header('X-A', '\xe4\ttab')").header("X-A") == "ä\ttab"


def test_a_204_and_a_304_have_no_body(serve):
    server = serve("""
        function api.a.get() return "text", 204 end
        function api.b.get() return api.text("text"):status(304) end
        function api.c.get() return "after" end
    """)
    with server.client() as client:
        assert client.get("/a").status == 204
        assert client.get("/b").status == 304
        assert client.get("/c").text == "after"


def test_a_large_body_arrives_whole(serve):
    reply = reply_to(serve, "return ('0123456789'):rep(1000000)")
    assert reply.body == b"0123456789" * 1000000


def test_a_reply_kept_from_loading_can_be_returned_again_and_again(serve):
    server = serve("""
        local ok = api.json({ ok = true }):header("X-A", "b"):cookie("c", "d")
        function api.get() return ok end
    """)
    with server.client() as client:
        for _ in range(5):
            reply = client.get("/")
            assert (reply.body, reply.all("X-A"), reply.all("Set-Cookie")) == (b'{"ok":true}', ["b"], ["c=d"])


# --- raised replies ---


def test_a_reply_can_be_raised_from_any_depth(serve):
    server = serve("""
        local function deep(n, what)
            if n == 0 then error(what) end
            return (deep(n - 1, what))
        end
        function api.calls.get() deep(100, api.error(403, "no")) end
        function api.sorting.get() table.sort({ 3, 2, 1 }, function() error(api.text("from sort", 409)) end) end
        function api.gsub.get() ("abc"):gsub(".", function() error(api.json({ 1 }):header("X-A", "b")) end) end
        function api.meta.get() return setmetatable({}, { __index = function() error(api.redirect("/x")) end }).x end
        function api.co.get() coroutine.wrap(function() error(api.status(410)) end)() end
        function api.slept.get() sleep(0.005) error(api.status(411)) end
        function api.rethrown.get()
            local ok, reply = pcall(deep, 5, api.status(412))
            error(reply, 0)
        end
        function api.level.get() error(api.status(413), 2) end
    """)
    reply = server.get("/calls")
    assert (reply.status, reply.json()["error"]) == (403, "no")
    assert (server.get("/sorting").status, server.get("/sorting").text) == (409, "from sort")
    assert (server.get("/gsub").body, server.get("/gsub").header("X-A")) == (b"[1]", "b")
    assert server.get("/meta").status == 302
    assert server.get("/co").status == 410
    assert server.get("/slept").status == 411
    assert server.get("/rethrown").status == 412
    assert server.get("/level").status == 413
    assert "ERROR" not in server.log.text


# --- errors ---

FAIL = """
    local function inner(x)
        return x.field
    end
    function api.get(ctx)
        local answer = inner(nil)
        return answer
    end
"""


def test_an_uncaught_error_is_500_with_the_traceback_only_in_the_log(serve):
    server = serve(FAIL)
    reply = server.get("/", {"X-Request-Id": "req-1"})
    assert reply.status == 500
    assert reply.json() == {"error": "Internal Server Error", "status": 500, "request_id": "req-1"}
    assert "app.lua" not in reply.text
    server.log.wait(r"ERROR.*\[req-1\].*GET /: .*app\.lua:3: attempt to index a nil value \(local 'x'\)")
    server.until(lambda: "stack traceback" in server.log.text)
    assert "app.lua:6" in server.log.text


def test_with_dev_the_reply_has_the_traceback(serve):
    server = serve(FAIL, "--dev")
    got = server.get("/").json()
    assert got["status"] == 500
    assert "app.lua:3: attempt to index a nil value" in got["traceback"]
    assert "app.lua:6" in got["traceback"]


@pytest.mark.parametrize("words", ["not found", "404", "unauthorized", "bad request", "timeout", "invalid JSON",
                                   "HTTP 403 Forbidden", "status: 401"])
def test_no_status_is_guessed_from_words_in_the_error(serve, words):
    """A fault of old: error("user not found") was answered 404."""
    server = serve(f"function api.get() error('{words}') end function api.bare.get() error('{words}', 0) end")
    assert server.get("/").status == 500
    assert server.get("/bare").status == 500


@pytest.mark.parametrize("value", ["'text'", "nil", "42", "{}", "true", "print",
                                   "setmetatable({}, { __tostring = function() error('again') end })",
                                   "setmetatable({}, { __tostring = function() return 7 end })"])
def test_whatever_is_raised_is_500_and_the_server_goes_on(serve, value):
    server = serve(f"function api.get() error({value}) end function api.ok.get() return 'ok' end")
    with server.client() as client:
        for _ in range(3):
            assert client.get("/").status == 500
            assert client.get("/ok").text == "ok"


@pytest.mark.parametrize("body", [
    "local function f() return f() + 1 end return f()",
    "local s = string.rep('x', 1 << 40) return s",
    "coroutine.yield(1)",
    "os.exit(0)",
    "return setmetatable({}, { __index = error }).x",
    "local t = {} t.t = t return t",
])
def test_runaway_handlers_are_500_and_the_server_goes_on(serve, body):
    server = serve(f"function api.get() {body} end function api.ok.get() return 'ok' end")
    with server.client() as client:
        assert client.get("/").status == 500
        assert client.get("/ok").text == "ok"


def test_invalid_utf8_in_replies_becomes_the_replacement_character(serve):
    server = serve(r"""
        function api.value.get() return { a = "x\xffy\xc3" } end
        function api.key.get() return { ["k\xff"] = 1 } end
        function api.error.get() return api.error(400, "bad \xff", { f = "\xed\xa0\x80" }) end
        function api.surrogate.get() return { a = "\xed\xa0\x80" } end
        function api.encode.get() return (pcall(json.encode, { a = "\xff" })) end
    """)
    assert server.get("/value").json() == {"a": "x�y�"}
    assert server.get("/key").json() == {"k�": 1}
    reply = server.get("/error")
    assert (reply.status, reply.json()["error"]) == (400, "bad �")
    assert set(server.get("/surrogate").json()["a"]) == {"�"}
    assert server.get("/encode").json() is False


def test_a_value_that_json_cannot_hold_is_500_naming_the_place(serve):
    server = serve("""
        function api.nan.get() return { list = { { price = 0 / 0 } } } end
        function api.inf.get() return { big = math.huge } end
        function api.fn.get() return { callback = print } end
        function api.mixed.get() return { 1, 2, name = "x" } end
        function api.holes.get() return { 1, nil, 3, [9] = 9 } end
    """)
    for path, word in [("nan", "price"), ("inf", "big"), ("fn", "callback"), ("mixed", "name"), ("holes", "hole")]:
        reply = server.get("/" + path)
        assert reply.status == 500, path
        server.log.wait(f"GET /{path}: .*{word}")
