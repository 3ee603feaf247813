"""Handlers that take too much time or memory are ended; others go on."""

import threading

import pytest

import poolsrv
from crowd import crowd, gauge

ADMIN = ("--admin", "127.0.0.1:0")

# Each is a handler that never ends by itself; what the unit tests try one by one in a VM is tried here in a server.
RUNAWAYS = {
    "loop": "while true do end",
    "pcall": "while true do pcall(function() while true do end end) end",
    "xpcall": "while true do xpcall(function() while true do end end, function() while true do end end) end",
    "handler": "xpcall(error, function() while true do end end)",
    "coroutine": "while true do coroutine.wrap(function() while true do end end)() end",
    "close": "local x <close> = setmetatable({}, { __close = function() while true do end end })",
    "gc": "setmetatable({}, { __gc = function() while true do end end }) collectgarbage()",
    "index": "return setmetatable({}, { __index = function() while true do end end }).x",
    "sort": "table.sort({ 3, 2, 1 }, function() while true do end end)",
    "gsub": "('abc'):gsub('.', function() while true do end end)",
    "tostring": "error(setmetatable({}, { __tostring = function() while true do end end }))",
    "sethook": "while true do debug.sethook() end",
    "recursion": "local function again() return again() end again()",
}


def handlers(bodies):
    return "".join(f"function api.{name}.get()\n{body}\nend\n" for name, body in bodies.items())


def limits_met(server, route, limit):
    return gauge(server, f'poolsrv_handler_limits_total{{route="{route}",limit="{limit}"}}')


def test_runaway_handlers_get_504_and_the_server_goes_on(serve):
    server = serve("function api.get() return 'alive' end\n" + handlers(RUNAWAYS), "--cpu-limit", "0.1", *ADMIN)
    for name in RUNAWAYS:
        reply = server.get(f"/{name}")
        assert (reply.status, reply.json()["error"]) == (504, "Gateway Timeout"), name
        assert reply.json()["request_id"] == reply.header("X-Request-Id")
        assert reply.header("Retry-After") is None
        server.log.wait(rf"\[{reply.json()['request_id']}\] GET /{name}: the handler was ended: its CPU limit is 0.1 s")
        assert limits_met(server, f"/{name}", "cpu") == 1
        assert server.get("/").text == "alive"
    assert server.log.text.count("stack traceback:") >= len(RUNAWAYS)


def test_the_probe_holds_beside_runaway_handlers(serve):
    """All at once and again, more of them than there are threads for long handlers."""
    server = serve("function api.get() return 'alive' end\n" + handlers(RUNAWAYS), "--cpu-limit", "0.1", *ADMIN,
                   "--heavy-threads", "2", "--max-heavy", "2")
    while not gauge(server, 'poolsrv_lane{route="/",method="GET",lane="light"}'):
        assert server.get("/").text == "alive"  # nobody knows yet that it is short
    with poolsrv.Probe(server, "--body", "alive", "--rss-slack", 4 << 20):
        for _ in range(2):
            with crowd(server, len(RUNAWAYS)) as clients:
                for client, name in zip(clients, RUNAWAYS):
                    client.send(poolsrv.message("GET", f"/{name}"))
                assert {client.read().status for client in clients} == {504}


def test_runaway_hooks_are_ended_too(serve):
    server = serve("""
        function api.get() return "alive" end
        function api.a.before() while true do end end
        function api.a.get() end
        function api.b.after() while true do end end
        function api.b.get() end
        function api.c.on_error() while true do end end
        function api.c.get() error("x") end
        function api.d.on_error() return api.text("saved") end
        function api.d.get() while true do end end
    """, "--cpu-limit", "0.1")
    assert [server.get(f"/{name}").status for name in "abcd"] == [504] * 4
    assert server.get("/").text == "alive"


def test_processor_time_adds_up_over_the_waits_of_a_request(serve):
    server = serve("""
        function api.get()
            while true do
                for i = 1, 100000 do end
                sleep(0)
            end
        end
    """, "--cpu-limit", "0.2")
    assert server.get("/").status == 504
    server.log.wait(r"its CPU limit is 0.2 s")


def test_wall_time_ends_what_keeps_going_back_into_the_system(serve):
    server = serve("""
        api.block.limits = { wall = 0.3 }
        function api.block.get() while true do pcall(os.execute, "sleep 0.02") end end
        function api.get() return "alive" end
    """, *ADMIN)
    assert server.get("/block").status == 504
    server.log.wait(r"GET /block: the handler was ended: its wall-time limit is 0.3 s")
    assert limits_met(server, "/block", "wall") == 1
    assert server.get("/").text == "alive"


def test_handler_that_waits_for_too_long_gets_503(serve):
    server = serve("""
        api.limits = { wall = 0.2 }
        function api.get() sleep(1000) end
        function api.close.get()
            local x <close> = setmetatable({}, { __close = function() while true do end end })
            sleep(1000)
        end
        function api.fine.get() return "alive" end
    """, "--cpu-limit", "0.1")
    for path in "/", "/close":
        reply = server.get(path)
        assert (reply.status, reply.header("Retry-After")) == (503, "1")
    server.log.wait(r"GET /close: while its variables were closed: .*the handler has taken too long")
    assert server.get("/fine").text == "alive"


def test_nearest_limit_holds_and_0_is_none(serve):
    server = serve("""
        local function burn(s)
            local till = os.clock() + s
            while os.clock() < till do end
            return "burnt"
        end
        api.limits = { cpu = 0.1, wall = 60 }
        api.free.limits = { cpu = 0 }
        api.free.p_id.tight.limits = { cpu = 0.1, memory = "1m" }
        function api.get() return burn(100) end
        function api.free.get() return burn(0.5) end
        function api.free.p_id.get() return burn(0.5) end
        function api.free.p_id.tight.get() return burn(100) end
        api.route("GET", "/free/:id/tight/too", function() return #("x"):rep(2 << 20) end)
    """)
    assert server.get("/").status == 504
    assert server.get("/free").text == "burnt"
    assert server.get("/free/1").text == "burnt"
    assert server.get("/free/1/tight").status == 504
    assert server.get("/free/1/tight/too").status == 500


BOMBS = {
    "text": "return ('x'):rep(1 << 30)",
    "table": "local t = {} while true do t[#t + 1] = {} end",
    "json": "local t = 'x' for i = 1, 40 do t = { t, t } end return t",
}


def test_memory_bomb_gets_500_and_its_vm_is_replaced(serve):
    server = serve("local n = 0 function api.get() n = n + 1 return n end\n" + handlers(BOMBS),
                   "--memory-limit", "16m", "--lane", "light", *ADMIN)
    for name in BOMBS:
        before = server.get("/").json()
        reply = server.get(f"/{name}")
        assert reply.status == 500
        server.log.wait(rf"GET /{name}: the handler met its memory limit: it wanted \d+\.\d MiB, and may have 16.0 MiB")
        assert limits_met(server, f"/{name}", "memory") == 1
        server.until(lambda before=before: server.get("/").json() <= before)


def test_vm_has_a_limit_beside_that_of_its_requests(serve):
    server = serve("""
        local kept = {}
        function api.get() kept[#kept + 1] = ("x"):rep(1 << 20) .. #kept return #kept end
    """, "--vm-memory-limit", "16m", "--lane", "light")
    replies = [server.get("/").status for _ in range(17)]
    assert replies[0] == 200 and 500 in replies
    server.log.wait(r"GET /: the handler met its memory limit")
    server.until(lambda: server.get("/").status == 200)


def test_garbage_of_one_vm_does_not_stop_the_others(serve, tmp_path):
    enough = tmp_path / "enough"
    server = serve(f"""
        api.garbage.get = api.heavy(function()
            print("begun")
            local n = 0
            repeat
                for i = 1, 1000 do local s = ("x"):rep(100000) .. i end
                n = n + 100
            until io.open({str(enough)!r})
            return n
        end)
        function api.get() return "alive" end
    """, "--heavy-threads", "2", "--cpu-limit", "0", "--handler-timeout", "0")
    with server.client() as client:
        client.send(b"GET /garbage HTTP/1.1\r\nHost: test\r\n\r\n")
        server.log.wait("begun")
        for _ in range(100):
            assert server.get("/").text == "alive"
        enough.touch()  # it cannot have ended before
        assert client.read().json() >= 100


def test_server_stops_while_a_handler_runs_away(serve):
    server = serve("function api.get() print('begun') while true do end end", "--cpu-limit", "0.3")
    with server.client() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        server.log.wait("begun")
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        assert client.read().status == 504
        stopping.join()


def test_traceback_is_in_the_reply_when_developing(serve):
    server = serve("""
        function api.get()
            while true do end
        end
    """, "--cpu-limit", "0.1", "--dev")
    traceback = server.get("/").json()["traceback"]
    assert "its CPU limit is 0.1 s" in traceback and "app.lua:3: in function" in traceback


def test_options_may_come_from_the_app(serve):
    server = serve("""
        api.config { cpu_limit = 0.1, memory_limit = "8m", vm_memory_limit = "64m" }
        function api.get() while true do end end
        function api.big.get() return #("x"):rep(9 << 20) end
    """)
    assert server.get("/").status == 504
    assert server.get("/big").status == 500


@pytest.mark.parametrize("line, problem", [
    ("api.limits = 5", "api.limits: limits are a table, as in { cpu = 1, memory = \"64m\" }, not a number"),
    ("api.x.limits = { cpux = 5 }", "api.x.limits: a limit is one of cpu, wall, memory, not cpux; did you mean \"cpu\"?"),
    ("api.limits = { cpu = -1 }", "api.limits: cpu is a number of seconds, 0 for no limit, not -1"),
    ("api.limits = { wall = '5' }", "api.limits: wall is a number of seconds, 0 for no limit, not 5"),
    ("api.limits = { memory = '5x' }",
     "api.limits: memory is a number of bytes or a text like \"64m\", 0 for no limit, not 5x"),
    ("api.limits = { memory = 1.5 }",
     "api.limits: memory is a number of bytes or a text like \"64m\", 0 for no limit, not 1.5"),
    ("api.limits = { cpu = 1 } api.limits = { cpu = 2 }", "api.limits: it is defined already, at app.lua:2"),
    ("api.limits { cpu = 1 }", "api.limits is not called: write api.limits = { cpu = 1 }"),
    ("api.limit = { cpu = 1 }", "did you mean \"limits\"?"),
])
def test_mistakes_in_limits_are_found_while_the_app_loads(run_app, app_problem, line, problem):
    app = f"function api.get() end\n{line}\n"
    assert problem in app_problem(app)
    done = run_app(app, "check")
    assert done.returncode == 1
    assert f"app.lua:2: {problem}" in done.stderr or problem in done.stderr
