"""The running server while system calls fail beneath it, by `strace -e inject`: each once, at one place after the other.

POOLSRV_FAULTS=all tries every place; otherwise some of them.
"""

import os
import signal
import subprocess

import pytest

import poolsrv
from faulty import APP, REQUESTS, ask, check_health

EVERY = os.environ.get("POOLSRV_FAULTS") == "all"
# LeakSanitizer stops threads as strace does, and cannot beside it.
NO_LEAKS = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}

STRACE = ("strace", "-f", "--seccomp-bpf", "-qqq", "-o", "/dev/null")

# What each may fail with while the server runs, and for how many places of it that is tried. epoll_ctl is not among
# them: libuv ends the process when it fails, and there is nothing to be done about that here.
CALLS = {
    "accept4": ("EMFILE", "ENFILE", "ECONNABORTED", "EINTR"),
    "sendto": ("ECONNRESET", "EPIPE", "EINTR", "EAGAIN"),
    "sendmsg": ("ECONNRESET", "EPIPE", "EINTR", "EAGAIN"),
    "recvfrom": ("EINTR", "ECONNRESET", "EAGAIN"),
    "epoll_wait": ("EINTR",),
}
PLACES = {"accept4": 6, "sendto": 10, "sendmsg": 10, "recvfrom": 10, "epoll_wait": 20}
CASES = [(call, error) for call, errors in CALLS.items() for error in errors]


def under_strace(call, error, when):
    return (*STRACE, "-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={when}")


def some_clients(server):
    """Requests of all kinds, each on a connection of its own; what meets the failure may go unanswered."""
    return [ask(server, *request) for request in REQUESTS.values() for _ in range(2)]


@pytest.mark.parametrize("call,error", CASES)
def test_each_system_call_fails_once(serve, call, error):
    places = range(1, PLACES[call] + 1)
    for when in places if EVERY else [1, 2, *places[2::4]]:
        server = serve(APP, under=under_strace(call, error, when), env=NO_LEAKS)
        statuses = some_clients(server)
        lost = statuses.count(None)
        assert lost <= 1, f"{call} {when}: {statuses}"
        check_health(server)
        assert stop_traced(server) == 0, server.log.text

def stop_traced(server):
    """strace passes no signal on: its child gets it, and its exit code becomes strace's."""
    child = int(open(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read().split()[0])
    os.kill(child, signal.SIGTERM)
    return server.wait()


@pytest.mark.parametrize("when", range(1, 13))
def test_each_thread_cannot_be_made(tmp_path, when):
    """pthread_create fails with EAGAIN: the start ends with a word, or the server does without the thread."""
    (tmp_path / "app.lua").write_text(APP)
    command = [*under_strace("clone3", "EAGAIN", when), poolsrv.PROGRAM, "--port", "0", "--threads", "2",
               "--heavy-threads", "2", "app.lua"]
    with subprocess.Popen(command, cwd=tmp_path, env=poolsrv.environment(NO_LEAKS), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        if process.stdout.readline():
            children = open(f"/proc/{process.pid}/task/{process.pid}/children").read().split()
            os.kill(int(children[0]), signal.SIGTERM)
        out, log = process.communicate(timeout=poolsrv.DEADLINE_S)
    assert not poolsrv.SANITIZER.search(log), log
    assert process.returncode in (0, 1), (process.returncode, log)
    if process.returncode:
        assert "thread" in log and out == "", (out, log)
