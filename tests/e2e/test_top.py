"""poolsrv top: on a terminal, and as text."""

import re
import signal
import socket
import subprocess
import threading

import pytest

import poolsrv
from terminal import Terminal

ADMIN = ("--admin", "127.0.0.1:0")
APP = """
    function api.get() return "ok" end
    function api.users.p_id.get(ctx) return { id = ctx:params().id } end
    function api.users.p_id.put(ctx) return api.error(409, "Conflict") end
    function api.fail.get() error("x") end
    api.pinned.get = api.heavy(function() return "heavy" end)
"""
MANY = APP + """
    for i = 0, 49 do api.route("GET", ("/many/%02d"):format(i), function() return "ok" end) end
"""
FAST = ("--interval", "0.1")
FIELDS = {"server": 15, "worker": 8, "route": 11}


def address(server):
    return "%s:%d" % server.admin_address


class Load:
    """Asks a server without end, on a thread of its own. Use it in `with`."""

    def __init__(self, server, *requests):
        self.server, self.requests = server, requests or (("GET", "/users/1"),)
        self.finish = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        with self.server.client() as client:
            while not self.finish.wait(0.002):
                for method, target in self.requests:
                    client.ask(method, target)

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *_):
        self.finish.set()
        self.thread.join()


class Piped:
    """poolsrv top, writing into a pipe. Use it in `with`."""

    def __init__(self, *args, env=None):
        self.process = subprocess.Popen([poolsrv.PROGRAM, "top", *args], env=poolsrv.environment(env),
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.out, self.err = poolsrv.Output(self.process.stdout), poolsrv.Output(self.process.stderr)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.out.wait_end()
        self.err.wait_end()


class FakeServer:
    """Answers `looks` requests with a text. Then it takes connections and is silent, or is gone at once."""

    def __init__(self, text, looks, gone=False):
        self.body = text.encode()
        self.asked_in_vain = threading.Event()
        self.held = []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self._run, args=(looks, gone), daemon=True)

    def _run(self, looks, gone):
        for n in range(looks):
            one, _ = self.socket.accept()
            with one:
                if gone and n == looks - 1:
                    self.socket.close()
                one.recv(65536)
                one.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(self.body) + self.body)
        while not gone:
            try:
                self.held.append(self.socket.accept()[0])
            except OSError:
                return
            self.asked_in_vain.set()

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        if self.socket.fileno() >= 0:
            self.socket.shutdown(socket.SHUT_RDWR)
            self.socket.close()
        self.thread.join(poolsrv.DEADLINE_S)
        for one in self.held:
            one.close()


@pytest.fixture
def free_address():
    """An address that nobody listens on: the socket that holds it does not."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield "127.0.0.1:%d" % holder.getsockname()[1]


def watch(server_address, *args, **terminal):
    return Terminal(poolsrv.PROGRAM, "top", *FAST, *args, server_address, **terminal)


# --- as text ---


def test_text_has_a_line_for_the_server_each_worker_and_each_route(serve):
    server = serve(APP, *ADMIN, "--threads", "2")
    with Load(server, ("GET", "/users/1"), ("PUT", "/users/1"), ("GET", "/fail"), ("GET", "/nowhere")), \
            Piped(*FAST, address(server)) as top:
        busy = top.out.wait(r"^route [1-9]\S* \S+ \S+ \d\S* \d\S* (?:light|heavy) \d+ \S+ GET /users/:id$")
        assert busy
        top.out.wait(r"^route [1-9]\S* [1-9]\S* 0.00 .* PUT /users/:id$")
        top.out.wait(r"^route [1-9]\S* 0.00 [1-9]\S* .* GET /fail$")
        top.out.wait(r"^route [1-9]\S* [1-9]\S* 0.00 \S+ \S+ - - - - none$")
        top.out.wait(r"^route 0.00 0.00 0.00 - - heavy \d+ \S+ GET /pinned$")
        top.out.wait(r"^server \S+Z running [1-9]\S* [1-9]\S* [1-9]\S* \d\S* \d\S* [1-9]\d* \d+ \S+ \d+ \d+ \d+ [1-9]\d+$")
        top.out.wait(r"^worker 0 \S+ \d+ \d+ \d+ \d+ [1-9]\d+$")
        top.out.wait(r"^worker 1 \S+ \d+ \d+ \d+ \d+ [1-9]\d+$")
    for line in top.out.lines:
        kind = line.lstrip("#").split(" ")[0]
        assert line == "" or len(line.split(" ")) == FIELDS[kind], line


def test_once_prints_one_block(serve):
    server = serve(APP, *ADMIN)
    done = poolsrv.run("top", "--once", *FAST, address(server))
    assert (done.returncode, done.stderr) == (0, "")
    assert len(re.findall("^server ", done.stdout, re.M)) == 1
    assert done.stdout.endswith("\n\n") and done.stdout.count("\n\n") == 1


def test_count_is_how_many_blocks_there_are(serve):
    server = serve(APP, *ADMIN)
    done = poolsrv.run("top", "-n", "3", *FAST, address(server))
    assert done.returncode == 0
    assert len(re.findall("^server ", done.stdout, re.M)) == 3


def test_rows_come_in_the_order_that_was_asked_for(serve):
    server = serve(APP, *ADMIN)
    done = poolsrv.run("top", "--once", "--sort", "name", *FAST, address(server))
    paths = [line.split(" ")[-1] for line in done.stdout.splitlines() if line.startswith("route ")]
    assert paths == sorted(paths) and len(paths) == 5


def test_address_comes_from_the_environment(serve):
    server = serve(APP, *ADMIN)
    done = poolsrv.run("top", "--once", *FAST, env={"POOLSRV_ADMIN": address(server)})
    assert done.returncode == 0 and "GET /pinned" in done.stdout


def test_server_that_is_not_there_is_one_line_and_1(free_address):
    done = poolsrv.run("top", free_address)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"poolsrv: no server to watch at {free_address}: Connection refused\n"


def test_address_of_the_app_is_one_line_and_1(serve):
    server = serve(APP, *ADMIN)
    done = poolsrv.run("top", "127.0.0.1:%d" % server.port)
    assert (done.returncode, done.stdout) == (1, "")
    assert "is this the address of --admin?" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("args, expected", [
    (["--sort", "size"], "expected requests, p99, errors, lane or name"),
    (["--interval", "0"], "expected seconds"),
    (["-n", "many"], "expected a whole number"),
    (["--frob"], "unknown option --frob"),
    (["nonsense"], "HOST:PORT"),
    (["127.0.0.1:1", "127.0.0.1:2"], "one address at a time"),
])
def test_wrong_usage_is_one_line_and_2(args, expected):
    done = poolsrv.run("top", *args)
    assert (done.returncode, done.stdout) == (2, "")
    assert expected in done.stderr and done.stderr.count("\n") == 1


def test_help_is_its_own():
    done = poolsrv.run("top", "--help")
    assert done.returncode == 0 and "--interval" in done.stdout and "--max-body" not in done.stdout
    assert "poolsrv top" in poolsrv.run("--help").stdout


def test_text_goes_on_when_the_server_was_started_anew(serve):
    first = serve(APP, *ADMIN)
    where = address(first)
    with Piped(*FAST, where) as top:
        with Load(first):
            top.out.wait(r"^route [1-9].* GET /users/:id$")
        first.stop()
        top.out.wait(r"^server \S+ unreachable ")
        second = serve(APP, "--admin", where)
        seen = len(top.out.lines)
        with Load(second):
            second.until(lambda: any(re.search(r"^route [1-9].* GET /users/:id$", line)
                                     for line in top.out.lines[seen:]))
        assert not any(re.search(r" -\d", line) for line in top.out.lines), "a rate below zero"


def test_count_that_ends_without_the_server_is_1():
    with FakeServer("poolsrv_ready 1\n", looks=2, gone=True) as server:
        done = poolsrv.run("top", "-n", "3", *FAST, server.address)
    assert done.returncode == 1
    assert re.findall(r"^server \S+ (\S+)", done.stdout, re.M) == ["running", "unreachable", "unreachable"]
    assert "Connection refused" in done.stderr and done.stderr.count("\n") == 1


def test_reader_that_leaves_ends_it_quietly(serve):
    server = serve(APP, *ADMIN)
    done = subprocess.run(["bash", "-c", f"'{poolsrv.PROGRAM}' top --interval 0.1 {address(server)} | head -n 1"],
                          env=poolsrv.environment(), capture_output=True, timeout=poolsrv.DEADLINE_S, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"#server ")


# --- on a terminal ---


def test_page_shows_the_server_and_its_routes(serve):
    server = serve(APP, *ADMIN)
    with Load(server, ("GET", "/users/1"), ("GET", "/fail")), watch(address(server)) as top:
        top.wait(rf"^poolsrv top   {address(server)}   ready   up \d+s   watched \d+s$")
        top.wait(r"^[1-9]\S* req/s   4xx 0/s   5xx [1-9]\S*/s   p50 \S+s   p99 \S+s$")
        top.wait(r"waiting for heavy   heavy \d of \d busy, at most \d+   VMs hold [1-9]\d* KB")
        top.wait(r"rings: home \d+, shared \d+, done \d+   connections [1-9]\d*$")
        top.wait(r"^ \*REQ/S .* ROUTE +WHY$")
        top.wait(r"^ *[1-9]\S* +0 +0 +\S+s +\S+s (light|heavy) +\d+s GET /users/:id +\w+$")
        top.wait(r"^ *0 +0 +0 +- +- heavy +\d+s GET /pinned +\w+$")
        top.type("q")
        assert top.end() == 0


def test_quit_leaves_the_terminal_as_it_was(serve):
    server = serve(APP, *ADMIN)
    with watch(address(server)) as top:
        top.wait(lambda screen: screen.alternate and not screen.cursor_shown)
        top.wait("GET /pinned")
        top.type("q")
        assert top.end() == 0
        assert top.is_as_before()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_signal_leaves_the_terminal_as_it_was(serve, number):
    server = serve(APP, *ADMIN)
    with watch(address(server)) as top:
        top.wait("GET /pinned")
        top.check_signal_ends(number)


def test_control_c_ends_it(serve):
    server = serve(APP, *ADMIN)
    with watch(address(server)) as top:
        top.wait("GET /pinned")
        top.type("\x03")
        assert top.end() == 0
        assert top.is_as_before()


def test_line_that_is_cut_ends_it(serve):
    server = serve(APP, *ADMIN)
    with watch(address(server)) as top:
        top.wait("GET /pinned")
        top.hang_up()
        assert top.end() == 0


def test_keys_choose_the_order(serve):
    server = serve(APP, *ADMIN)
    with Load(server), watch(address(server)) as top:
        top.wait(r"^ \*REQ/S .*\n *[1-9].*GET /users/:id")
        for key, title in [("e", r"\*5XX/S"), ("p", r"\*P99"), ("l", r"\*LANE"), ("n", r"\*ROUTE"), ("r", r"\*REQ/S")]:
            top.type(key)
            top.wait(title)
        top.type("n")
        top.wait(r"\*ROUTE.*\n.*GET / .*\n.*GET /fail .*\n.*GET /pinned .*\n.*GET /users/:id")
        top.type("R")
        top.wait(r"\^ROUTE.*\n.*PUT /users/:id .*\n.*GET /users/:id .*\n.*GET /pinned")


def test_keys_scroll(serve):
    server = serve(MANY, *ADMIN)
    with watch(address(server), "--sort", "name") as top:
        top.wait(r"\*ROUTE.*\n.*GET / ")
        top.wait(r"^1-18 of 55 ")
        top.type("down")
        top.wait(r"\*ROUTE.*\n.*GET /fail")
        top.type("page down")
        top.wait(r"^19-36 of 55 ")
        top.type("end")
        top.wait(r"^38-55 of 55 ")
        assert top.shows("PUT /users/:id")
        top.type("down", "page up")
        top.wait(r"^21-38 of 55 ")
        top.type("up")
        top.wait(r"^20-37 of 55 ")
        top.type("home")
        top.wait(r"^1-18 of 55 ")


def test_keys_show_the_workers_and_the_help(serve):
    server = serve(APP, *ADMIN, "--threads", "2")
    with watch(address(server)) as top:
        top.wait("GET /pinned")
        top.type("w")
        top.wait(r"^WORKER .*\n     0 .* KB\n     1 .* KB$")
        assert not top.shows("GET /pinned")
        top.type("?")
        top.wait("any key goes back")
        top.type("x")
        top.wait("^WORKER")
        top.type("w")
        top.wait("GET /pinned")


def test_page_follows_the_size_of_the_terminal(serve):
    server = serve(MANY, *ADMIN)
    with watch(address(server), "--sort", "name") as top:
        top.wait(r"4XX/S.*5XX/S.*SINCE \*ROUTE +WHY")
        top.resize(40, 14)
        top.wait(r"^  REQ/S     P99  LANE \*ROUTE$")
        top.wait(r"^1-8 of 55   q quit")
        top.resize(132, 50)
        top.wait(r"4XX/S.*5XX/S.*SINCE \*ROUTE +WHY")
        top.wait(r"^1-44 of 55 ")
        top.resize(80, 24)
        top.wait(r"^1-18 of 55 ")
        top.resize(3, 1)
        top.resize(80, 24)
        top.wait(r"^1-18 of 55 ")


def test_server_may_go_and_come_back(serve):
    first = serve(APP, *ADMIN)
    where = address(first)
    with watch(where) as top:
        with Load(first):
            top.wait(r"^ *[1-9]\S* .*GET /users/:id")
        first.stop()
        top.wait(rf"^no answer for \d+s, asking again: {where}: Connection refused$")
        top.wait(r"   unreachable   ")
        assert top.shows("^all figures are from .* ago$") and top.shows("GET /users/:id")
        second = serve(APP, "--admin", where)
        top.wait(r"   ready   ")
        assert not top.shows("no answer")
        with Load(second):
            top.wait(r"^ *[1-9]\S* .*GET /users/:id")
        top.type("q")
        assert top.end() == 0


def test_draining_server_is_told(serve, tmp_path):
    enough = tmp_path / "enough"
    server = serve("""
        function api.slow.get()
            print("slow began")
            repeat sleep(0.01) until io.open(os.getenv("ENOUGH"))
            return "finished"
        end
    """, *ADMIN, env={"ENOUGH": str(enough)})
    with watch(address(server)) as top, server.client() as client:
        top.wait("   ready   ")
        client.send(poolsrv.message("GET", "/slow"))
        server.log.wait("slow began")
        server.process.terminate()
        top.wait("   draining   ")
        top.wait("^it stops: ")
        enough.touch()
        assert client.read().text == "finished"


def test_keys_work_while_the_server_is_silent():
    with FakeServer("poolsrv_ready 1\n", looks=1) as server, watch(server.address) as top:
        top.wait("   ready   ")
        assert server.asked_in_vain.wait(poolsrv.DEADLINE_S)
        top.type("?")
        top.wait("any key goes back")
        top.type("q")
        assert top.end() == 0
        assert top.is_as_before()


def test_text_of_a_route_cannot_steer_the_terminal():
    route = "/\u001b]0;title\u0007\u009b31m\u202eabc\u00e9\u6771"
    text = "poolsrv_ready 1\n" + f'poolsrv_lane{{route="{route}",method="GET",lane="light"}} 1\n'
    with FakeServer(text, looks=1) as server, watch(server.address, columns=120) as top:
        top.wait(lambda screen: "GET /?]0;title??31m\\xe2\\x80\\xaeabc\u00e9\u6771" in screen.text)


def test_terminal_without_utf8_gets_ascii():
    text = 'poolsrv_lane{route="/stra\u00dfe",method="GET",lane="light"} 1\n'
    with FakeServer(text, looks=1) as server, watch(server.address, env={"LC_ALL": "C"}) as top:
        top.wait(lambda screen: "GET /stra\\xc3\\x9fe" in screen.text)


@pytest.mark.parametrize("kind", ["dumb", "no-such-terminal"])
def test_terminal_that_cannot_move_its_cursor_gets_text(serve, kind):
    server = serve(APP, *ADMIN)
    with watch(address(server), env={"TERM": kind}, columns=200) as top:
        top.wait(r"^server \S+Z running ")
        top.send_signal(signal.SIGTERM)
        assert top.end() == -signal.SIGTERM


def test_count_gets_text_on_a_terminal_too(serve):
    server = serve(APP, *ADMIN)
    with watch(address(server), "--once", columns=200) as top:
        top.wait(r"^server \S+Z running ")
        assert top.end() == 0
        assert not top.screen.alternate


def test_server_that_is_not_there_leaves_the_terminal_alone(free_address):
    with watch(free_address) as top:
        top.wait("^poolsrv: no server to watch at .*: Connection refused$")
        assert top.end() == 1
        assert top.is_as_before()


def test_shells_job_control_stops_it_and_brings_it_back(serve):
    server = serve(APP, *ADMIN)
    shell = ("bash", "--norc", "--noprofile", "--noediting", "-i")
    with Terminal(*shell, env={"PS1": "shell> "}) as terminal:
        terminal.wait("^shell>$")
        terminal.type(f"'{poolsrv.PROGRAM}' top {' '.join(FAST)} {address(server)}\n")
        terminal.wait("GET /pinned")
        terminal.type("\x1a")
        terminal.wait(lambda screen: not screen.alternate and screen.cursor_shown)
        terminal.wait("Stopped")
        terminal.wait("^shell>$")
        terminal.type("fg\n")
        terminal.wait("GET /pinned")
        terminal.wait(lambda screen: screen.alternate and not screen.cursor_shown)
        terminal.type("w")
        terminal.wait("^WORKER")
        terminal.type("q")
        terminal.wait(lambda screen: not screen.alternate)
        terminal.wait("^shell>$")
        terminal.type("echo code $?\n")
        terminal.wait("^code 0$")
