"""The life of a connection: many at once, pipelines, keep-alive, and clients that leave."""

import socket
import struct
import time
from contextlib import ExitStack

import pytest

from crowd import allow_descriptors, crowd, descriptors, gauge, rss_bytes, settled, standstill, UNDER_SANITIZER
from poolsrv import message

LANES = ("light", "heavy")
ADMIN = ("--admin", "127.0.0.1:0")

APP = """
    function api.get(ctx) return "hello" end
    function api.number.p_n.get(ctx) return ctx:params().n end
    function api.echo.post(ctx) return ctx:body() end
    function api.sleep.get(ctx) sleep(tonumber(ctx:query().s)) return "slept" end
"""


@pytest.fixture(params=LANES)
def lane(request):
    return request.param


# --- at once ---


@pytest.mark.parametrize("n", (1, 127, 128, 129, 256, 512))
def test_requests_that_arrive_at_once_are_all_answered(serve, lane, n):
    server = serve(APP, "--lane", lane)
    with crowd(server, n) as clients:
        settled(server, clients)
        with standstill(server):
            for i, client in enumerate(clients):
                client.send(message("GET", f"/number/{i}"))
        for i, client in enumerate(clients):
            reply = client.read()
            assert (reply.status, reply.text) == (200, str(i))


@pytest.mark.parametrize("n", (1, 127, 128, 129, 256, 512))
def test_connections_that_arrive_at_once_are_all_answered(serve, lane, n):
    server = serve(APP, "--lane", lane)
    with ExitStack() as open_ones:
        with standstill(server):
            clients = open_ones.enter_context(crowd(server, n))
            for i, client in enumerate(clients):
                client.send(message("GET", f"/number/{i}"))
        for i, client in enumerate(clients):
            assert client.read().text == str(i)


def test_more_than_a_ring_of_1024_at_once_are_all_answered(serve, lane):
    n = 1500
    allow_descriptors(n + 100)
    server = serve(APP, "--lane", lane, "--max-queue", "2000")
    with crowd(server, n) as clients:
        settled(server, clients)
        with standstill(server):
            for client in clients:
                client.send(message("GET", "/sleep?s=0.01"))
        assert [client.read().status for client in clients] == [200] * n


def test_replies_of_one_length_do_not_mix(serve, lane):
    """Small replies share what the daemon sends them with, as soon as one of the same length has been sent."""
    server = serve("""
        function api.get(ctx) return "hello" end
        function api.text.p_n.get(ctx) return ctx:params().n end
        function api.json.p_n.get(ctx) return api.json(tonumber(ctx:params().n)) end
        function api.more.p_n.get(ctx) return api.text(ctx:params().n):header("X-N", ctx:params().n) end
    """, "--lane", lane)
    types = {"text": "text/plain; charset=utf-8", "json": "application/json", "more": "text/plain; charset=utf-8"}
    with crowd(server, 60) as clients:
        settled(server, clients)
        for wave in range(1000, 10000, 1000):
            kinds = [("text", "json", "more")[(wave // 1000 + i) % 3] for i in range(60)]
            with standstill(server):
                for i, client in enumerate(clients):
                    client.send(message("GET", f"/{kinds[i]}/{wave + i}"))
            for i, client in enumerate(clients):
                reply = client.read()
                assert (reply.status, reply.text) == (200, str(wave + i))
                assert reply.header("Content-Type") == types[kinds[i]]
                assert reply.header("X-N") == (str(wave + i) if kinds[i] == "more" else None)


# --- pipelines and keep-alive ---


def test_a_hundred_pipelined_requests_are_answered_in_order(serve, lane):
    server = serve(APP, "--lane", lane)
    with server.client() as client:
        client.send(b"".join(message("GET", f"/number/{i}") for i in range(100)))
        assert [client.read().text for _ in range(100)] == [str(i) for i in range(100)]
        assert client.get("/").text == "hello"


def test_pipelined_bodies_stay_with_their_requests(serve, lane):
    server = serve(APP, "--lane", lane)
    bodies = [b"%d:" % i + b"x" * (i * 37 % 500) for i in range(100)]
    with server.client() as client:
        client.send(b"".join(message("POST", "/echo", body=body) for body in bodies))
        assert [client.read().body for _ in bodies] == bodies


def test_a_pipeline_that_arrives_byte_by_byte_is_answered(serve, lane):
    server = serve(APP, "--lane", lane)
    with server.client() as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in message("POST", "/echo", body="abc") + message("GET", "/number/7"):
            client.send(bytes([byte]))
        assert client.read().body == b"abc"
        assert client.read().text == "7"


def test_a_slow_request_does_not_let_a_later_one_of_its_pipeline_pass(serve, lane):
    server = serve(APP, "--lane", lane)
    with server.client() as client:
        client.send(message("GET", "/sleep?s=0.2") + message("GET", "/number/2"))
        assert client.read().text == "slept"
        assert client.read().text == "2"


def test_keep_alive_survives_get_post_and_errors(serve, lane):
    server = serve(APP, "--lane", lane)
    with server.client() as client:
        for _ in range(3):
            assert client.get("/").status == 200
            assert client.ask("POST", "/echo", body="body").text == "body"
            assert client.ask("POST", "/echo", body="").body == b""
            assert client.get("/nowhere").status == 404
            assert client.ask("POST", "/", body="not wanted").status == 405
            assert client.ask("HEAD", "/").status == 200
        assert client.get("/").header("Connection") in (None, "Keep-Alive", "keep-alive")


def test_connection_close_is_honoured(serve, lane):
    server = serve(APP, "--lane", lane)
    with server.client() as client:
        reply = client.get("/", {"Connection": "close"})
        assert reply.status == 200
        assert reply.header("Connection").lower() == "close"
        assert client.at_end()


def test_http_1_0_closes_unless_asked_to_stay(serve, lane):
    server = serve(APP, "--lane", lane)
    with server.client() as client:
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert client.read().text == "hello"
        assert client.at_end()
    with server.client() as client:
        client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        reply = client.read()
        assert reply.text == "hello"
        assert reply.header("Connection").lower() == "keep-alive"
        client.send(b"POST /echo HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi")
        assert client.read().text == "hi"
        assert client.at_end()


def test_an_idle_connection_is_closed(serve):
    server = serve(APP, "--idle-timeout", "1")
    with server.client() as client:
        assert client.get("/").status == 200
        assert client.at_end()


def test_a_sleeping_handler_outlives_the_idle_timeout(serve, lane):
    server = serve(APP, "--lane", lane, "--idle-timeout", "1")
    with server.client() as client:
        start = time.monotonic()
        assert client.get("/sleep?s=2.5").text == "slept"
        assert time.monotonic() - start >= 2.5


# --- clients that leave ---


@pytest.mark.parametrize("target", ("/number/1", "/sleep?s=0.3", "/nowhere"))
def test_a_client_that_half_closes_after_its_request_gets_the_reply(serve, lane, target):
    server = serve(APP, "--lane", lane)
    with crowd(server, 20) as clients:
        for client in clients:
            client.send(message("GET", target))
            client.finish_sending()
        for client in clients:
            assert client.read().status == (404 if target == "/nowhere" else 200)
            assert client.at_end()


def test_a_client_that_half_closes_after_a_body_gets_the_reply(serve, lane):
    server = serve(APP, "--lane", lane)
    with server.client() as client:
        client.send(message("POST", "/echo", body="x" * 100000))
        client.finish_sending()
        assert client.read().body == b"x" * 100000
        assert client.at_end()


def test_a_client_that_half_closes_after_a_pipeline_gets_all_replies(serve, lane):
    server = serve(APP, "--lane", lane)
    with server.client() as client:
        client.send(b"".join(message("GET", f"/number/{i}") for i in range(50)))
        client.finish_sending()
        assert [client.read().text for _ in range(50)] == [str(i) for i in range(50)]
        assert client.at_end()


def reset(client):
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


STATES = {
    "before its first byte": b"",
    "within the head": b"GET /number/1 HTTP/1.1\r\nHost: te",
    "within the body": b"POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\nhalf",
    "within a chunk": b"POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n40\r\nhalf",
    "after a request": message("GET", "/number/1"),
    "while it sleeps": message("GET", "/sleep?s=0.05"),
    "after a pipeline": message("GET", "/number/1") * 20,
    "after a pipeline that sleeps": message("GET", "/sleep?s=0.01") * 3,
}


@pytest.mark.parametrize("leave", (lambda client: client.close(), reset), ids=("close", "reset"))
@pytest.mark.parametrize("state", STATES)
def test_clients_that_leave_take_nothing_with_them(serve, lane, state, leave):
    server = serve(APP, "--lane", lane, *ADMIN)
    assert server.get("/").status == 200
    server.until(lambda: gauge(server, "poolsrv_connections") == 0)
    before = descriptors(server)
    for _ in range(3):
        with crowd(server, 40) as clients:
            for client in clients:
                client.send(STATES[state])
            for client in clients:
                leave(client)
    server.until(lambda: gauge(server, "poolsrv_connections") == 0 and descriptors(server) <= before)
    assert server.get("/number/5").text == "5"


# --- limits ---


def test_a_client_beyond_the_connection_limit_is_served_when_one_leaves(serve, lane):
    server = serve(APP, "--lane", lane, "--max-connections", "4")
    with crowd(server, 4) as clients, server.client() as waiting:
        settled(server, clients)
        waiting.send(message("GET", "/number/5"))
        waiting.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            waiting.read()
        waiting.socket.settimeout(20)
        clients[0].close()
        assert waiting.read().text == "5"
        assert clients[1].get("/").status == 200


def test_clients_that_come_and_go_at_the_connection_limit_are_all_served(serve, lane):
    server = serve(APP, "--lane", lane, "--max-connections", "3")
    with crowd(server, 60) as clients:
        for i, client in enumerate(clients):
            client.send(message("GET", f"/number/{i}", {"Connection": "close"}))
        for i, client in enumerate(clients):
            assert client.read().text == str(i)


def test_resets_at_the_connection_limit_leave_it_whole(serve, lane):
    server = serve(APP, "--lane", lane, "--max-connections", "3")
    for _ in range(100):
        with crowd(server, 12) as clients:
            for client in clients:
                client.send(message("GET", "/number/1") * 3)
            for client in clients:
                reset(client)
        with crowd(server, 3) as clients:
            settled(server, clients)


# --- many that sleep ---


def test_a_thousand_sleepers_on_one_heavy_thread_take_one_sleep(serve):
    server = serve(APP, "--lane", "heavy")
    with crowd(server, 1000) as clients:
        settled(server, clients)
        start = time.monotonic()
        for client in clients:
            client.send(message("GET", "/sleep?s=1"))
        assert [client.read().text for client in clients] == ["slept"] * 1000
        took = time.monotonic() - start
    assert 1 <= took < 15


def test_ten_thousand_handlers_sleep_at_once_in_little_memory(serve):
    n = 10000
    allow_descriptors(n + 200)
    server = serve(APP, "--lane", "light", "--threads", "2", "--max-connections", n + 2000, *ADMIN)
    seconds = 8 if UNDER_SANITIZER else 3
    with crowd(server, n) as clients:
        settled(server, clients)
        idle = rss_bytes(server)
        start = time.monotonic()
        for client in clients:
            client.send(message("GET", f"/sleep?s={seconds}"))
        assert server.get("/number/1").text == "1"
        sent_in = time.monotonic() - start
        asleep = rss_bytes(server)
        assert clients[0].read().text == "slept"
        asleep = max(asleep, rss_bytes(server))
        assert [client.read().text for client in clients[1:]] == ["slept"] * (n - 1)
        assert time.monotonic() - start >= seconds
    if sent_in < seconds and not UNDER_SANITIZER:
        assert (asleep - idle) / n <= 6 * 1024, f"{(asleep - idle) / n:.0f} bytes a sleeper"
