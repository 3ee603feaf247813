"""--supervise: a server that crashes is there again at once, and no client is refused meanwhile."""

import ctypes
import os
import re
import signal
import socket
import textwrap
import time
from pathlib import Path

import pytest

import poolsrv
from test_crash import APP
from test_listen import inheriting
from test_system_calls import NO_LEAKS

AGAIN_S = 1 if not poolsrv.UNDER_SANITIZER else 5


def start(serve, *options):
    return serve(textwrap.dedent(APP).lstrip("\n"), "--supervise", *options)


def child_of(server):
    pid = server.process.pid
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def crash(server):
    child = child_of(server)
    with server.client() as client:
        client.send(poolsrv.message("GET", "/read/16"))
        assert client.at_end()
    return child


def answers(server):
    """A new connection gets its answer; it may have to wait, but is neither refused nor reset."""
    begin = time.monotonic()
    assert server.get("/").text == "hello"
    return time.monotonic() - begin


@pytest.mark.parametrize("options", [("--threads", "3"), ("--unix",), ("--admin", "127.0.0.1:0")])
def test_a_crash_refuses_nobody(serve, tmp_path, options):
    if options == ("--unix",):
        options = ("--unix", tmp_path / "socket")
    server = start(serve, *options)
    before = crash(server)
    assert answers(server) < AGAIN_S
    assert child_of(server) != before
    assert re.search(rf"the server \(process {before}\) was ended by signal 11, .*; it is started again", server.log.text)
    assert "route: GET /read/:address" in server.log.text
    for _ in range(20):  # each of several sockets has its turn
        answers(server)
    if server.admin_address:
        assert server.admin("/healthz").status == 200
    assert server.stop() == 0
    if isinstance(server.address, str):
        assert not os.path.exists(server.address)
    else:
        with pytest.raises(ConnectionRefusedError):
            server.client()


def test_clients_come_all_the_time(serve):
    """Connections made before, during and after a crash; those that the crash has cut are the only ones without a reply."""
    server = start(serve, "--threads", "2")
    child = child_of(server)
    clients = [server.client() for _ in range(3)]
    with server.client() as last:
        last.send(poolsrv.message("GET", "/abort"))
        clients += [server.client() for _ in range(30)]
        assert last.at_end()
    clients += [server.client() for _ in range(30)]
    answered = 0
    for client in clients:
        with client:
            try:
                client.send(poolsrv.message("GET", "/"))
                answered += client.read().text == "hello"
            except (EOFError, ConnectionError):
                pass
    assert answered >= 30
    assert child_of(server) != child
    assert server.stop() == 0


def test_one_that_dies_young_again_and_again_is_started_later_and_later(serve):
    server = start(serve)
    for _ in range(4):
        server.until(lambda: _alive(server))
        crash(server)
    server.until(lambda: _alive(server))
    pauses = [int(m[1]) for m in server.log.wait(r"it is started again in (\d+) ms", 3)]
    assert pauses[:3] == sorted(pauses[:3]) and pauses[0] >= 100 and pauses[2] > pauses[0]
    assert server.stop() == 0


def _alive(server):
    try:
        return server.get("/").text == "hello"
    except (EOFError, ConnectionError):
        return False


def test_a_start_that_fails_is_not_tried_again(run_app):
    done = run_app("function api.get() return", "--supervise")
    assert done.returncode == 1
    assert "app.lua:1" in done.stderr and "started again" not in done.stderr


def test_wrong_usage_is_told_once(run_app):
    done = run_app("function api.get() return 1 end", "--supervise", "--threads", "many")
    assert done.returncode == 2
    assert done.stderr.count("--threads") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_are_passed_on(serve, number):
    server = start(serve)
    child = child_of(server)
    assert answers(server) < 5
    assert server.stop(number) == 0
    assert not os.path.exists(f"/proc/{child}")


def test_a_stop_between_two_children(serve):
    server = start(serve)
    for _ in range(5):  # until there is a pause to stop in
        crash(server)
        if "started again in" in server.log.text:
            break
        server.until(lambda: _alive(server))
    code = server.stop()
    # The status of the child that runs, or of the one that has crashed just now; or there is none.
    assert code in (0, 128 + signal.SIGSEGV, 128 + signal.SIGTERM)
    server.expected_code = code


def test_the_child_does_not_outlive_its_parent(serve):
    server = start(serve)
    child = child_of(server)
    server.expected_code = -signal.SIGKILL
    server.send_signal(signal.SIGKILL)
    server.until(lambda: not os.path.exists(f"/proc/{child}"))


def ignore_children():
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)


def test_who_starts_it_may_ignore_children(serve):
    server = serve(textwrap.dedent(APP).lstrip("\n"), "--supervise", preexec_fn=ignore_children)
    before = crash(server)
    assert answers(server) < AGAIN_S
    assert child_of(server) != before


def be_reaper():
    """As process 1 of a container: orphans become its children."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def children_of(server):
    pid = server.process.pid
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_orphans_do_not_stay(serve):
    server = serve(f"""
        {textwrap.dedent(APP)}
        function api.spawn.get() os.execute("sleep 0.1 &") end
    """, "--supervise", preexec_fn=be_reaper)
    for _ in range(5):
        assert server.get("/spawn").status == 204
    server.until(lambda: len(children_of(server)) == 1)
    crash(server)
    server.until(lambda: _alive(server))


def test_a_start_that_the_system_has_no_room_for_is_tried_again(serve):
    server = serve(textwrap.dedent(APP).lstrip("\n"), "--supervise", env=NO_LEAKS,
                   under=("strace", "-qqq", "-o", "/dev/null", "-e", "inject=clone:error=EAGAIN:when=2"))
    supervisor = child_of(server)
    with server.client() as client:
        client.send(poolsrv.message("GET", "/read/16"))
        assert client.at_end()
    assert answers(server) < AGAIN_S
    server.log.wait("the server cannot be started: Resource temporarily unavailable; it is tried again in")
    os.kill(supervisor, signal.SIGTERM)
    assert server.wait() == 0


@pytest.mark.parametrize("options", [(), ("--admin", "127.0.0.1:0")])
def test_a_socket_of_a_service_manager_is_for_each_child(serve, options):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        address = listener.getsockname()
        server = serve(textwrap.dedent(APP).lstrip("\n"), "--supervise", *options, **inheriting(listener))
        before = crash(server)
        assert server.address == address and answers(server) < AGAIN_S
        assert child_of(server) != before
        if options:
            assert server.admin("/healthz").status == 200
        assert server.stop() == 0
        socket.create_connection(address).close()  # it is not theirs to close


def test_sockets_for_another_process_are_not_taken(serve):
    server = serve(textwrap.dedent(APP).lstrip("\n"), "--supervise", "--port", "0",
                   env={"LISTEN_FDS": "1", "LISTEN_PID": "1"})
    assert answers(server) < AGAIN_S
