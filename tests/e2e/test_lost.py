"""Handlers that no limit can end: their threads are lost, spare ones have their places, and all else goes on."""

import os
import re
import signal
import threading
import time

import pytest

import poolsrv
from crowd import crowd, descriptors, gauge

MODULES = os.path.join(os.path.dirname(poolsrv.PROGRAM), "tests")
ADMIN = ("--admin", "127.0.0.1:0")
# It computes for ever, in one C function of Lua's own library.
BACKTRACKS = "return tostring((('a'):rep(40)):find(('a-'):rep(40) .. 'b'))"
APP = f"""
    package.cpath = "{MODULES}/?.so;" .. package.cpath
    local stuck = require "stuck"
    local gate = os.getenv("GATE")
    function api.get() return "alive" end
    api.on_stop(function() print("last words") end)
    function api.stuck.get() stuck["until"](gate) return "late" end
    function api.stuck.post(ctx)
        io.open(gate .. ".reached", "w"):close()
        stuck["until"](gate)
        return ctx:body()
    end
    function api.after.get() sleep(0.01) stuck["until"](gate) end
    function api.busy.get() stuck.while_there(gate) end
    function api.find.get() {BACKTRACKS} end
    function api.sleep.get(ctx) sleep(tonumber(ctx:query().s)) return "slept" end
    function api.caught.get()
        while true do
            coroutine.wrap(function() pcall(stuck["until"], gate) while true do end end)()
        end
    end
    function api.collected.get()
        setmetatable({{}}, {{ __gc = function() stuck["until"](gate) end }})
        return "thrown away"
    end
"""
LIMITS = ("--cpu-limit", "0.2", "--handler-timeout", "1")


class Gate:
    """What the functions of tests/faults/stuck.c wait for."""

    def __init__(self, path):
        self.path = path
        self.close()

    def close(self):
        os.mkfifo(self.path)

    def reached(self):
        return os.path.exists(f"{self.path}.reached")

    def open(self):
        """Whoever waits goes on, and whoever comes."""
        os.rename(self.path, f"{self.path}.open")
        fd = os.open(f"{self.path}.open", os.O_RDWR | os.O_NONBLOCK)
        os.close(fd)


@pytest.fixture
def gate(tmp_path):
    return Gate(tmp_path / "gate")


@pytest.fixture
def served(serve, gate):
    def start(*options):
        server = serve(APP, *LIMITS, *ADMIN, *options, env={"GATE": str(gate.path)})
        return server

    return start


def lost(server):
    return gauge(server, "poolsrv_threads_lost")


def retired(server):
    return gauge(server, "poolsrv_threads_retired_total")


def threads_of(server):
    return len(os.listdir(f"/proc/{server.process.pid}/task"))


LANES = ("light", "heavy")


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("path", ("/stuck", "/after", "/find", "/busy"))
def test_the_client_gets_504_and_the_place_is_taken(served, gate, path, lane):
    server = served("--lane", lane, "--max-heavy", "1")
    with server.client() as client:
        reply = client.get(path)
        assert (reply.status, reply.json()["error"]) == (504, "Gateway Timeout")
        assert reply.json()["request_id"] == reply.header("X-Request-Id")
        assert client.at_end()
    assert server.get("/").text == "alive"
    assert server.get("/sleep?s=0").text == "slept"
    assert (lost(server), retired(server)) == (1, 0)
    assert gauge(server, f'poolsrv_http_requests_total{{route="{path}",method="GET",status="504"}}') == 1
    server.log.wait(f"a handler of {path} goes on although it was told to end: its thread is lost")
    if path == "/find":
        return  # for ever
    gate.open()
    server.until(lambda: retired(server) == 1)
    server.log.wait(f"a thread that was lost in a handler of {path} has come back")
    server.log.wait(rf"GET {path}: the handler was ended: its .* limit is")
    assert lost(server) == 0
    assert server.get("/").text == "alive"


def test_who_has_caught_the_error_is_ended_when_it_comes_back(served, gate):
    server = served("--lane", "light")
    assert server.get("/caught").status == 504
    gate.open()
    server.until(lambda: retired(server) == 1)


def test_a_finalizer_that_does_not_come_back(served, gate):
    server = served("--lane", "light", "--max-heavy", "1")
    server.get("/collected")
    while not lost(server):
        server.get("/")
    assert server.get("/").text == "alive"
    gate.open()
    server.until(lambda: retired(server) >= 1)


@pytest.mark.parametrize("lane", LANES)
def test_what_waits_behind_it_and_in_its_vm(served, gate, lane):
    """Queued requests move to the spare; what slept in the lost VM gets 503."""
    server = served("--lane", lane, "--max-heavy", "1", "--handler-timeout", "0")
    with crowd(server, 40) as clients:
        for client in clients[:20]:
            client.send(poolsrv.message("GET", "/sleep?s=30"))
        assert server.get("/").text == "alive"  # they sleep
        with server.client() as attacker:
            attacker.send(poolsrv.message("GET", "/find"))
            for client in clients[20:]:
                client.send(poolsrv.message("GET", "/"))
            assert attacker.read().status == 504
        assert [client.read().text for client in clients[20:]] == ["alive"] * 20
        for client in clients[:20]:
            reply = client.read()
            assert (reply.status, reply.header("Retry-After")) == (503, "1")
        for client in clients:
            assert client.get("/").text == "alive"


def test_the_probe_holds_with_all_but_one_thread_lost(served, gate):
    """Workers and heavy ones; every place is manned again, and all is given back when they come back."""
    server = served("--threads", "4", "--heavy-threads", "4", "--max-heavy", "4")
    before = descriptors(server), threads_of(server)

    def lose(n):
        with crowd(server, n) as clients:
            for client in clients:
                client.send(poolsrv.message("GET", "/stuck"))
            for client in clients:
                assert client.read().status in (503, 504)

    while lost(server) < 7:
        lose(7 - int(lost(server)))
    with poolsrv.Probe(server, "--body", "alive", "--rss-slack", 8 << 20):
        began = time.monotonic()
        while time.monotonic() - began < 3:
            with crowd(server, 8) as clients:
                for client in clients:
                    assert client.get("/").text == "alive"
    gate.open()
    server.until(lambda: lost(server) == 0)
    assert retired(server) >= 7
    server.until(lambda: threads_of(server) <= before[1])
    server.until(lambda: descriptors(server) <= before[0] + 2)


@pytest.mark.parametrize("lane", LANES)
def test_sigterm_with_a_lost_thread(served, gate, lane):
    server = served("--lane", lane, "--max-heavy", "1")
    with server.client() as idle:
        assert idle.get("/").text == "alive"
        assert server.get("/find").status == 504
        server.send_signal(signal.SIGTERM)
    assert server.wait() == 0


def test_the_end_with_a_lost_thread_leaves_no_socket_and_loses_no_line(served, tmp_path):
    path = tmp_path / "socket"
    server = served("--unix", path, "--lane", "light", "--access-log")
    with server.client() as client:
        assert client.get("/find").status == 504
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    server.log.wait("last words")
    assert not path.exists()


@pytest.mark.parametrize("lane", LANES)
def test_sigterm_while_a_thread_is_lost(served, gate, lane):
    """The handler is stuck, and not lost yet when the signal comes: the drain waits, and ends with its reply."""
    server = served("--lane", lane, "--max-heavy", "1")
    with server.client() as client:
        client.send(poolsrv.message("POST", "/stuck", body=b"x" * 100000))
        server.until(gate.reached)
        server.send_signal(signal.SIGTERM)
        assert client.read().status == 504
    assert server.wait() == 0


def test_requests_have_one_reply_each_while_threads_are_lost_and_come_back(served, gate):
    server = served("--threads", "2", "--heavy-threads", "2", "--max-heavy", "2")
    sent, counts, stop = [0], {}, threading.Event()
    lock = threading.Lock()

    def ask(path):
        while not stop.is_set():
            with server.client() as client:
                status = client.get(path).status
            with lock:
                sent[0] += 1
                counts[status] = counts.get(status, 0) + 1

    threads = [threading.Thread(target=ask, args=(path,)) for path in ("/", "/", "/stuck", "/after", "/sleep?s=0.01")]
    for thread in threads:
        thread.start()
    for _ in range(3):
        server.until(lambda: lost(server) >= 2)
        gate.open()
        server.until(lambda: lost(server) == 0)
        gate.close()
    stop.set()
    gate.open()
    for thread in threads:
        thread.join()
    assert set(counts) <= {200, 204, 500, 503, 504}, counts
    told = re.findall(r"^poolsrv_http_requests_total{.*} (\d+)$", server.admin("/metrics").text, re.MULTILINE)
    assert sum(map(int, told)) == sent[0], (told, counts)
