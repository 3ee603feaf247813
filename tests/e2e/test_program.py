"""The command line: options and where they come from, exit codes, commands, signals."""

import json
import os
import re
import signal
import socket

import pytest

import poolsrv
from poolsrv import message

APP = "function api.get(ctx) return 'ok' end\n"


def usage_problem(tmp_path, *args, env=None):
    """The one line on stderr of a run that has to end with 2."""
    (tmp_path / "app.lua").write_text(APP)
    done = poolsrv.run(*args, env=env, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, ""), done
    return one_line(done)


def one_line(done):
    assert done.stderr.endswith("\n") and done.stderr.count("\n") == 1, done.stderr
    return done.stderr[:-1]


# --- usage ---


def test_no_app_is_a_usage_error(tmp_path):
    line = usage_problem(tmp_path)
    assert line.startswith("poolsrv: ") and "--help" in line
    assert "which app" in usage_problem(tmp_path, "check")
    assert "which app" in usage_problem(tmp_path, "--port", "0")


def test_unknown_option_is_named_with_the_right_spelling(tmp_path):
    line = usage_problem(tmp_path, "--prot", "1", "app.lua")
    assert "--prot" in line and "did you mean --port?" in line
    assert "--nothing-like-it" in usage_problem(tmp_path, "--nothing-like-it", "app.lua")
    assert "-x" in usage_problem(tmp_path, "-x", "app.lua")


def test_two_apps_are_a_usage_error(tmp_path):
    assert "other.lua" in usage_problem(tmp_path, "app.lua", "other.lua")


@pytest.mark.parametrize("args, expected", [
    (["--port", "x"], "--port x: expected a whole number from 0 to 65535"),
    (["--port", "65536"], "--port 65536: expected a whole number from 0 to 65535"),
    (["--port=-1"], "--port -1: expected a whole number from 0 to 65535"),
    (["--port="], "expected a whole number from 0 to 65535"),
    (["--threads", "1.5"], "--threads 1.5: expected a whole number"),
    (["--lane", "medium"], "--lane medium: expected auto, light or heavy"),
    (["--log-level", "loud"], "expected error, warn, info or debug"),
    (["--max-body", "1x"], "--max-body 1x: expected bytes"),
    (["--grace", "soon"], "--grace soon: expected"),
    (["--dev=maybe"], "--dev maybe: expected on or off"),
    (["--context", "eagre"], "--context eagre: expected"),
])
def test_a_bad_value_is_a_usage_error_that_says_what_would_be_good(tmp_path, args, expected):
    assert expected in usage_problem(tmp_path, *args, "app.lua")


def test_an_option_without_its_value_is_a_usage_error(tmp_path):
    assert "--port" in usage_problem(tmp_path, "app.lua", "--port")
    assert "--port" in usage_problem(tmp_path, "--port", "--dev", "app.lua")


def test_a_bad_value_in_the_environment_is_a_usage_error_that_names_the_variable(tmp_path):
    assert "POOLSRV_PORT=zz" in usage_problem(tmp_path, "app.lua", env={"POOLSRV_PORT": "zz"})


# --- app errors ---


@pytest.mark.parametrize("command", [[], ["check"], ["routes"]], ids=["serve", "check", "routes"])
def test_a_missing_app_is_one_line_and_1(tmp_path, command):
    done = poolsrv.run(*command, "nothere.lua", cwd=tmp_path)
    assert done.returncode == 1
    assert "nothere.lua" in one_line(done) and "No such file" in one_line(done)


@pytest.mark.parametrize("command", [[], ["check"], ["routes"]], ids=["serve", "check", "routes"])
def test_a_syntax_error_is_one_line_with_its_place_and_1(run_app, command):
    done = run_app("\nfunction api.get( return 1 end\n", *command)
    assert done.returncode == 1
    assert one_line(done).startswith("app.lua:2: ")


def test_a_folder_as_app_is_one_line_and_1(tmp_path):
    done = poolsrv.run(tmp_path)
    assert done.returncode == 1
    assert str(tmp_path) in one_line(done)


def test_an_error_while_loading_is_1_with_place_and_traceback(run_app):
    done = run_app("local function f() error('cannot load') end\n\nlocal function g() f() end\ng()\n")
    assert done.returncode == 1
    assert done.stderr.startswith("app.lua:1: cannot load\n")
    assert "app.lua:3" in done.stderr and "app.lua:4" in done.stderr
    assert "poolsrv/" not in done.stderr


def test_a_mistake_in_the_tree_shows_lines_of_the_app_only(run_app):
    done = run_app("function api.gte() end")
    assert done.returncode == 1
    assert "poolsrv/" not in done.stderr


def test_bytecode_is_refused(tmp_path, run_app):
    done = run_app("""
        local f = assert(io.open("other.lua", "wb"))
        f:write(string.dump(function() end)) f:close()
        require "other"
    """)
    assert done.returncode == 1
    assert "binary chunk" in done.stderr


@pytest.mark.parametrize("config, expected", [
    ("port = 70000", "port = 70000: expected a whole number from 0 to 65535"),
    ("prot = 1", "no option is called prot; did you mean port?"),
    ("lane = 'fast'", "expected auto, light or heavy"),
    ("threads = true", "threads = true"),
])
def test_a_bad_api_config_is_one_line_with_its_place_and_1(run_app, config, expected):
    done = run_app(f"\napi.config {{ {config} }}\n")
    assert done.returncode == 1
    line = one_line(done)
    assert line.startswith("app.lua:2: api.config: ") and expected in line


# --- listening ---


def test_port_0_picks_one_and_prints_it(serve):
    first, second = serve(APP), serve(APP)
    assert first.port != second.port
    assert first.get("/").text == second.get("/").text == "ok"


def test_a_port_taken_by_another_program_is_one_line_and_3(run_app):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run_app(APP, "--port", port)
    assert done.returncode == 3
    assert f"127.0.0.1 port {port}" in one_line(done) and "Address already in use" in one_line(done)


def test_a_port_taken_by_a_second_poolsrv_is_3_and_the_first_goes_on(serve, run_app):
    server = serve(APP, "--threads", "2")
    done = run_app(APP, "--port", server.port, "--threads", "2")
    assert done.returncode == 3
    assert "Address already in use" in one_line(done)
    assert [server.get("/").text for _ in range(10)] == ["ok"] * 10


def test_an_address_that_is_not_ours_is_3(run_app):
    done = run_app(APP, "--host", "192.0.2.1", "--port", "0")
    assert done.returncode == 3
    assert "192.0.2.1" in one_line(done)


def test_a_taken_admin_port_is_3(serve, run_app):
    server = serve(APP)
    done = run_app(APP, "--port", "0", "--admin", f"127.0.0.1:{server.port}")
    assert done.returncode == 3
    assert str(server.port) in one_line(done)


def test_a_unix_socket_is_served_and_removed_at_the_end(serve, run_app, tmp_path):
    path = tmp_path / "socket"
    server = serve(APP, "--unix", path, "--threads", "2")
    assert server.get("/").text == "ok"
    done = run_app(APP, "--unix", path)
    assert done.returncode == 3
    assert str(path) in one_line(done)
    assert server.get("/").text == "ok"
    assert server.stop() == 0
    assert not path.exists()


def test_the_socket_of_a_server_that_is_gone_is_replaced_and_another_file_is_not(serve, run_app, tmp_path):
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(path))
    assert serve(APP, "--unix", path).get("/").text == "ok"
    (tmp_path / "file").write_text("precious")
    assert run_app(APP, "--unix", tmp_path / "file").returncode == 3
    assert (tmp_path / "file").read_text() == "precious"


def test_too_few_descriptors_for_the_connections_are_said(serve):
    server = serve(APP, "--max-connections", "5000", under=("sh", "-c", 'ulimit -n 256; exec "$0" "$@"'))
    server.log.wait(r"WARN .*not 5000.*256")
    assert server.get("/").text == "ok"


# --- where options come from ---

PRECEDENCE = [
    ((), {}, "", 5000),
    ((), {}, "api.config { max_body = 300 }", 300),
    ((), {"POOLSRV_MAX_BODY": "200"}, "api.config { max_body = 300 }", 200),
    (("--max-body", "100"), {"POOLSRV_MAX_BODY": "200"}, "api.config { max_body = 300 }", 100),
    (("--max-body=100",), {}, "api.config { max_body = 300 }", 100),
    ((), {}, "api.config { max_body = '1k' } api.config { max_body = 400 }", 400),
    ((), {"POOLSRV_MAX_BODY": ""}, "api.config { max_body = 300 }", 300),
    (("--max-body", "100", "--max-body", "1k"), {}, "", 1024),
]


@pytest.mark.parametrize("flags, env, config, most", PRECEDENCE)
def test_a_flag_goes_before_the_environment_before_api_config_before_the_default(serve, flags, env, config, most):
    server = serve(config + " function api.post(ctx) return #ctx:body() end", *flags, env=env)
    assert server.post("/", b"x" * most).json() == most
    if most < 5000:
        assert server.post("/", b"x" * (most + 1)).status == 413


def test_body_limit_is_1_mib_by_default(serve):
    server = serve("function api.post(ctx) return #ctx:body() end")
    assert server.post("/", b"x" * (1 << 20)).json() == 1 << 20
    assert server.post("/", b"x" * ((1 << 20) + 1)).status == 413


def test_switches_take_on_off_and_no(serve):
    for flags, env, logged in [
        (("--access-log",), {}, True),
        (("--access-log=off",), {"POOLSRV_ACCESS_LOG": "on"}, False),
        (("--no-access-log",), {"POOLSRV_ACCESS_LOG": "1"}, False),
        ((), {"POOLSRV_ACCESS_LOG": "yes"}, True),
        (("--dev",), {}, True),
        (("--dev", "--no-access-log"), {}, False),
        (("--dev",), {"POOLSRV_ACCESS_LOG": "off"}, False),
        ((), {}, False),
    ]:
        server = serve(APP, *flags, env=env)
        server.get("/")
        assert server.stop() == 0
        assert ("ACCESS" in server.log.text) == logged, (flags, env)


def test_dev_of_api_config_holds(serve):
    server = serve("api.config { dev = true } function api.get() error('broken') end")
    assert "app.lua:1: broken" in server.get("/").json()["traceback"]


def test_host_and_lane_of_api_config_hold(serve):
    server = serve("api.config { host = '127.0.0.1', lane = 'light', threads = 3 }" + APP)
    server.out.wait("lane: light")
    server.out.wait(r"threads: 1\b")  # the fixture's flag goes first


def test_names_behind_a_double_dash_are_files(tmp_path):
    (tmp_path / "--odd.lua").write_text(APP)
    done = poolsrv.run("check", "--", "--odd.lua", cwd=tmp_path)
    assert done.returncode == 0, done


# --- commands ---


def test_help_lists_every_option_and_the_exit_codes():
    done = poolsrv.run("--help")
    assert (done.returncode, done.stderr) == (0, "")
    for name in ("host port unix threads heavy-threads lane context max-connections max-queue max-body header-room "
                 "max-request-line max-header-size max-headers "
                 "idle-timeout handler-timeout grace admin access-log log-level log-format request-id dev version "
                 "help").split():
        assert re.search(rf"^  --{name}\b", done.stdout, re.M), name
    assert "usage: poolsrv [options] app.lua" in done.stdout
    assert re.search(r"0 stopped, 1 .*2 .*3 .*4 ", done.stdout)


def test_version_is_printed():
    done = poolsrv.run("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"poolsrv \d+\.\d+\.\d+\n", done.stdout)


ROUTES = """
    function api.get() end
    function api.users.p_id.posts.post()
    end
    api.route("DELETE", "/files/*path", function() end)
    api["a b"].get = function() end
"""


def test_routes_prints_each_route_and_its_place(run_app):
    done = run_app(ROUTES, "routes")
    assert (done.returncode, done.stderr) == (0, "")
    assert [tuple(line.split()) for line in done.stdout.splitlines()] == [
        ("GET", "/", "app.lua:2"),
        ("POST", "/users/:id/posts", "app.lua:3"),
        ("DELETE", "/files/*path", "app.lua:5"),
        ("GET", "/a%20b", "app.lua:6"),
    ]


def test_check_says_that_all_is_well_and_starts_nothing(run_app):
    done = run_app("api.on_start(function() error('started') end)" + APP, "check")
    assert (done.returncode, done.stderr) == (0, "")
    assert "routes: 1" in done.stdout


FAULTY = """
    local db = require "db"
    local missing = require "missing"
    api.config { port = 70000, prot = 1, threads = db.threads }
    api.config { admin = "nowhere" }
    function api.users.gett() end
    function api.users.get() end
    function api.users.get() end
    function api.users.p_.get() end
    function api.users.p_id.get() end
    function api.users.p_name.posts.get() end
    api.a.get = "text"
    local reply = api.jsn({}):header("a", "b")
    api.b.get = db.handler
    missing.setup()
    require "other"
    error("the end")
"""
FAULTY_FILES = {"db.lua": "local x = = 5\n", "other.lua": "\nlocal t\nt.x = 1\n"}
FAULTS = [
    r"app.lua:3: module 'missing' not found",
    r"app.lua:4: api.config: no option is called prot; did you mean port\?",
    r"app.lua:4: api.config: port = 70000: expected a whole number .*",
    r"app.lua:5: api.config: admin = nowhere: expected HOST:PORT, .*",
    r'app.lua:6: api.users.gett: .* did you mean "get"\?',
    r"app.lua:8: api.users.get: GET /users: .* app.lua:7",
    r"app.lua:9: api.users.p_: a parameter needs a name.*",
    r'app.lua:11: api.users.p_name.posts.get: .*"name" is called "id" at app.lua:10',
    r"app.lua:12: api.a.get: a handler is a function, not a string",
    r'app.lua:13: api.jsn: no such helper; did you mean "json"\?',
    r"app.lua:17: the end",
    r"db.lua:1: unexpected symbol near '='",
    r"other.lua:3: attempt to index a nil value \(local 't'\)",
]


def matches_all(patterns, lines):
    return len(patterns) == len(lines) and all(map(re.fullmatch, patterns, lines))


def test_check_finds_every_problem_in_the_order_of_file_and_line(run_app):
    done = run_app(FAULTY, "check", files=FAULTY_FILES)
    assert done.returncode == 1
    assert matches_all(FAULTS, done.stderr.splitlines()), done.stderr
    assert done.stdout == f"app.lua: {len(FAULTS)} problems\n"


@pytest.mark.parametrize("command", [[], ["routes"]], ids=["serve", "routes"])
def test_the_start_ends_with_the_first_problem_and_lists_them_all(run_app, command):
    done = run_app(FAULTY, *command, files=FAULTY_FILES)
    assert (done.returncode, done.stdout) == (1, "")
    first, rest = done.stderr.split(f"app.lua: all {len(FAULTS)} problems:\n")
    assert "db.lua:1: unexpected symbol" in first
    assert matches_all(FAULTS, rest.splitlines()), rest


def test_check_prints_what_is_wrong_once_and_nothing_that_the_app_prints(run_app):
    done = run_app("print('loading') for i = 1, 3 do api.x.gett = print end", "check")
    assert (done.returncode, done.stdout) == (1, "app.lua: 1 problem\n")
    assert one_line(done).startswith("app.lua:1: api.x.gett")


def test_check_leaves_alone_what_the_app_catches(run_app):
    done = run_app("""
        local ok, fast = pcall(require, "faster_module")
        api.get = ok and fast or function() return "slow" end
    """, "check")
    assert (done.returncode, done.stdout, done.stderr) == (0, "app.lua: OK, routes: 1\n", "")


def test_check_names_a_file_by_the_name_it_was_given(tmp_path):
    folder = tmp_path / ("long" * 20)
    folder.mkdir()
    (folder / "app.lua").write_text("require 'other'\nfunction api.gett() end\nfunction api.x.get() = 1")
    (folder / "other.lua").write_text("error('no')")
    assert f"{folder}/app.lua:3: " in poolsrv.run("check", folder / "app.lua").stderr
    (folder / "app.lua").write_text("require 'other'\nfunction api.gett() end")
    assert [line.partition(": ")[0] for line in poolsrv.run("check", folder / "app.lua").stderr.splitlines()] == [
        f"{folder}/app.lua:2", f"{folder}/other.lua:1"]


def test_check_opens_no_socket(serve, run_app):
    server = serve(APP)
    done = run_app(APP, "check", "--port", server.port, "--admin", f"127.0.0.1:{server.port}")
    assert (done.returncode, done.stderr) == (0, "")


# --- modules ---


def test_the_apps_own_folder_is_searched_first(serve, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine.lua").write_text("return 'elsewhere'")
    (elsewhere / "theirs.lua").write_text("return 'by LUA_PATH'")
    server = serve("""
        local mine, theirs, deep = require "mine", require "theirs", require "sub.deep"
        function api.get() return { mine, theirs, deep } end
    """, files={"mine.lua": "return 'beside the app'", "sub/deep.lua": "return 'below the app'"},
        env={"LUA_PATH": f"{elsewhere}/?.lua"}, cwd="/")
    assert server.get("/").json() == ["beside the app", "by LUA_PATH", "below the app"]


def test_lua_cpath_holds_behind_the_apps_own_folder(serve, tmp_path):
    server = serve("function api.get() return package.cpath end", env={"LUA_CPATH": "/elsewhere/?.so"})
    assert server.get("/").text == f"{tmp_path}/?.so;/elsewhere/?.so"


# --- the service manager ---


def test_the_service_manager_is_told_of_ready_and_stopping(serve, tmp_path):
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(poolsrv.DEADLINE_S)
        server = serve(APP, "--threads", "2", "--admin", "127.0.0.1:0", env={"NOTIFY_SOCKET": str(path)})
        for name, count in (("poolsrv", 2), ("poolsrv-admin", 1)):  # to be kept for the next one
            text, fds, _, _ = socket.recv_fds(manager, 4096, 16)
            assert text.decode() == f"FDSTORE=1\nFDNAME={name}" and len(fds) == count
            for fd in fds:
                os.close(fd)
        assert b"READY=1" in manager.recv(4096)
        assert server.get("/").text == "ok"
        assert server.stop() == 0
        assert b"STOPPING=1" in manager.recv(4096)


# --- stopping ---

SLOW_APP = """
    function api.slow.get(ctx) print("slow began") sleep(tonumber(ctx:query().s)) return "finished" end
    function api.get() return "ok" end
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "INT"])
def test_a_signal_lets_running_requests_finish_and_ends_with_0(serve, number):
    server = serve(SLOW_APP)
    with server.client() as client:
        client.send(message("GET", "/slow?s=0.3"))
        server.log.wait("slow began")
        server.send_signal(number)
        reply = client.read()
        assert (reply.status, reply.text) == (200, "finished")
        assert client.at_end()
    assert server.wait() == 0


def test_a_grace_period_that_ends_is_one_line_and_4(serve):
    server = serve(SLOW_APP, "--grace", "0.05")
    server.expected_code = 4
    with server.client() as client:
        client.send(message("GET", "/slow?s=60"))
        server.log.wait("slow began")
        assert server.stop() == 4
    assert re.search(r"^poolsrv: the grace period .*ended", server.log.text, re.M)


def test_a_second_signal_cuts_the_grace_short(serve):
    server = serve(SLOW_APP, "--grace", "600", "--admin", "127.0.0.1:0")
    server.expected_code = 4
    with server.client() as client:
        client.send(message("GET", "/slow?s=600"))
        server.log.wait("slow began")
        server.send_signal(signal.SIGTERM)
        server.until(lambda: server.admin("/readyz").status == 503)
        assert server.stop() == 4
    assert re.search(r"^poolsrv: the stop was forced before all requests ended$", server.log.text, re.M)


def test_a_server_that_stops_at_once_ends_with_0(serve):
    for _ in range(5):
        assert serve(APP).stop() == 0


def test_no_500_for_more_than_1024_requests_in_flight(serve):
    """A fault of old: beyond 1024 requests in flight came 500s."""
    server = serve("""
        local waiting = 0
        function api.wait.get() waiting = waiting + 1 while waiting < 1100 do sleep(0.05) end return "ok" end
    """, "--lane", "light")
    clients = []
    try:
        for _ in range(1100):
            clients.append(server.client())
            clients[-1].send(message("GET", "/wait"))
        assert {client.read().status for client in clients} == {200}
    finally:
        for client in clients:
            client.close()


def test_json_log_format_holds_for_all_lines(serve):
    server = serve("api.on_start(function() print('starting') end)" + APP, "--log-format", "json", "--access-log")
    server.get("/")
    assert server.stop() == 0
    lines = [json.loads(line) for line in server.log.text.splitlines()]
    assert [line["level"] for line in lines] == ["info", "access"]
