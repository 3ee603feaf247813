"""Bodies of requests: how they come, and what is too large."""

import socket

import pytest

from crowd import crowd, rss_bytes, UNDER_SANITIZER
from poolsrv import CHUNKED_CLOSES, message

APP = """
    function api.get(ctx) return "hello" end
    function api.echo.post(ctx) return ctx:body() end
    function api.size.post(ctx) return tostring(#ctx:body()) end
    function api.ignored.post(ctx) return "not read" end
    function api.large.get(ctx) return string.rep("0123456789", 800000) end
"""


@pytest.fixture(params=("light", "heavy"))
def lane(request):
    return request.param


def chunked(*chunks):
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


CHUNKED = {"Transfer-Encoding": "chunked"}


# --- as they come ---


@pytest.mark.parametrize("n", (0, 1, 4095, 4096, 8191, 16384, 65536, 1048576))
def test_a_body_arrives_whole(serve, lane, n):
    server = serve(APP, "--lane", lane)
    body = bytes(i * 7 % 256 for i in range(min(n, 4096))) * (n // 4096 or 1)
    body = (body + b"!" * n)[:n]
    with server.client() as client:
        assert client.ask("POST", "/echo", body=body).body == body
        assert client.ask("POST", "/echo", CHUNKED, body=chunked(*filter(None, (body[:10], body[10:])))).body == body
        if CHUNKED_CLOSES:
            assert client.at_end()
        else:
            assert client.get("/").status == 200


def test_a_body_in_small_pieces_arrives_whole(serve, lane):
    server = serve(APP, "--lane", lane)
    body = b"0123456789" * 20
    with server.client() as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        data = message("POST", "/echo", body=body)
        for i in range(0, len(data), 3):
            client.send(data[i:i + 3])
        assert client.read().body == body
        data = message("POST", "/echo", CHUNKED, body=chunked(*(body[i:i + 1] for i in range(len(body)))))
        for i in range(0, len(data), 5):
            client.send(data[i:i + 5])
        assert client.read().body == body


def test_a_body_that_no_handler_reads_does_not_disturb_the_next_request(serve, lane):
    server = serve(APP, "--lane", lane)
    with server.client() as client:
        assert client.ask("POST", "/ignored", body=b"x" * 100000).text == "not read"
        assert client.ask("POST", "/nowhere", body=b"x" * 100000).status == 404
        assert client.ask("POST", "/", body=b"x" * 100000).status == 405
        assert client.ask("POST", "/echo", body=b"next").body == b"next"


def test_a_large_reply_reaches_a_client_that_reads_slowly(serve, lane):
    server = serve(APP, "--lane", lane)
    with server.client() as client, server.client() as other:
        client.send(message("GET", "/large"))
        assert other.get("/").status == 200
        reply = client.read()
        assert reply.body == b"0123456789" * 800000
        assert client.get("/").text == "hello"


# --- too large ---


def test_the_largest_body_that_is_allowed_is_taken(serve):
    server = serve(APP, "--max-body", "1000")
    assert server.post("/size", b"x" * 1000).text == "1000"
    assert server.ask("POST", "/size", CHUNKED, chunked(b"x" * 999, b"x")).text == "1000"
    assert server.post("/size", b"x" * 1001).status == 413
    assert server.ask("POST", "/size", CHUNKED, chunked(b"x" * 1000, b"x")).status == 413


@pytest.mark.parametrize("n", (2000, 100000, 3000000))
def test_an_early_413_reaches_a_client_that_sends_all_its_body_first(serve, n):
    server = serve(APP, "--max-body", "1000")
    for _ in range(20):
        with server.client() as client:
            client.send(message("POST", "/size", body=b"x" * n))
            reply = client.read()
            assert reply.status == 413
            assert reply.header("Connection").lower() == "close"
            assert client.at_end()
    assert server.get("/").status == 200


@pytest.mark.parametrize("n", (2000, 100000, 900000))
def test_a_413_of_a_chunked_body_reaches_its_client(serve, n):
    server = serve(APP, "--max-body", "1000")
    for _ in range(5):
        with server.client() as client:
            client.send(message("POST", "/size", CHUNKED, chunked(*[b"x" * 500] * (n // 500))))
            reply = client.read()
            assert reply.status == 413
            assert reply.header("Connection").lower() == "close"
            assert client.at_end()
    assert server.get("/").status == 200


def test_a_chunked_body_without_end_is_cut_off(serve):
    server = serve(APP, "--max-body", "1000")
    with server.client() as client:
        client.send(message("POST", "/size", CHUNKED, b""))
        chunk = b"1000\r\n" + b"x" * 4096 + b"\r\n"
        sent = 0
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            while sent < 100 * 1048576:
                client.send(chunk)
                sent += len(chunk)
    assert server.get("/").status == 200


def test_a_large_declared_length_takes_no_memory_before_the_bytes_come(serve):
    server = serve(APP, "--max-body", "100m")
    assert server.get("/").status == 200
    before = rss_bytes(server)
    with crowd(server, 100) as clients:
        for client in clients:
            client.send(message("POST", "/size", {"Content-Length": "100000000"}) + b"x")
        assert server.get("/").status == 200
        if not UNDER_SANITIZER:  # whose memory is not the server's
            assert rss_bytes(server) - before < 20 * 1048576


# --- Expect ---


def test_expect_100_continue_gets_its_100_and_then_the_reply(serve, lane):
    server = serve(APP, "--lane", lane)
    with server.client() as client:
        for _ in range(2):
            client.send(message("POST", "/echo", {"Content-Length": "4", "Expect": "100-continue"}))
            assert client.read().status == 100
            client.send(b"body")
            assert client.read().body == b"body"


def test_expect_100_continue_of_too_large_a_body_gets_413_at_once(serve, lane):
    server = serve(APP, "--lane", lane, "--max-body", "1000")
    with server.client() as client:
        client.send(message("POST", "/echo", {"Content-Length": "5000", "Expect": "100-continue"}))
        assert client.read().status == 413
        assert client.at_end()


def test_a_client_that_expects_100_but_does_not_wait_gets_its_reply(serve, lane):
    server = serve(APP, "--lane", lane)
    with server.client() as client:
        client.send(message("POST", "/echo", {"Expect": "100-continue"}, b"body"))
        reply = client.read()
        if reply.status == 100:
            reply = client.read()
        assert (reply.status, reply.body) == (200, b"body")
        assert client.get("/").status == 200
