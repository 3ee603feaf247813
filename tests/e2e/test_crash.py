"""A crash inside a C module: the process ends as a crashed one does, with a report of what ran where."""

import os
import re
import signal
import subprocess
import sys
import textwrap

import pytest

import poolsrv

MODULES = os.path.join(os.path.dirname(poolsrv.PROGRAM), "tests")
APP = f"""
    package.cpath = "{MODULES}/?.so;" .. package.cpath
    local crashing = require "crashing"
    function api.get() return "hello" end
    function api.read.p_address.get(ctx)
        local function inner()
            crashing.read(tonumber(ctx:params().address))   -- line 6
        end
        inner()
    end
    function api.abort.get() crashing.abort() end
    function api.overflow.get() crashing.overflow() end
"""
# A sanitizer's build has larger frames and its own ways, but the report is the same.
CASES = {
    "/read/16": (signal.SIGSEGV, "GET /read/:address", "SIGSEGV, a bad address at 0x10", "app.lua:6"),
    "/abort": (signal.SIGABRT, "GET /abort", "SIGABRT", "app.lua:10"),
    "/overflow": (signal.SIGSEGV, "GET /overflow", "SIGSEGV", "app.lua:11"),
}


@pytest.mark.parametrize("lane", ["light", "heavy"])
@pytest.mark.parametrize("target", CASES)
def test_a_crash_is_reported(serve, target, lane):
    number, route, cause, line = CASES[target]
    server = serve(textwrap.dedent(APP).lstrip("\n"), "--lane", lane)
    server.expected_code = -number
    assert server.get("/").text == "hello"
    with server.client() as client:
        client.send(poolsrv.message("GET", target))
        assert client.at_end()
    assert server.wait() == -number, server.log.text
    report = server.log.text[server.log.text.index("poolsrv has crashed: "):]
    assert cause in report
    assert f"route: {route}\n" in report
    assert re.search(r"^thread: poolsrv-" + lane[0].replace("l", "w") + r"\d+$", report, re.MULTILINE)
    assert re.search(r"^request: [0-9a-f]{24}$", report, re.MULTILINE)
    assert line in report
    assert "crashing.so(" in report
    assert report.endswith("end of the crash report")


def test_threads_that_crash_at_once_make_one_whole_report(serve):
    for _ in range(40):
        server = serve(textwrap.dedent(APP).lstrip("\n"), "--threads", "4", "--lane", "light")
        server.expected_code = -signal.SIGSEGV
        clients = [server.client() for _ in range(8)]
        for client in clients:
            client.get("/")
        for client in clients:
            client.send(poolsrv.message("GET", "/read/16"))
        assert server.wait() == -signal.SIGSEGV, server.log.text
        for client in clients:
            client.close()
        assert server.log.text.count("has crashed") == 1
        assert "damaged" not in server.log.text and "route: GET /read/:address\n" in server.log.text
        assert "C:\n" in server.log.text and server.log.text.endswith("end of the crash report")


# Standard error is a full pipe that nobody reads; SIGALRM is blocked by whoever starts the program.
STUCK = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
reading, writing = os.pipe()
os.set_blocking(writing, False)
try:
    while True:
        os.write(writing, b"x" * 4096)
except BlockingIOError:
    pass
os.set_blocking(writing, True)
os.set_inheritable(reading, True)
os.dup2(writing, 2)
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_a_report_that_nobody_reads_ends(tmp_path):
    app = tmp_path / "app.lua"
    app.write_text(textwrap.dedent(APP))
    command = [sys.executable, "-c", STUCK, poolsrv.PROGRAM, "--port", "0", app]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=poolsrv.environment(), text=True) as process:
        try:
            while not process.stdout.readline().startswith("threads: "):
                pass
            process.send_signal(signal.SIGSEGV)
            assert process.wait(poolsrv.DEADLINE_S) in (128 + signal.SIGABRT, -signal.SIGSEGV)
        finally:
            process.kill()


def test_a_crash_outside_of_handlers_is_reported(serve):
    server = serve(textwrap.dedent(APP))
    server.expected_code = -signal.SIGSEGV
    server.send_signal(signal.SIGSEGV)
    assert server.wait() == -signal.SIGSEGV
    assert "poolsrv has crashed: SIGSEGV" in server.log.text
    assert "route: " not in server.log.text
    assert server.log.text.endswith("end of the crash report")
