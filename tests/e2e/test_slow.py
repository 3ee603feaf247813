"""Clients that are slow on purpose, 900 at a time: each is ended by its deadline, and an honest one notices nothing.

slowhttptest is the attacker. And clocks that jump: every deadline is on the monotonic clock.
"""

import re
import subprocess
import time
from pathlib import Path

import pytest

import poolsrv

CONNECTIONS = 900
DEADLINE_S = 3
LATE_S = 2  # what a connection may live on after its deadline
SLACK_S = 4 if not poolsrv.UNDER_SANITIZER else 12  # for 900 connections to be opened, and a busy machine
APP = """
    function api.get() return "hello" end
    function api.echo.post(ctx) return ctx:body() end
    function api.large.get() return ("x"):rep(300000) end
    function api.sleep.get(ctx) sleep(tonumber(ctx:query().s)) return "slept" end
"""
DEADLINES = ("--head-timeout", DEADLINE_S, "--body-timeout", DEADLINE_S, "--send-timeout", DEADLINE_S)
ATTACKS = {
    "head": ("-H", "-i", "1"),
    "body": ("-B", "-i", "1", "-s", "100000", "-x", "10"),
    "reading": ("-X", "-w", "512", "-y", "1024", "-n", "1", "-z", "8"),
}
TARGETS = {"head": "/", "body": "/echo", "reading": "/large"}


def ended(server, reason):
    text = server.admin("/metrics").text
    return int(re.search(rf'^poolsrv_connections_ended_total{{reason="{reason}"}} (\d+)$', text, re.MULTILINE)[1])


@pytest.mark.parametrize("reason", ATTACKS)
def test_slow_clients_are_ended(serve, reason):
    server = serve(APP, "--admin", "127.0.0.1:0", "--threads", "2", *poolsrv.STEADY, *DEADLINES)
    command = ["slowhttptest", "-c", str(CONNECTIONS), "-r", str(CONNECTIONS), "-l", "60", "-p", "20",
               *ATTACKS[reason], "-u", f"http://127.0.0.1:{server.port}{TARGETS[reason]}"]
    # The workers keep the tasks that so many connections at a time needed: some 2 kB each.
    with poolsrv.Probe(server, "--body", "hello", "--settle", "20", "--rss-slack", 3 << 20):
        begin = time.monotonic()
        # Its own count of what is open is of no use: one that reads slowly learns late that it was cut off.
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL) as attacker:
            server.until(lambda: ended(server, reason) >= CONNECTIONS, 60)
            took = time.monotonic() - begin
            attacker.terminate()
    assert took < DEADLINE_S + LATE_S + SLACK_S


def test_a_late_head_gets_a_408(serve):
    server = serve(APP, "--head-timeout", "1")
    with server.client() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: te")
        assert client.read().status == 408
        assert client.at_end()


def test_a_late_first_line_gets_a_408(serve):
    server = serve(APP, "--head-timeout", "1")
    with server.client() as client:
        client.send(b"GE")
        assert client.read().status == 408
        assert client.at_end()


def test_who_says_nothing_is_told_nothing(serve):
    server = serve(APP, "--head-timeout", "1", "--idle-timeout", "1")
    with server.client() as client:
        assert client.at_end()
    with server.client() as client:
        assert client.get("/").text == "hello"
        assert client.at_end()


def test_a_late_body_gets_a_408(serve):
    server = serve(APP, "--body-timeout", "1")
    with server.client() as client:
        client.send(b"POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\nhalf")
        assert client.read("POST").status == 408
        assert client.at_end()


def test_a_slow_body_at_its_rate_is_taken(serve):
    server = serve(APP, "--body-timeout", "1", "--body-min-rate", "10")
    with server.client() as client:
        client.send(b"POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\n")
        for _ in range(20):
            client.send(b"xxxxx")
            time.sleep(0.15)  # the client's rate: 33 bytes a second
        assert client.read("POST").text == "x" * 100


def test_a_stop_does_not_wait_for_slow_clients(serve):
    server = serve(APP)
    clients = [server.client() for _ in range(50)]
    for i, client in enumerate(clients):
        client.send((b"GET / HTT", b"POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 9\r\n\r\nx")[i % 2])
    assert server.stop() == 0
    for client in clients:
        client.close()


# --- connections of an address ---

def test_an_address_has_so_many_connections(serve):
    server = serve(APP, "--max-connections-per-address", "3", "--threads", "2", "--admin", "127.0.0.1:0")
    clients = [server.client() for _ in range(3)]
    for client in clients:
        assert client.get("/").text == "hello"
    with server.client() as late:
        assert late.at_end()
    assert ended(server, "address") == 1
    clients.pop().close()
    server.until(lambda: ended(server, "address") and _answers(server))
    for client in clients:
        assert client.get("/").text == "hello"
        client.close()


def _answers(server):
    try:
        return server.get("/").text == "hello"
    except (EOFError, ConnectionError):
        return False


# --- clocks that jump ---

def faketime(rc):
    """The environment in which that file says how far the time of day is off."""
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    # The second one so that it is not jemalloc that allocates, which asks for the time before this library can tell it.
    preload = f"{library}:libc.so.6"
    if poolsrv.UNDER_SANITIZER and not poolsrv.UNDER_COVERAGE:  # whose library has to be the first
        preload = subprocess.check_output(["gcc", "-print-file-name=libasan.so"], text=True).strip() + ":" + preload
    return {"LD_PRELOAD": preload, "FAKETIME_TIMESTAMP_FILE": str(rc), "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1"}


@pytest.mark.parametrize("jump", ["+1h", "-1h"])
def test_a_clock_that_jumps_changes_nothing(serve, tmp_path, jump):
    rc = tmp_path / "faketimerc"
    rc.write_text("+0")
    server = serve(APP, "--head-timeout", "30", "--body-timeout", "30", "--idle-timeout", "30", "--max-wait", "30",
                   env=faketime(rc))
    with server.client() as idle, server.client() as head, server.client() as body, server.client() as asleep:
        assert idle.get("/").text == "hello"
        before = idle.get("/").header("Date")
        head.send(b"GET / HTTP/1.1\r\nHost: te")
        body.send(b"POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\nha")
        asleep.send(poolsrv.message("GET", "/sleep?s=2"))
        begin = time.monotonic()
        poolsrv.replace(rc, jump)  # at every moment one of the two is there
        # The server has the new time of day, or nothing is tested.
        server.until(lambda: idle.get("/").header("Date")[17:19] != before[17:19])
        head.send(b"st\r\n\r\n")
        assert head.read().text == "hello"
        body.send(b"lf")
        assert body.read("POST").text == "half"
        assert asleep.read().text == "slept"
        assert 1.5 < time.monotonic() - begin < 15
        assert idle.get("/").text == "hello"
    assert server.stop() == 0
