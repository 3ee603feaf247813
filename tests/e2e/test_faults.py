"""The running server while allocations fail beneath it, whoever makes them, and while its writes are short.

A library that is loaded into the server makes them so (tests/faults). For each place at which an allocation can fail:
the server does not crash, what it refuses it refuses with a word, and afterwards it serves as ever. Not under a
sanitizer, which replaces allocations itself: there, tests/test_malloc.c and tests/test_vm.c refuse them from within.

POOLSRV_FAULTS=all tries every place; otherwise FEW of them, evenly spread, are tried.
"""

import mmap
import os
import signal
import struct
import subprocess

import pytest

import poolsrv
from faulty import APP, REQUESTS, ask, check_health

LIBRARY = os.path.join(os.path.dirname(poolsrv.PROGRAM), "tests/libfaults.so")
ALLOCATIONS, WRITES, KINDS = range(3)
FAR = 1 << 40
FEW = FAR if os.environ.get("POOLSRV_FAULTS") == "all" else 40

class Faults:
    """The plans that tests/faults/faults.c reads."""

    def __init__(self, path):
        self.path = path
        path.write_bytes(bytes(24 * KINDS))
        with open(path, "r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)

    @property
    def env(self):
        # The sanitizer's library is not the first one then, which it takes for a mistake.
        return {"LD_PRELOAD": LIBRARY, "FAULTS": str(self.path),
                "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"}

    def arm(self, kind, left, count=1):
        struct.pack_into("qqq", self._map, 24 * kind, left, count, 0)

    def disarm(self, kind):
        """Returns: how many calls failed, and how many did not since it was armed with FAR."""
        left, _, met = struct.unpack_from("qqq", self._map, 24 * kind)
        self.arm(kind, 0, 0)
        return met, FAR - left

    def count(self, kind, action):
        """How many calls of the kind an action makes."""
        self.arm(kind, FAR)
        action()
        return self.disarm(kind)[1]


@pytest.fixture
def faults(tmp_path):
    return Faults(tmp_path / "plans")


def few(n):
    """FEW places of n, evenly spread, the first and the last among them."""
    return sorted({i * (n - 1) // max(FEW - 1, 1) for i in range(FEW)}) if n > FEW else range(n)


# --- allocations ---

def start(faults, tmp_path):
    """A server started by hand: it may end before it listens."""
    app = tmp_path / "app.lua"
    app.write_text(APP)
    return subprocess.Popen([poolsrv.PROGRAM, "--port", "0", "--threads", "1", "--heavy-threads", "1", str(app)],
                            env=poolsrv.environment(faults.env), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


def begin_and_end(faults, tmp_path):
    """Returns: whether it came up, its exit code, and its log."""
    with start(faults, tmp_path) as process:
        listens = process.stdout.readline() != ""
        if listens:
            process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=poolsrv.DEADLINE_S)
    assert not poolsrv.SANITIZER.search(log), log
    return listens, process.returncode, log


@pytest.mark.parametrize("count", [1, 2])
def test_each_allocation_of_a_start(faults, tmp_path, count):
    """The start ends with a word, or comes to a server that stops as asked."""
    total = faults.count(ALLOCATIONS, lambda: begin_and_end(faults, tmp_path))
    assert total > 100
    refused = 0
    for left in few(total):
        faults.arm(ALLOCATIONS, left, count)
        listens, code, log = begin_and_end(faults, tmp_path)
        faults.disarm(ALLOCATIONS)
        assert code >= 0, f"allocation {left}: signal {-code}\n{log}"
        if not listens:
            assert code != 0 and log.strip(), f"allocation {left}: exit code {code}, log {log!r}"
            refused += 1
    assert refused > 0


@pytest.mark.parametrize("name", REQUESTS)
def test_each_allocation_of_a_request(serve, faults, name):
    server = serve(APP, env=faults.env)
    check_health(server)
    total = faults.count(ALLOCATIONS, lambda: ask(server, *REQUESTS[name]))
    for count in (1, 2, 8):
        for left in few(total + 8):
            faults.arm(ALLOCATIONS, left, count)
            status = ask(server, *REQUESTS[name])
            faults.disarm(ALLOCATIONS)
            assert status in (None, 200, 404, 500, 503), f"allocation {left}: status {status}"
            assert ask(server, "GET", "/") == 200, f"allocation {left}:\n{server.log.text}"
    check_health(server)


def test_each_allocation_of_a_stop(faults, tmp_path, serve):
    server = serve(APP, env=faults.env)
    check_health(server)
    total = faults.count(ALLOCATIONS, server.stop)
    assert server.process.returncode == 0
    for left in few(total + 8):
        server = serve(APP, env=faults.env)
        assert ask(server, "GET", "/heavy") == 200
        faults.arm(ALLOCATIONS, left)
        assert server.stop() == 0, f"allocation {left}:\n{server.log.text}"
        faults.disarm(ALLOCATIONS)


def test_the_probe_holds_after_failures(serve, faults):
    server = serve(APP, *poolsrv.STEADY, env=faults.env)
    for left in range(60):
        faults.arm(ALLOCATIONS, left, 3)
        for request in REQUESTS.values():
            ask(server, *request)
        faults.disarm(ALLOCATIONS)
    with poolsrv.Probe(server, "--body", "hello", "--for", "2"):
        check_health(server)


# --- short writes ---

@pytest.mark.parametrize("target", ["/large", "/heavy/large"])
def test_short_writes_lose_nothing(serve, faults, target):
    """The kernel takes a part of each write, over and over: the replies are whole and in order."""
    server = serve(APP, env=faults.env)
    faults.arm(WRITES, 0)
    clients = []
    for _ in range(20):
        client = poolsrv.Client(server.address, receive_buffer=1)
        client.send(poolsrv.message("GET", target) * 3)
        clients.append(client)
    for client in clients:
        with client:
            for _ in range(3):
                reply = client.read()
                assert (reply.status, reply.body) == (200, b"".join(b"%06d" % i for i in range(1, 20001)))
    met, _ = faults.disarm(WRITES)
    assert met > 100
    check_health(server)
