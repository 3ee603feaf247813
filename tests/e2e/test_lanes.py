"""Which thread a handler runs on, and what happens when there are not enough of them."""

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
    function api.get(ctx) return "hello" end
    function api.burn.get(ctx) burn(tonumber(ctx:query().ms)) return "burnt" end
    function api.sleep.get(ctx) sleep(tonumber(ctx:query().s)) return "slept" end
    api.pinned.get = api.heavy(function(ctx) return "pinned" end)
"""


def lane_of(server, route):
    lanes = [lane for lane in ("light", "heavy")
             if gauge(server, f'poolsrv_lane{{route="{route}",method="GET",lane="{lane}"}}') == 1]
    assert len(lanes) == 1, lanes
    return lanes[0]


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
        drive_to_light(server, client)
        client.get("/burn?ms=20")
        assert lane_of(server, "/burn") == "heavy"
        for _ in range(30):
            client.get("/burn?ms=3")
        assert lane_of(server, "/burn") == "heavy"
        drive_to_light(server, client)


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


@pytest.mark.parametrize("lane", ("light", "heavy"))
def test_the_option_puts_every_route_in_its_lane(serve, lane):
    server = serve(APP, "--lane", lane, *ADMIN)
    with server.client() as client:
        for _ in range(50):
            client.get("/")
        client.get("/burn?ms=20")
    assert lane_of(server, "/") == lane
    assert lane_of(server, "/burn") == lane


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
