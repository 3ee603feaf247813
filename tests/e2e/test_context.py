"""The request's context: what it gives, and that nothing of a request is seen by another. All with each strategy."""

import json

import pytest

from poolsrv import message

ONE_VM = ("--lane", "light")  # one worker, and no route moves to the heavy thread's VM


@pytest.fixture(params=["eager", "lazy", "preregistered", "recycled"])
def serve(serve, request):
    """serve(app, *options, ...) as elsewhere, with one strategy after the other."""

    def start(app, *options, **rest):
        return serve(app, "--context", request.param, *options, **rest)

    return start


# --- fields ---


def test_fields_tell_the_request(serve):
    server = serve("""
        function api.p_x.get(ctx)
            return { method = ctx.method, path = ctx.path, target = ctx.target, ip = ctx.ip }
        end
    """)
    assert server.get("/a%20b?q=%20").json() == {
        "method": "GET", "path": "/a b", "target": "/a%20b?q=%20", "ip": "127.0.0.1"}


def test_ip_is_nil_on_a_unix_socket(serve, tmp_path):
    server = serve("function api.get(ctx) return tostring(ctx.ip) end", "--unix", tmp_path / "socket")
    assert server.address == str(tmp_path / "socket")
    assert server.get("/").text == "nil"


def test_ip_is_the_peers_whatever_headers_say(serve):
    server = serve("function api.get(ctx) return ctx.ip end")
    claims = {"X-Forwarded-For": "1.2.3.4", "X-Real-IP": "1.2.3.4", "Forwarded": "for=1.2.3.4"}
    assert server.get("/", claims).text == "127.0.0.1"


def test_unknown_field_is_nil(serve):
    server = serve("function api.get(ctx) return tostring(ctx.nothing) .. tostring(ctx[1]) .. tostring(ctx.Method) end")
    assert server.get("/").text == "nilnilnil"


def test_each_function_returns_the_same_table_within_a_request(serve):
    server = serve("""
        function api.p_x.post(ctx)
            local same = {}
            for _, name in ipairs { "headers", "query", "query_all", "params", "json", "cookies" } do
                local first = ctx[name](ctx)
                first.own = 1
                same[name] = type(first) == "table" and rawequal(first, ctx[name](ctx)) and ctx[name](ctx).own == 1
            end
            return same
        end
    """)
    for _ in range(3):
        assert server.post("/x?a=1", "{}", {"Cookie": "a=b"}).json() == dict.fromkeys(
            ["headers", "query", "query_all", "params", "json", "cookies"], True)


def test_body_is_raw_bytes_and_empty_without_one(serve):
    server = serve("""
        function api.post(ctx) return api.text(ctx:body()) end
        function api.get(ctx) return { type = type(ctx:body()), length = #ctx:body() } end
    """)
    data = bytes(range(256)) * 300
    assert server.post("/", data).body == data
    assert server.get("/").json() == {"type": "string", "length": 0}


def test_context_without_a_colon_is_a_clear_error(serve):
    server = serve("function api.get(ctx) return ctx.headers() end")
    assert server.get("/").status == 500
    server.log.wait("call it with a colon")


# --- request id ---

ID_APP = "function api.get(ctx) return { id = ctx.id, again = ctx.id } end"


def test_a_sane_request_id_of_the_client_is_taken(serve):
    assert serve(ID_APP).get("/", {"X-Request-Id": "abc-1.2_Z"}).json() == {"id": "abc-1.2_Z", "again": "abc-1.2_Z"}


@pytest.mark.parametrize("insane", ["a b", "x" * 65, "a\"b", "\xff", "a;b", "<script>"])
def test_an_insane_request_id_is_replaced(serve, insane):
    got = serve(ID_APP).get("/", {"X-Request-Id": insane}).json()
    assert got["id"] == got["again"] != insane
    assert 8 <= len(got["id"]) <= 64


def test_made_ids_differ(serve):
    server = serve(ID_APP)
    assert len({server.get("/").json()["id"] for _ in range(50)}) == 50


def test_request_id_is_sent_back_only_with_the_option_and_with_errors(serve):
    server = serve(ID_APP)
    assert server.get("/").header("X-Request-Id") is None
    reply = server.get("/nowhere", {"X-Request-Id": "mine"})
    assert reply.header("X-Request-Id") == reply.json()["request_id"] == "mine"


def test_an_id_that_the_app_sends_itself_is_the_only_one(serve):
    server = serve("""
        function api.get() return api.text("x"):header("X-Request-Id", "own") end
        function api.bad.get() return api.error(404):header("x-request-id", "own") end
    """, "--request-id")
    assert server.get("/").header("X-Request-Id") == "own"
    assert server.get("/bad").header("X-Request-Id") == "own"


def test_request_id_option_sends_it_with_every_reply(serve):
    server = serve(ID_APP, "--request-id")
    assert server.get("/", {"X-Request-Id": "mine"}).header("X-Request-Id") == "mine"
    reply = server.get("/")
    assert reply.header("X-Request-Id") == reply.json()["id"]


# --- headers ---

HEADERS_APP = """
    function api.all.get(ctx) return ctx:headers() end
    function api.one.p_name.get(ctx)
        local name = ctx:params().name
        return { header = ctx:header(name), headers = ctx:headers()[name] }
    end
"""


def test_header_names_are_in_lower_case(serve):
    got = serve(HEADERS_APP).get("/all", {"X-Foo": "Bar", "ACCEPT": "Text/Html"}).json()
    assert got == {"host": "test", "x-foo": "Bar", "accept": "Text/Html"}


def test_a_header_is_found_in_any_case_and_a_miss_is_nil(serve):
    server = serve(HEADERS_APP)
    for name in ("x-foo", "X-Foo", "X-FOO"):
        assert server.get("/one/" + name, {"x-FOO": "v"}).json() == {"header": "v", "headers": "v"}
    assert server.get("/one/X-Bar", {"x-foo": "v"}).json() == {}


def test_repeated_headers_are_joined(serve):
    pairs = [("X-A", "1"), ("x-a", "2"), ("X-a", "3"), ("Cookie", "a=1"), ("cookie", "b=2")]
    server = serve(HEADERS_APP)
    got = server.get("/all", pairs).json()
    assert (got["x-a"], got["cookie"]) == ("1, 2, 3", "a=1; b=2")
    assert server.get("/one/x-a", pairs).json() == {"header": "1, 2, 3", "headers": "1, 2, 3"}
    assert server.get("/one/cookie", pairs).json()["header"] == "a=1; b=2"


def test_no_header_lookup_depends_on_case(serve):
    """A fault of old: only the spelling that the client had chosen was found."""
    server = serve("""
        function api.get(ctx)
            return { ctx:header("X-A"), ctx:header("x-a"), ctx:headers()["X-A"], ctx:headers()["x-a"] }
        end
    """)
    for spelling in ("x-a", "X-A", "X-a"):
        assert server.get("/", {spelling: "v"}).json() == ["v"] * 4


def test_no_repeated_header_is_lost(serve):
    """A fault of old: of a repeated header one was kept."""
    server = serve("function api.get(ctx) return ctx:header('X-Forwarded-For') end")
    assert server.get("/", [("X-Forwarded-For", "a"), ("X-Forwarded-For", "b")]).text == "a, b"


def test_empty_header_is_an_empty_string(serve):
    assert serve(HEADERS_APP).get("/one/x-a", {"X-A": ""}).json() == {"header": "", "headers": ""}


# --- query ---

QUERY_APP = """
    function api.get(ctx) return ctx:query() end
    function api.all.get(ctx)
        local all, named, order = ctx:query_all(), {}, {}
        for i, pair in ipairs(all) do order[i] = pair[1] .. "=" .. pair[2] end
        for name, list in pairs(all) do if type(name) == "string" then named[name] = json.array(list) end end
        return { named = named, order = json.array(order) }
    end
"""


@pytest.mark.parametrize("query, expected", [
    ("", {}),
    ("?", {}),
    ("?a=1&b=2", {"a": "1", "b": "2"}),
    ("?name=J%C3%BCrgen+X%2B&n%61=%26", {"name": "Jürgen X+", "na": "&"}),
    ("?a=first&a=second", {"a": "first"}),
    ("?flag", {"flag": ""}),
    ("?flag&x=1", {"flag": "", "x": "1"}),
    ("?a=", {"a": ""}),
    ("?a=b=c", {"a": "b=c"}),
    ("?&&a=1&", {"a": "1"}),
    ("?a=%zz", {"a": "%zz"}),
    ("?a=1?b=2", {"a": "1?b=2"}),
])
def test_query_is_decoded_and_the_first_value_counts(serve, query, expected):
    assert serve(QUERY_APP).get("/" + query).json() == expected


def test_no_query_value_is_left_undecoded(serve):
    """A fault of old: ?a=%41+b gave "%41+b"."""
    assert serve(QUERY_APP).get("/?a=%41+b").json() == {"a": "A b"}


def test_no_flag_yields_its_own_name(serve):
    """A fault of old: ?flag gave "flag"."""
    assert serve(QUERY_APP).get("/?flag").json() == {"flag": ""}


def test_query_all_gives_lists_and_the_order(serve):
    got = serve(QUERY_APP).get("/all?b=1&a=x+y&b=2&flag").json()
    assert got["named"] == {"b": ["1", "2"], "a": ["x y"], "flag": [""]}
    assert got["order"] == ["b=1", "a=x y", "b=2", "flag="]


# --- JSON bodies ---

JSON_APP = "function api.post(ctx) return api.json { got = ctx:json() } end"


@pytest.mark.parametrize("content_type", [None, "application/json", "application/json; charset=utf-8",
                                          "Application/JSON", "application/problem+json", "application/x+json ; a=b"])
def test_json_takes_json_types_and_none(serve, content_type):
    headers = {"Content-Type": content_type} if content_type else {}
    reply = serve(JSON_APP).post("/", '{"a":[1,2.5,null,"x"]}', headers)
    assert (reply.status, reply.json()) == (200, {"got": {"a": [1, 2.5, None, "x"]}})


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/jsonx",
                                          "json"])
def test_json_refuses_other_types_with_415_naming_them(serve, content_type):
    reply = serve(JSON_APP).post("/", "{}", {"Content-Type": content_type})
    assert reply.status == 415
    assert content_type in reply.json()["error"]


@pytest.mark.parametrize("body, position", [('{"a":1,}', "8"), ("[1 2]", "4"), ("{", "2"), ("nul", "1"), ("1 1", "3")])
def test_malformed_json_is_400_with_the_position(serve, body, position):
    reply = serve(JSON_APP).post("/", body)
    assert reply.status == 400
    assert f"at byte {position}" in reply.json()["error"]


def test_empty_body_for_json_is_400(serve):
    server = serve(JSON_APP)
    for reply in (server.post("/", ""), server.ask("POST", "/")):
        assert reply.status == 400
        assert "empty" in reply.json()["error"]


def test_json_of_a_wrong_body_fails_again_when_caught_once(serve):
    server = serve("""
        function api.post(ctx)
            local first, second = pcall(ctx.json, ctx), pcall(ctx.json, ctx)
            return { first, second }
        end
    """)
    assert server.post("/", "[").json() == [False, False]


# --- cookies ---


def test_cookies_are_named_and_the_first_counts(serve):
    server = serve("function api.get(ctx) return ctx:cookies() end")
    assert server.get("/", [("Cookie", 'a=1; b="quoted"; a=2; empty='), ("Cookie", "c=x=y")]).json() == {
        "a": "1", "b": "quoted", "empty": "", "c": "x=y"}
    assert server.get("/").json() == {}


# --- what a handler puts on ctx ---

SEEN = """
    local fields = { method = true, path = true, headers = true, query = true, params = true, body = true }
    local function seen(ctx)
        local keys = 0                                   -- that are not the context's own
        for k in next, ctx do keys = keys + (fields[k] and 0 or 1) end
        return { mine = tostring(ctx.mine), raw = tostring(rawget(ctx, "raw")), one = tostring(ctx[1]),
                 method = ctx.method, path = ctx.path, keys = keys, evil = tostring(ctx.evil),
                 query = ctx:query(), host = ctx:headers().host }
    end
    function api.look.get(ctx) return seen(ctx) end
"""
CLEAN = {"mine": "nil", "raw": "nil", "one": "nil", "method": "GET", "path": "/look", "keys": 0, "evil": "nil",
         "query": {"q": "1"}, "host": "test"}
TRICKS = {
    "own_field": "ctx.mine = 'secret'",
    "rawset": "rawset(ctx, 'raw', 'secret')",
    "method_overwritten": "ctx.method = 1 ctx.path = '/other'",
    "functions_overwritten": "ctx.query = 'mine' ctx.headers = print ctx.json = nil",
    "rawset_of_known_names": "rawset(ctx, 'method', 'X') rawset(ctx, 'query', 'mine')",
    "metatable_replaced": "setmetatable(ctx, { __index = { evil = 'secret', method = 'X' } })",
    "metatable_removed": "setmetatable(ctx, nil) ctx.mine = 'secret'",
    "metatable_by_debug": "debug.setmetatable(ctx, { __index = function() return 'secret' end })",
    "metatable_frozen": "setmetatable(ctx, { __metatable = false, __newindex = error, __gc = print })",
    "ten_thousand_integer_keys": "for i = 1, 10000 do ctx[i] = i end",
    "ten_thousand_names": "for i = 1, 10000 do ctx['k' .. i] = i end",
    "odd_keys": "ctx[true] = 1 ctx[1.5] = 2 ctx[print] = 3 ctx[ctx] = ctx",
    "fields_removed": "local m = ctx.method ctx.method = nil ctx.path = nil",
    "error_after_setting": "ctx.mine = 'secret' error('stop')",
    "raise_after_setting": "ctx.mine = 'secret' error(api.error(400, 'stop'))",
    "sleep_after_setting": "ctx.mine = 'secret' sleep(0.01)",
    "parsed_tables_changed": "ctx:query().x = 'mine' ctx:headers().host = 'secret' ctx:params().p = 1",
}


@pytest.mark.parametrize("dev", [(), ("--dev", "--no-access-log")], ids=["plain", "dev"])
@pytest.mark.parametrize("name", TRICKS)
def test_nothing_a_handler_did_to_its_context_survives(serve, name, dev):
    app = SEEN + f"function api.trick.get(ctx) {TRICKS[name]} end\n"
    server = serve(app, *ONE_VM, *dev)
    with server.client() as client:
        for _ in range(5):
            assert client.get("/trick").status in (204, 400, 500)
            assert client.get("/look?q=1").json() == CLEAN


def test_the_metatable_of_a_context_is_hidden(serve):
    server = serve("function api.get(ctx) return type(getmetatable(ctx)) end")
    assert server.get("/").text != "table"


def test_what_is_done_to_one_requests_headers_does_not_show_in_anothers(serve):
    server = serve("""
        function api.spoil.get(ctx)
            local mt = getmetatable(ctx:headers())
            if type(mt) == "table" then mt.__index = function() return "leaked" end end
            setmetatable(ctx:headers(), { __index = function() return "leaked" end })
            return ctx:headers().nope
        end
        function api.get(ctx) return ctx:headers().nope or "clean" end
    """, "--lane", "light")
    assert server.get("/spoil").text == "leaked"
    assert server.get("/").text == "clean"


def test_waiting_requests_have_a_context_each(serve):
    server = serve("""
        local waiting = {}
        function api.p_who.get(ctx)
            local who = ctx:params().who
            ctx.who = who
            waiting[#waiting + 1] = who
            while #waiting < 8 do sleep(0.005) end
            return { own = ctx.who, who = ctx:params().who, path = ctx.path, q = ctx:query().q, id = ctx.id }
        end
    """, *ONE_VM)
    clients = [server.client() for _ in range(8)]
    try:
        for i, client in enumerate(clients):
            client.send(message("GET", f"/w{i}?q={i}", {"X-Request-Id": f"id{i}"}))
        for i, client in enumerate(clients):
            assert client.read().json() == {
                "own": f"w{i}", "who": f"w{i}", "path": f"/w{i}", "q": str(i), "id": f"id{i}"}
    finally:
        for client in clients:
            client.close()


def test_no_context_is_handed_on_before_its_handler_has_read_it(serve):
    """A fault of old: a context was recycled while something still read the request from it."""
    server = serve("""
        function api.slow.p_who.post(ctx)
            print("slow began")
            repeat sleep(0.002) until released
            return { ctx:params().who, ctx:query().q, ctx:header("x-who"), ctx:body(), ctx.path, ctx.target }
        end
        function api.fast.p_who.post(ctx) return ctx:params().who .. ctx:body() end
        function api.release.get() released = true end
    """, *ONE_VM)
    with server.client() as slow, server.client() as fast:
        slow.send(message("POST", "/slow/ann?q=1", {"X-Who": "ann"}, "body of ann"))
        server.log.wait("slow began")
        for n in range(100):
            assert fast.ask("POST", f"/fast/bob?q={n}", {"X-Who": "bob"}, "B" * 20).text == "bob" + "B" * 20
        assert fast.get("/release").status == 204
        assert slow.read().json() == ["ann", "1", "ann", "body of ann", "/slow/ann", "/slow/ann?q=1"]


# --- contexts that are kept ---

KEEPING = {
    "global": ("function api.keep.get(ctx) kept = ctx end", "kept"),
    "upvalue": ("local mine = {} function api.keep.get(ctx) mine.ctx = ctx end", "mine.ctx"),
    "coroutine": (
        "local co function api.keep.get(ctx) "
        "co = coroutine.wrap(function() while true do coroutine.yield(ctx.path .. ctx:query().secret) end end) "
        "co() end",
        "co()"),
}
USES = {
    "global": ["{k}.path", "{k}.anything", "{k}:query()", "{k}:header('host')"],
    "upvalue": ["{k}.path", "{k}.anything", "{k}:query()", "{k}:header('host')"],
    "coroutine": ["{k}"],
}


@pytest.mark.parametrize("how", KEEPING)
def test_with_dev_using_a_kept_context_is_an_error_that_names_the_route(serve, how):
    define, kept = KEEPING[how]
    for use in USES[how]:
        app = define + f"\nfunction api.use.get() return tostring({use.format(k=kept)}) end\n"
        server = serve(app, *ONE_VM, "--dev", "--no-access-log")
        with server.client() as client:
            assert client.get("/keep?secret=s3cret").status == 204
            reply = client.get("/use")
        assert reply.status == 500
        assert "s3cret" not in reply.text
        assert "GET /keep was used after its request had ended" in reply.json()["traceback"]


@pytest.mark.parametrize("how", KEEPING)
def test_a_route_that_keeps_its_context_is_found_and_logged(serve, how):
    define, _ = KEEPING[how]
    if how == "coroutine":
        define = define.replace("local co ", "local all, co = {} ").replace(" co() end", " co() all[#all + 1] = co end")
    define = define.replace("kept = ctx", "kept = kept or {} kept[#kept + 1] = ctx")
    define = define.replace("mine.ctx = ctx", "mine[#mine + 1] = ctx")
    server = serve(define + """
        function api.collect.get() collectgarbage() collectgarbage() collectgarbage() end
    """, *ONE_VM)
    with server.client() as client:
        def is_logged():
            for _ in range(50):
                client.get("/keep?secret=x")
            client.get("/collect")
            return "GET /keep keeps its context" in server.log.text
        server.until(is_logged)


def test_a_kept_context_never_shows_another_users_request_once_the_route_is_known(serve):
    server = serve("""
        kept = {}
        function api.keep.get(ctx) kept[#kept + 1] = ctx end
        function api.collect.get() collectgarbage() collectgarbage() collectgarbage() end
        function api.last.get(ctx) return tostring(kept[#kept]:query().secret) end
    """, *ONE_VM)
    with server.client() as client:
        def is_logged():
            for _ in range(50):
                client.get("/keep?secret=x")
            client.get("/collect")
            return "GET /keep keeps its context" in server.log.text
        server.until(is_logged)
        client.get("/keep?secret=mine")
        reply = client.get("/last?secret=other")
    assert reply.status == 500
    server.log.wait("GET /keep was used after its request had ended")


def test_a_context_used_by_a_coroutine_of_the_same_request_works(serve):
    server = serve("""
        function api.p_x.get(ctx)
            local co = coroutine.wrap(function()
                sleep(0.005)
                coroutine.yield(ctx:params().x)
                return ctx.path
            end)
            return { co(), co() }
        end
    """, "--dev", "--no-access-log")
    assert server.get("/one").json() == ["one", "/one"]
    assert json.loads(server.get("/two").body) == ["two", "/two"]
