"""Which thread a handler runs on, and what happens when there are not enough of them."""

import os
import signal
import time

import pytest

from crowd import crowd, gauge, settled, standstill
from poolsrv import message

ADMIN = ("--admin", "127.0.0.1:0")

# `burn` holds its thread for some milliseconds. os.clock() counts all threads: burn on one at a time.
APP = """
    local function burn(ms)
        local till = os.clock() + ms / 1000
        while os.clock() < till do end
    end
    local function block(s) os.execute("sleep " .. s) end
    function api.get(ctx) return "hello" end
    function api.block.get(ctx) block(ctx:query().s) return "blocked" end
    function api.gate.get(ctx)
        assert(io.open(ctx:query().fifo)):close()
        return "through"
    end
    function api.burn.get(ctx) burn(tonumber(ctx:query().ms)) return "burnt" end
    function api.sleep.get(ctx) sleep(tonumber(ctx:query().s)) return "slept" end
    api.pinned.get = api.heavy(function(ctx) return "pinned" end)
"""


def lane_of(server, route):
    lanes = [lane for lane in ("light", "heavy")
             if gauge(server, f'poolsrv_lane{{route="{route}",method="GET",lane="{lane}"}}') == 1]
    assert len(lanes) == 1, lanes
    return lanes[0]


def reason_of(server, route):
    prefix = f'poolsrv_lane_reason{{route="{route}",method="GET",lane="'
    lines = [line[len(prefix):] for line in server.admin("/metrics").text.splitlines() if line.startswith(prefix)]
    assert len(lines) == 1, lines
    lane, _, rest = lines[0].partition('",reason="')
    assert rest.endswith('"} 1') and lane == lane_of(server, route)
    return rest[:-4]


@pytest.fixture
def gate(tmp_path):
    """A pipe that handlers of /gate?fifo=PATH wait for, in a system call, until it is opened."""
    path = tmp_path / "gate"
    os.mkfifo(path)

    class Gate:
        target = f"/gate?fifo={path}"

        @staticmethod
        def open():
            """Let through who waits, and who comes while it is open."""
            return os.fdopen(os.open(path, os.O_WRONLY), "wb")

    return Gate


def drive_to_light(server, client):
    def again():
        for _ in range(20):
            assert client.get("/burn?ms=0").text == "burnt"
        return lane_of(server, "/burn") == "light"
    server.until(again)


def test_a_route_becomes_light_and_heavy_and_light_by_its_run_times(serve):
    server = serve(APP, "--lane", "auto", *ADMIN)
    with server.client() as client:
        assert lane_of(server, "/burn") == "heavy"
        assert reason_of(server, "/burn") == "new"
        drive_to_light(server, client)
        assert reason_of(server, "/burn") == "short"
        client.get("/burn?ms=20")
        assert lane_of(server, "/burn") == "heavy"
        assert reason_of(server, "/burn") == "slow"
        for _ in range(30):
            client.get("/burn?ms=3")
        assert lane_of(server, "/burn") == "heavy"
        drive_to_light(server, client)
        assert gauge(server, 'poolsrv_lane_demotions_total{route="/burn",method="GET"}') >= 1


def test_a_route_that_blocks_becomes_heavy_and_says_so(serve):
    server = serve(APP + """
        function api.either.get(ctx) if ctx:query().s then block(ctx:query().s) end return "done" end
    """, "--lane", "auto", *ADMIN)
    with server.client() as client:
        def again():
            for _ in range(20):
                assert client.get("/either").text == "done"
            return lane_of(server, "/either") == "light"
        server.until(again)
        assert client.get("/either?s=0.05").text == "done"
        assert lane_of(server, "/either") == "heavy"
        assert reason_of(server, "/either") == "blocked"


def test_metrics_say_how_long_a_route_has_been_in_its_lane(serve):
    server = serve(APP, "--lane", "auto", *ADMIN)
    name = 'poolsrv_lane_since_seconds{route="/burn",method="GET"}'
    with server.client() as client:
        server.until(lambda: gauge(server, name) > 0.05)
        before = gauge(server, name)
        assert gauge(server, name) >= before
        drive_to_light(server, client)
        changed = gauge(server, name)
        server.until(lambda: gauge(server, name) > changed)


def test_time_asleep_does_not_make_a_route_heavy(serve):
    server = serve(APP, "--lane", "auto", *ADMIN)
    with server.client() as client:
        def again():
            assert client.get("/sleep?s=0.01").text == "slept"
            return lane_of(server, "/sleep") == "light"
        server.until(again)


def test_a_pinned_route_stays_heavy(serve):
    server = serve(APP, "--lane", "auto", *ADMIN)
    with server.client() as client:
        for _ in range(100):
            assert client.get("/pinned").text == "pinned"
    assert lane_of(server, "/pinned") == "heavy"
    assert reason_of(server, "/pinned") == "pinned"


@pytest.mark.parametrize("lane", ("light", "heavy"))
def test_the_option_puts_every_route_in_its_lane(serve, lane):
    server = serve(APP, "--lane", lane, *ADMIN)
    with server.client() as client:
        for _ in range(50):
            client.get("/")
        client.get("/burn?ms=20")
    assert lane_of(server, "/") == lane
    assert lane_of(server, "/burn") == lane
    assert reason_of(server, "/burn") == "option"


def test_a_long_handler_does_not_hold_up_a_light_route_of_the_same_worker(serve):
    server = serve(APP, "--lane", "auto", *ADMIN)
    with server.client() as fast, server.client() as slow:
        def again():
            for _ in range(20):
                fast.get("/")
            return lane_of(server, "/") == "light"
        server.until(again)
        slow.send(message("GET", "/burn?ms=800"))
        slow.socket.setblocking(False)
        for _ in range(20):
            assert fast.get("/").text == "hello"
        with pytest.raises(BlockingIOError):
            slow.socket.recv(1)
        slow.socket.settimeout(20)
        assert slow.read().text == "burnt"


def test_more_than_max_queue_waiting_requests_get_503_at_once(serve):
    server = serve(APP, "--lane", "heavy", "--max-queue", "4", *ADMIN)
    with crowd(server, 30) as clients, server.client() as burner:
        for client in clients:
            assert client.get("/").status == 200
        burner.send(message("GET", "/burn?ms=1500"))
        server.until(lambda: gauge(server, "poolsrv_connections") == 31)
        start = time.monotonic()
        with standstill(server):
            for client in clients:
                client.send(message("GET", "/"))
        refused = []
        for client in clients:
            client.socket.settimeout(0.2)
            try:
                refused.append(client.read())
            except TimeoutError:
                pass
        in_time = time.monotonic() - start < 1.4
        assert all(reply.status == 503 and int(reply.header("Retry-After")) >= 1 for reply in refused
                   if reply.status != 200)
        if in_time:
            assert len([reply for reply in refused if reply.status == 503]) in (26, 27)
        assert burner.read().text == "burnt"
    assert server.get("/").status == 200


def test_a_handler_that_sleeps_too_long_is_ended_with_503(serve):
    for lane in ("light", "heavy"):
        server = serve(APP, "--lane", lane, "--handler-timeout", "0.3")
        with server.client() as client:
            start = time.monotonic()
            reply = client.get("/sleep?s=60")
            took = time.monotonic() - start
            assert reply.status == 503
            assert 0.3 <= took < 15
            assert reply.json()["status"] == 503
            assert client.get("/sleep?s=0.01").text == "slept"


def test_heavy_routes_of_many_workers_share_the_heavy_threads(serve):
    server = serve(APP, "--lane", "heavy", "--threads", "3", "--heavy-threads", "2")
    with crowd(server, 60) as clients:
        settled(server, clients)
        with standstill(server):
            for client in clients:
                client.send(message("GET", "/sleep?s=0.1") * 3)
        for client in clients:
            assert [client.read().text for _ in range(3)] == ["slept"] * 3


def test_blocking_handlers_are_answered_by_more_threads_and_those_end(serve, gate):
    server = serve(APP, "--heavy-threads", "1", "--max-heavy", "8", *ADMIN)
    with crowd(server, 8) as clients:
        for client in clients:
            client.send(message("GET", gate.target))
        server.until(lambda: gauge(server, "poolsrv_heavy_busy") == 8)
        assert gauge(server, 'poolsrv_heavy_threads{state="running"}') == 8
        assert gauge(server, 'poolsrv_heavy_threads{state="max"}') == 8
        with gate.open():
            for client in clients:
                assert client.read().text == "through"
    assert gauge(server, "poolsrv_heavy_busy") == 0
    server.until(lambda: gauge(server, 'poolsrv_heavy_threads{state="running"}') == 1)
    assert server.get("/pinned").text == "pinned"


def test_the_heavy_lane_goes_on_while_handlers_of_it_block(serve, gate):
    server = serve(APP, "--heavy-threads", "2", *ADMIN)
    with crowd(server, 5) as clients:
        for client in clients:
            client.send(message("GET", gate.target))
        for _ in range(5):
            assert server.get("/pinned").text == "pinned"
        server.until(lambda: gauge(server, "poolsrv_heavy_busy") >= 5)
        assert reason_of(server, "/gate") == "new"
        with gate.open():
            for client in clients:
                assert client.read().text == "through"
        assert reason_of(server, "/gate") == "blocked"


def test_a_stop_waits_for_blocked_handlers_on_all_threads(serve, gate):
    server = serve(APP, "--heavy-threads", "1", "--max-heavy", "4", *ADMIN)
    with crowd(server, 4) as clients:
        for client in clients:
            client.send(message("GET", gate.target))
        server.until(lambda: gauge(server, "poolsrv_heavy_busy") == 4)
        server.send_signal(signal.SIGTERM)
        server.until(lambda: server.admin("/readyz").status == 503)
        with gate.open():
            for client in clients:
                assert client.read().header("Connection") == "close"
    assert server.wait() == 0


def test_a_request_whose_wait_is_expected_to_be_too_long_gets_503_at_once(serve, gate):
    server = serve(APP, "--heavy-threads", "1", "--max-heavy", "1", "--max-wait", "0.05", "--lane", "heavy", *ADMIN)
    with server.client() as client, server.client() as first:
        # What is expected is learnt from what was: this takes 0.3 s, several times what may be waited.
        assert client.get("/block?s=0.3").text == "blocked"
        first.send(message("GET", gate.target))
        server.until(lambda: gauge(server, "poolsrv_heavy_busy") == 1)
        assert gauge(server, "poolsrv_heavy_expected_wait_seconds") > 0.05
        reply = client.get("/block?s=0.3")
        assert reply.status == 503
        assert int(reply.header("Retry-After")) >= 1
        assert gauge(server, "poolsrv_heavy_waiting") == 0
        with gate.open():
            assert first.read().text == "through"
        # Nobody is before it now, so it does not matter how long it takes.
        assert client.get("/block?s=0.3").text == "blocked"


def test_a_request_that_has_waited_too_long_is_answered_while_all_heavy_threads_are_held(serve, gate, tmp_path):
    server = serve(APP + """
        api.touch.get = function(ctx) assert(io.open(ctx:query().path, "w")):close() return "touched" end
    """, "--heavy-threads", "1", "--max-heavy", "1", "--max-wait", "1", "--lane", "heavy", *ADMIN)
    with server.client() as client, server.client() as first:
        first.send(message("GET", gate.target))
        server.until(lambda: gauge(server, "poolsrv_heavy_busy") == 1)
        asked = time.monotonic()
        client.send(message("GET", f"/touch?path={tmp_path}/touched"))
        reply = client.read()
        assert (reply.status, reply.header("Retry-After")) == (503, "1")
        assert 1 <= time.monotonic() - asked < 10
        assert gauge(server, "poolsrv_heavy_waiting") == 0
        assert gauge(server, "poolsrv_heavy_busy") == 1
        with gate.open():
            assert first.read().text == "through"
    assert not (tmp_path / "touched").exists()


def test_max_heavy_below_heavy_threads_is_a_usage_error(run_app):
    done = run_app("function api.get() end", "--heavy-threads", "4", "--max-heavy", "3")
    assert done.returncode == 2
    assert "max_heavy = 3" in done.stderr
