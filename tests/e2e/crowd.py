"""Many connections at once, and what a process of the server holds."""

import os
import resource
import signal
from contextlib import contextmanager
from pathlib import Path

import pytest

import poolsrv

UNDER_SANITIZER = poolsrv.UNDER_SANITIZER


@contextmanager
def crowd(server, n):
    """n open connections."""
    clients = []
    try:
        for _ in range(n):
            clients.append(server.client())
        yield clients
    finally:
        for client in clients:
            client.close()


@contextmanager
def standstill(server):
    """The server's process is stopped meanwhile: what is sent here reaches it all at once."""
    server.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.send_signal(signal.SIGCONT)


def settled(server, clients):
    """One request on each, so that all connections are accepted. `/` must exist."""
    for client in clients:
        client.send(poolsrv.message("GET", "/"))
    for client in clients:
        assert client.read().status == 200


def allow_descriptors(n):
    """Let this process have n descriptors, or skip the test."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < n:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (n, max(n, hard) if hard != resource.RLIM_INFINITY else hard))
        except (ValueError, OSError):
            pytest.skip(f"{n} descriptors are needed, {hard} are allowed")


def rss_bytes(server):
    for line in Path(f"/proc/{server.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


def descriptors(server):
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


def tool(name):
    """A C program from tests/tools, built beside the server; skips when it is not there."""
    path = Path(poolsrv.PROGRAM).resolve().parent / "tests" / name
    if not path.exists():
        pytest.skip(f"{path} is not built")
    return path


def gauge(server, name):
    """The value of a metric; its labels, if any, are part of the name."""
    for line in server.admin("/metrics").text.splitlines():
        if line.startswith(name + " "):
            return float(line.rpartition(" ")[2])
    return None
