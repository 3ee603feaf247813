"""How the server ends: what is under way is finished, nobody is reset, and it does not take for ever."""

import signal
import threading
import time

import pytest

from crowd import crowd, settled, standstill
from poolsrv import Client, message

ADMIN = ("--admin", "127.0.0.1:0")

APP = """
    function api.get(ctx) return "hello" end
    function api.text.get(ctx) return string.rep("x", 20000) end
    function api.sleep.get(ctx) sleep(tonumber(ctx:query().s)) return "slept" end
    function api.stuck.get(ctx) while true do end end
    function api.busy.get(ctx)
        local till = os.clock() + tonumber(ctx:query().s)
        while os.clock() < till do end
        return "done"
    end
"""


@pytest.fixture(params=("light", "heavy"))
def lane(request):
    return request.param


def is_draining(server):
    return server.admin("/readyz").status == 503


class Load:
    """Connections that ask again and again until the server says that it closes them."""

    def __init__(self, server, connections, target):
        self.count = 0
        self.faults = []
        self.clients = [server.client() for _ in range(connections)]
        self.target = target
        self.started = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            while self.clients:
                self.round()
        except Exception as fault:  # whatever it is, the test is to show it
            self.faults.append(repr(fault))
        self.started.set()

    def round(self):
        for client in self.clients:
            client.send(message("GET", self.target))
        for client in list(self.clients):
            reply = client.read()
            assert reply.status == 200, reply
            self.count += 1
            if (reply.header("Connection") or "").lower() == "close":
                assert client.at_end()
                client.close()
                self.clients.remove(client)
        if self.count > 50:
            self.started.set()

    def end(self):
        self.thread.join(20)
        assert not self.thread.is_alive(), "the load hangs"
        assert not self.faults, self.faults


@pytest.mark.parametrize("lane_option", ("auto", "light", "heavy"))
@pytest.mark.parametrize("target", ("/", "/text"))
def test_a_stop_under_load_truncates_nothing_and_resets_nobody(serve, lane_option, target):
    for _ in range(9):
        server = serve(APP, "--lane", lane_option, "--threads", "2")
        loads = [Load(server, 4, target) for _ in range(2)]
        for load in loads:
            load.started.wait(20)
        server.send_signal(signal.SIGTERM)
        for load in loads:
            load.end()
        assert server.stop() == 0


def test_connections_that_wait_to_be_accepted_are_served_before_the_end(serve, lane):
    server = serve(APP, "--lane", lane, "--threads", "2")
    assert server.get("/").status == 200
    with crowd(server, 10) as accepted:
        settled(server, accepted)
        with standstill(server):
            waiting = [server.client() for _ in range(150)]
            for client in waiting + accepted:
                client.send(message("GET", "/text"))
            server.send_signal(signal.SIGTERM)
        for client in waiting + accepted:
            reply = client.read()
            assert (reply.status, len(reply.body)) == (200, 20000)
            assert client.at_end()
            client.close()
    assert server.stop() == 0


def test_a_sleeping_request_is_finished_before_the_end(serve, lane):
    server = serve(APP, "--lane", lane, *ADMIN)
    with crowd(server, 5) as clients:
        settled(server, clients)
        for client in clients:
            client.send(message("GET", "/sleep?s=1"))
        server.send_signal(signal.SIGTERM)
        for client in clients:
            reply = client.read()
            assert reply.text == "slept"
            assert reply.header("Connection").lower() == "close"
    assert server.stop() == 0


def test_a_running_request_is_finished_before_the_end(serve, lane):
    server = serve(APP, "--lane", lane)
    with server.client() as client:
        client.get("/")
        client.send(message("GET", "/busy?s=0.5"))
        server.send_signal(signal.SIGTERM)
        assert client.read().text == "done"
    assert server.stop() == 0


def test_a_reply_that_is_being_read_is_finished_before_the_end(serve, lane):
    app = APP + '\nfunction api.large.get(ctx) return string.rep("0123456789", 800000) end\n'
    server = serve(app, "--lane", lane, *ADMIN)
    with server.client() as client:
        client.send(message("GET", "/large"))
        first = client.socket.recv(1000)
        server.send_signal(signal.SIGTERM)
        server.until(lambda: is_draining(server))
        client.buffer = first
        assert len(client.read().body) == 8000000
    assert server.stop() == 0


@pytest.mark.parametrize("number", (signal.SIGTERM, signal.SIGINT))
def test_a_signal_stops_an_idle_server_with_0(serve, number):
    server = serve(APP, "--threads", "3")
    with crowd(server, 5) as clients:
        settled(server, clients)
        assert server.stop(number) == 0
        for client in clients:
            assert client.at_end()


def test_a_signal_right_after_the_start_stops_it(serve):
    for _ in range(10):
        server = serve(APP, "--threads", "2")
        assert server.stop() == 0


def test_no_connection_is_taken_after_the_drain_began(serve):
    server = serve(APP, *ADMIN)
    with server.client() as sleeper:
        sleeper.get("/")
        sleeper.send(message("GET", "/sleep?s=1"))
        server.send_signal(signal.SIGTERM)

        def is_refused():
            try:
                with Client(server.address) as client:
                    client.get("/")
            except (ConnectionError, EOFError):
                return True
            return False

        server.until(is_refused)
        assert sleeper.read().text == "slept"
    assert server.stop() == 0


def test_a_second_signal_cuts_off_what_sleeps(serve, lane):
    server = serve(APP, "--lane", lane, *ADMIN)
    server.expected_code = 4
    with server.client() as client:
        client.get("/")
        client.send(message("GET", "/sleep?s=60"))
        with server.client() as other:  # its reply says that the sleeper was read before
            other.get("/")
        server.send_signal(signal.SIGTERM)
        server.until(lambda: is_draining(server))
        server.send_signal(signal.SIGTERM)
        reply = client.read()
        assert reply.status == 503
        assert reply.header("Connection").lower() == "close"
        assert client.at_end()
    assert server.wait() == 4


def test_a_grace_that_ends_cuts_off_what_sleeps(serve, lane):
    server = serve(APP, "--lane", lane, "--grace", "0.3")
    server.expected_code = 4
    with crowd(server, 20) as clients:
        settled(server, clients)
        for client in clients:
            client.send(message("GET", "/sleep?s=60"))
        start = time.monotonic()
        server.send_signal(signal.SIGTERM)
        for client in clients:
            assert client.read().status == 503
            assert client.at_end()
        assert time.monotonic() - start >= 0.3
    assert server.wait() == 4


def test_a_handler_that_never_ends_does_not_keep_the_server(serve, lane):
    server = serve(APP, "--lane", lane, "--grace", "0.2")
    server.expected_code = 4
    with server.client() as client:
        client.get("/")
        client.send(message("GET", "/stuck"))
        assert server.stop() == 4
    assert "still running" in server.log.text


def test_a_half_sent_request_does_not_keep_the_server(serve):
    server = serve(APP)
    with crowd(server, 3) as clients:
        settled(server, clients)
        clients[0].send(b"GET / HTTP/1.1\r\nHo")
        clients[1].send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nab")
        assert server.stop() == 0
