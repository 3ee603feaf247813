"""The sandbox as a whole: what children inherit, what the options say, and strict mode under load."""

import os
import re
import signal
import threading

import poolsrv

CHILD = "ls -l /proc/self/fd; grep -E '^Sig(Blk|Ign)' /proc/self/status"
APP = f"""
    shared = "old"
    local kept = {{}}
    function api.get() return "hello" end
    function api.popen.get() local p <close> = io.popen([[{CHILD}]]) return p:read("a") end
    function api.execute.get(ctx)
        local name = os.tmpname()
        os.execute([[({CHILD}) >]] .. name)
        local f <close> = io.open(name)
        os.remove(name)
        return f:read("a")
    end
    function api.keep.get() kept[#kept + 1] = io.open("/dev/null") return #kept end
"""
CALLERS, CALLS = 4, 4
# The C library's own two, which no program can use.
INTERNAL = 0b11 << 31


def check_child(text):
    """Descriptors 0 to 2, and the one with which ls itself reads the folder; no signal blocked or ignored."""
    fds = {int(number): target for number, target in re.findall(r" (\d+) -> (.*)", text)}
    assert {0, 1, 2} <= set(fds), text
    assert [fd for fd, target in fds.items() if fd > 2 and not target.endswith("/fd")] == [], text
    assert len(fds) == 4, text
    masks = dict(re.findall(r"(Sig\w+):\s*([0-9a-f]+)", text))
    assert int(masks["SigBlk"], 16) == 0 and int(masks["SigIgn"], 16) & ~INTERNAL == 0, text


def test_children_inherit_no_descriptor_under_load(serve):
    server = serve(APP, "--threads", "2", *poolsrv.STEADY, "--admin", "127.0.0.1:0", "--request-id")
    done, failures = threading.Event(), []

    def load():
        while not done.is_set():
            with server.client() as client:
                for _ in range(20):
                    client.get("/")

    def call(path):
        try:
            for _ in range(CALLS):
                check_child(server.get(path).text)
        except (AssertionError, OSError) as why:
            failures.append(why)

    for _ in range(3):
        server.get("/keep")
    idle = [server.client() for _ in range(20)]
    noise = [threading.Thread(target=load) for _ in range(2)]
    callers = [threading.Thread(target=call, args=(path,)) for path in ("/popen", "/execute") * (CALLERS // 2)]
    with poolsrv.Probe(server, "--no-rss", "--p99", "20000", path="/"):
        for thread in noise + callers:
            thread.start()
        for thread in callers:
            thread.join()
        done.set()
        for thread in noise:
            thread.join()
        for client in idle:
            client.close()
    assert failures == []


def ignore_children():
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)


def test_programs_end_as_they_do_where_the_starter_ignores_children(serve):
    server = serve("""
        function api.get()
            local p = io.popen("exit 3")
            return { os.execute("true"), (select(3, os.execute("exit 4"))), (select(3, p:close())) }
        end
    """, preexec_fn=ignore_children)
    assert server.get("/").json() == [True, 4, 3]


def test_every_descriptor_of_the_server_closes_on_exec(serve):
    """Those that the app opens are its own, and closed when a child is started."""
    server = serve(APP, "--threads", "2", "--admin", "127.0.0.1:0")
    clients = [server.client() for _ in range(5)]
    for client in clients:
        assert client.get("/").text == "hello"
    folder, seen = f"/proc/{server.process.pid}/fdinfo", 0
    for name in os.listdir(folder):
        with open(f"{folder}/{name}", encoding="ascii") as info:
            flags = int(re.search(r"flags:\s*(\d+)", info.read())[1], 8)
        if int(name) > 2:
            target = os.readlink(f"/proc/{server.process.pid}/fd/{name}")
            assert flags & os.O_CLOEXEC, f"descriptor {name} is open on exec: {target}"
            seen += 1
    assert seen > len(clients) + 5
    for client in clients:
        client.close()


STRICT_APP = """
    local m = require "m"
    function api.get() return { tostring(leaked), m.x, ("x"):upper(), tostring(shared) } end
    function api.attack.get(ctx)
        leaked = ctx:query().by
        for _, try in ipairs {
            function() m.x = "new" end, function() rawset(m, "x", "new") end,
            function() string.upper = string.lower end, function() getmetatable("").__index = {} end,
            function() package.loaded.m = {} end, function() io.open("/etc/passwd") end,
            function() os.execute("true") end, function() debug.getregistry() end,
            function() package.loadlib("libc.so.6", "*") end, function() require "other" end,
            function() os.getenv("PATH") end, function() loadfile("app.lua") end,
        } do
            if pcall(try) then return "succeeded" end
        end
        sleep(0.01)
        return leaked
    end
"""


def test_strict_requests_see_nothing_of_each_other(serve, tmp_path):
    (tmp_path / "m.lua").write_text('return { x = "old" }')
    server = serve(STRICT_APP, "--sandbox", "strict", "--globals", "allow", "--threads", "1")
    failures = []

    def attack(by):
        with server.client() as client:
            for i in range(20):
                reply = client.get(f"/attack?by={by}-{i}")
                if reply.text != f"{by}-{i}":
                    failures.append(reply)
                look = client.get("/")
                if look.json() != ["nil", "old", "X", "nil"]:
                    failures.append(look)

    threads = [threading.Thread(target=attack, args=(by,)) for by in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_globals_are_told_once_a_place(serve):
    server = serve("function api.get()\n  leaked = 1\n  return 'x'\nend", "--threads", "2")
    for _ in range(8):
        with server.client() as client:
            client.get("/")
    assert server.stop() == 0  # all is in the log by then
    [line] = [text for text in server.log.text.splitlines() if "leaked" in text]
    assert "app.lua:2: the handler sets the global 'leaked'" in line and " WARN " in line


def test_the_app_can_ask_for_strict_and_for_errors(serve):
    server = serve("""
        api.config { sandbox = "strict", globals = "error" }
        function api.get() leaked = 1 end
        function api.files.get() io.open("/etc/passwd") end
    """)
    assert server.get("/").status == server.get("/files").status == 500
    server.log.wait("sets the global 'leaked': make it local")
    server.log.wait("io.open: there are no files with --sandbox strict")


def test_the_command_line_has_the_last_word(serve):
    server = serve("""
        api.config { sandbox = "default" }
        function api.get() io.open("/etc/passwd") end
    """, "--sandbox", "strict")
    assert server.get("/").status == 500


def test_unknown_words_are_refused():
    done = poolsrv.run("--sandbox", "lax", "app.lua")
    assert done.returncode == 2 and "strict" in done.stderr
    done = poolsrv.run("--globals", "no", "app.lua")
    assert done.returncode == 2 and "allow" in done.stderr
