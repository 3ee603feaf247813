"""Out of descriptors: the server does not spin, its health can be asked for, and it recovers by itself."""

import os
import resource
import socket
import time

import pytest

import poolsrv

APP = 'function api.get(ctx) return "hello" end'
CLIENTS = 500
WINDOW_S = 1.0
SPIN_SHARE = 0.5  # of one core; a thread that spins takes all of one


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def check_no_spin(server):
    before = cpu_seconds(server.process.pid)
    time.sleep(WINDOW_S)  # the time that is measured
    assert cpu_seconds(server.process.pid) - before < WINDOW_S * SPIN_SHARE


def limit_descriptors(server, soft):
    hard = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)[1]
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (soft, hard))


def used_descriptors(server):
    """The number that the next one would get."""
    used = {int(name) for name in os.listdir(f"/proc/{server.process.pid}/fd")}
    return next(fd for fd in range(len(used) + 1) if fd not in used)


def answers_in_time(server):
    begin = time.monotonic()
    assert server.get("/").text == "hello"
    assert time.monotonic() - begin < (1 if not poolsrv.UNDER_SANITIZER else 5)


def test_many_clients_and_few_descriptors(serve):
    """More clients than there can be connections wait in the accept queue; health has a thread of its own."""
    server = serve(APP, "--threads", "2", "--max-heavy", "1", "--admin", "127.0.0.1:0",
                   under=("prlimit", "--nofile=128:128"))
    assert "only 40 connections at a time" in server.log.text
    clients = []
    for _ in range(CLIENTS):
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(server.address)
        clients.append(client)
    server.until(lambda: len(os.listdir(f"/proc/{server.process.pid}/fd")) > 60)
    check_no_spin(server)
    assert server.admin("/healthz").status == 200
    for client in clients:
        client.close()
    answers_in_time(server)
    assert server.process.poll() is None


@pytest.mark.parametrize("held", [0, 3])
def test_no_descriptor_to_accept_with(serve, held):
    """Whether connections are open or not when accept(2) fails with EMFILE."""
    server = serve(APP, "--admin", "127.0.0.1:0")
    clients = [server.client() for _ in range(held)]
    for client in clients:
        assert client.get("/").text == "hello"
    limit_descriptors(server, used_descriptors(server))
    with server.client() as late:
        late.send(poolsrv.message("GET", "/"))
        server.log.wait("Hit process or system resource limit")
        if held:  # an idle connection goes in favour of the one that waits
            assert late.read().text == "hello"
        check_no_spin(server)
        limit_descriptors(server, 1024)
        if not held:
            assert late.read().text == "hello"
    answers_in_time(server)
    for client in clients:
        client.close()


@pytest.mark.parametrize("held", [0, 3])
def test_a_stop_without_descriptors(serve, held):
    server = serve(APP)
    clients = [server.client() for _ in range(held)]
    for client in clients:
        assert client.get("/").text == "hello"
    limit_descriptors(server, used_descriptors(server))
    with server.client():
        server.log.wait("Hit process or system resource limit")
        assert server.stop() == 0
    for client in clients:
        client.close()
