"""Tasks: functions that go on after the reply, and functions of modules that other threads run."""

import json
import os
import signal

import pytest

import poolsrv
from poolsrv import message

TWO = ("--heavy-threads", "2")

MODULE = """
    local m = {}
    function m.echo(...) return ... end
    function m.count(...) return select("#", ...), ... end
    function m.fail(x) error("it fails for " .. tostring(x)) end
    function m.raise() error({ a = 1 }) end
    function m.wait(s) sleep(s) return "waited" end
    function m.spin() while true do end end
    function m.unfit() return print end
    function m.again(n) return n > 0 and require("poolsrv.task").run("work.again", n - 1) + 1 or 0 end
    function m.slow(x) sleep(0.01 * (5 - x)) return x * 10 end
    m.number = 3
    return m
"""

APP = """
    local task = require "poolsrv.task"
    local json = json
    function api.get() return "alive" end
    function api.stopping.get() return tostring(task.stopping()) end
    function api.run.p_name.post(ctx)
        local arguments = ctx:json()
        local results = table.pack(pcall(task.run, ctx:params().name, table.unpack(arguments, 1, arguments.n or #arguments)))
        if not results[1] then return { why = results[2] } end
        local list = json.array({})
        for i = 2, results.n do list[i - 1] = results[i] == nil and "nil" or results[i] end
        return { results = list }
    end
"""

FILES = {"work.lua": MODULE}


def run(server, name, *arguments):
    return server.post(f"/run/work.{name}", json.dumps(arguments), {"Content-Type": "application/json"}).json()


# --- task.run and task.map ---


@pytest.fixture(params=("light", "heavy"))
def server(request, serve):
    return serve(APP, "--lane", request.param, *TWO, files=FILES)


def test_results_come_back(server):
    assert run(server, "echo", 1, "two", [3], {"four": [5.5]}, True) == {
        "results": [1, "two", [3], {"four": [5.5]}, True]}
    assert run(server, "echo") == {"results": []}


def test_nil_and_null_keep_their_places(serve):
    server = serve(APP + """
        function api.nils.get()
            return { table.unpack({ tostring(select("#", task.run("work.echo", nil, 1, nil))),
                                    json.encode({ task.run("work.count", nil, nil) }),
                                    tostring(task.run("work.echo", json.null)),
                                    tostring(task.run("work.echo", { a = json.null }).a == json.null) }) }
        end
    """, files=FILES)
    assert server.get("/nils").json() == ["3", "[2]", "nil", "true"]


def test_an_error_comes_back_with_its_line_and_the_callers(server):
    why = run(server, "fail", 7)["why"]
    assert "app.lua:" in why and 'task.run("work.fail"): ' in why and "work.lua:5: it fails for 7" in why
    assert "stack traceback" not in why
    server.log.wait(r"ERROR .*work.lua:5: it fails for 7")
    assert "error object" in run(server, "raise")["why"] or "table" in run(server, "raise")["why"]


@pytest.mark.parametrize("name, problem", (
    ("work.nothing", 'the module "work" has no function "nothing"'),
    ("work.number", 'the module "work" has no function "number"'),
    ("nowhere.at", "module 'nowhere' not found"),
    ("work.unfit", "cannot encode a function"),
    ("work", "expected the name of a module's function"),
))
def test_what_cannot_be_called_is_told(server, name, problem):
    why = server.post(f"/run/{name}", "[]", {"Content-Type": "application/json"}).json()["why"]
    assert "app.lua:" in why and problem in why


def test_a_call_that_takes_too_long_is_ended(serve):
    server = serve(APP, "--handler-timeout", "30", "--cpu-limit", "0.2", *TWO, files=FILES)
    assert "CPU limit" in run(server, "spin")["why"]
    assert server.get("/").text == "alive"


def test_calls_within_calls_end(server):
    assert run(server, "again", 20) == {"results": [20]}


def test_many_wait_at_once(server):
    with server.client() as one, server.client() as two:
        for client in (one, two):
            client.send(message("POST", "/run/work.wait", {"Content-Type": "application/json"}, "[0.2]"))
        assert server.get("/").text == "alive"
        for client in (one, two):
            assert client.read().json() == {"results": ["waited"]}


def test_map_keeps_the_order(serve):
    server = serve(APP + """
        function api.map.get() return json.array(task.map("work.slow", { 1, 2, 3, 4, 5 })) end
        function api.none.get() return json.array(task.map("work.slow", {})) end
        function api.many.get()
            local list = {}
            for i = 1, 1000 do list[i] = i end
            local sum = 0
            for i, n in ipairs(task.map("work.echo", list)) do assert(i == n) sum = sum + n end
            return { sum }
        end
        function api.bad.get() return tostring(select(2, pcall(task.map, "work.fail", { "a", "b" }))) end
        function api.holes.get() return { #task.map("work.echo", { 1, false, 3 }) } end
    """, *TWO, files=FILES)
    assert server.get("/map").json() == [10, 20, 30, 40, 50]
    assert server.get("/none").json() == []
    assert server.get("/many").json() == [500500]
    assert server.get("/holes").json() == [3]
    why = server.get("/bad").text
    assert 'task.map("work.fail"): element 1: ' in why and "it fails for a" in why


def test_a_handler_that_waits_meets_its_own_timeout(serve):
    server = serve(APP, "--handler-timeout", "0.3", *TWO, files=FILES)
    with server.client() as client:
        client.send(message("POST", "/run/work.wait", {"Content-Type": "application/json"}, "[3600]"))
        assert client.read().status == 503
    assert server.get("/").text == "alive"


def test_a_client_that_leaves_while_its_handler_waits_does_no_harm(serve):
    server = serve(APP, *TWO, files=FILES)
    for _ in range(20):
        with server.client() as client:
            client.send(message("POST", "/run/work.wait", {"Content-Type": "application/json"}, "[0.1]"))
    assert run(server, "wait", 0.2) == {"results": ["waited"]}
    assert server.stop() == 0


def test_a_sealed_app_runs_tasks(serve):
    server = serve(APP + """
        function api.spawn.get() task.spawn(function(x) sleep(0.01) print("spawned " .. x) end, 1) return "" end
        require "work"
    """, "--sandbox", "strict", *TWO, files=FILES)
    assert run(server, "echo", 1) == {"results": [1]}
    server.get("/spawn")
    server.log.wait(r"spawned 1")


@pytest.mark.parametrize("context", ("eager", "lazy", "preregistered", "recycled"))
def test_every_kind_of_context_runs_and_spawns(serve, context):
    server = serve(APP + """
        function api.spawn.get(ctx)
            local path = ctx.path
            task.spawn(function(p) sleep(0.01) print("spawned " .. p) end, path)
            return task.run("work.echo", path) .. ctx.path
        end
    """, "--context", context, *TWO, files=FILES)
    for _ in range(5):
        assert server.get("/spawn").text == "/spawn/spawn"
    server.log.wait(r"spawned /spawn", count=5)


# --- task.spawn ---


def test_a_spawned_function_goes_on_after_the_reply(serve):
    server = serve(APP + """
        local done = {}
        function api.spawn.get()
            for i = 1, 3 do task.spawn(function(a, b, c) sleep(0.05) print("ran", a, b, c) end, i, nil, "z") end
            return "replied"
        end
    """)
    assert server.get("/spawn").text == "replied"
    ran = server.log.wait(r"ran\t(\d)\t(nil)\t(z)", count=3)
    assert sorted(m[1] for m in ran) == ["1", "2", "3"]


def test_spawned_functions_begin_in_their_order(serve):
    server = serve(APP + """
        function api.spawn.get()
            for i = 1, 50 do task.spawn(print, "ran", i) end
            return ""
        end
    """)
    server.get("/spawn")
    assert [int(m[1]) for m in server.log.wait(r"ran\t(\d+)", count=50)] == list(range(1, 51))


def test_a_spawned_function_that_fails_is_logged(serve):
    server = serve(APP + """
        function api.spawn.get()
            task.spawn(function() local x = nil; return x.y end)
            return "replied"
        end
    """)
    assert server.get("/spawn").text == "replied"
    server.log.wait(r"ERROR .*spawned \S*app\.lua:\d+: \S*app.lua:\d+: attempt to index a nil value")
    assert server.get("/").text == "alive"


@pytest.mark.parametrize("limits, does, told", (
    ("cpu = 0.1", "while true do end", "CPU limit"),
    ("wall = 0.1", "while true do sleep(0.01) end", "limit"),
    ("wall = 0.1", "sleep(3600)", "limit of time"),
    ('memory = "8m"', "local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end", "memory"),
))
def test_a_spawned_function_has_limits_of_its_own(serve, limits, does, told):
    server = serve(APP + f"""
        function api.spawn.get() task.spawn({{ {limits} }}, function() {does} end) return "" end
    """)
    server.get("/spawn")
    server.log.wait(rf"spawned \S*app\.lua:\d+: .*{told}")
    assert server.get("/").text == "alive"


def test_a_spawned_function_has_the_servers_limits(serve):
    server = serve(APP + """
        function api.spawn.get() task.spawn(function() while true do end end) return "" end
    """, "--cpu-limit", "0.2")
    server.get("/spawn")
    server.log.wait(r"spawned \S*app\.lua:\d+: .*CPU limit")
    assert server.get("/").text == "alive"


def test_no_more_functions_wait_than_there_may(serve):
    server = serve(APP + """
        function api.spawn.get(ctx)
            local n, why = 0
            for _ = 1, 10100 do
                local ok, err = pcall(task.spawn, { wall = 0, cpu = 0 }, function() while not task.stopping() do sleep(0.05) end end)
                if ok then n = n + 1 else why = err end
            end
            return { n = n, why = why }
        end
    """, "--cpu-limit", "0", "--handler-timeout", "0")
    made = server.get("/spawn").json()
    assert made["n"] == 10000
    assert "app.lua:" in made["why"] and "too many spawned functions" in made["why"]
    assert server.stop() == 0


def test_functions_that_spawn_themselves_end_with_the_server(serve):
    server = serve(APP + """
        local function again() task.spawn(again) end
        function api.spawn.get() again() return "" end
    """, "--grace", "0.3")
    server.get("/spawn")
    assert server.get("/").text == "alive"
    server.expected_code = 4
    assert server.stop() == 4
    assert "handler is still running" not in server.log.text


def test_stopping_is_told(serve):
    server = serve(APP + """
        function api.spawn.get()
            task.spawn(function() while not task.stopping() do sleep(0.01) end print("stopped") end)
            return tostring(task.stopping())
        end
    """)
    assert server.get("/spawn").text == "false"
    assert server.stop() == 0
    assert "stopped" in server.log.text


def test_a_forced_stop_ends_what_waits(serve):
    server = serve(APP + """
        function api.spawn.get()
            task.spawn({ wall = 0 }, function()
                local x <close> = setmetatable({}, { __close = function() print("closed") end })
                sleep(3600)
            end)
            return ""
        end
    """, "--grace", "0.2", *TWO, files=FILES)
    server.get("/spawn")
    with server.client() as client:
        client.send(message("POST", "/run/work.wait", {"Content-Type": "application/json"}, "[3600]"))
        assert server.get("/").text == "alive"
        server.send_signal(signal.SIGTERM)
        assert client.read().status == 503
    server.expected_code = 4
    assert server.wait() == 4
    assert "closed" in server.log.text
    server.log.wait(r"spawned \S*app\.lua:\d+: it was ended before its end")


def test_a_reload_while_tasks_run(serve):
    app = APP + """
        function api.spawn.get() task.spawn(function() sleep(0.3) print("ran VERSION") end) return "VERSION" end
    """
    server = serve(app.replace("VERSION", "one"), "--dev", *TWO, files=FILES)
    assert server.get("/spawn").text == "one"
    with server.client() as client:
        client.send(message("POST", "/run/work.wait", {"Content-Type": "application/json"}, "[0.3]"))
        server.write_app(app.replace("VERSION", "two"))
        server.until(lambda: server.get("/spawn").text == "two")
        assert client.read().json() == {"results": ["waited"]}
    server.log.wait(r"ran one")
    server.log.wait(r"ran two")


STUCK = f"""
    package.cpath = "{os.path.dirname(poolsrv.PROGRAM)}/tests/?.so;" .. package.cpath
    local stuck = require "stuck"
    local gate = os.getenv("GATE")
"""


@pytest.mark.parametrize("lane", ("light", "heavy"))
def test_what_a_lost_handler_has_spawned_is_not_run_in_its_vm(serve, tmp_path, lane):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    server = serve(APP + STUCK + """
        function api.stuck.get()
            task.spawn(function() sleep(0.01) print("ran early") end)
            sleep(0)
            task.spawn(function() print("ran late") end)
            stuck["until"](gate)
        end
    """, "--lane", lane, "--handler-timeout", "0.3", *TWO, env={"GATE": str(gate)}, files=FILES)
    assert server.get("/stuck").status == 504
    assert run(server, "echo", 1) == {"results": [1]}
    with open(gate, "w", encoding="ascii"):
        pass
    server.log.wait(r"has come back, and ends")
    server.log.wait(r"spawned \S*app\.lua:\d+: it was ended before its end", count=1)
    assert "ran late" not in server.log.text
    assert run(server, "echo", 2) == {"results": [2]}
    assert server.stop() == 0
