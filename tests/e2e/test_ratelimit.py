"""poolsrv.limit: rates by address, header and key, over all threads. Buckets here fill too slowly to matter."""

import socket
import threading
import time
from collections import Counter

import poolsrv

SLOW = "{ rate = 0.001, burst = 5 }"
LIMIT = 'local limit = require "poolsrv.limit"\n'


def client_from(server, host):
    """A connection from an address of the loopback's own."""
    client = poolsrv.Client(server.address)
    client.close()
    client.socket = socket.create_connection(server.address, poolsrv.DEADLINE_S, (host, 0))
    return client


def statuses(server, n, target="/", headers=(), host="127.0.0.1"):
    with client_from(server, host) as client:
        return Counter(client.get(target, headers).status for _ in range(n))


def test_a_burst_passes_and_the_rest_gets_429(serve):
    server = serve(LIMIT + f"api.before = limit.by_address {SLOW} function api.get() return 'in' end")
    assert [server.get("/").status for _ in range(5)] == [200] * 5
    reply = server.get("/")
    assert reply.status == 429
    assert 900 <= int(reply.header("Retry-After")) <= 1000
    assert reply.json()["error"] == f"Too many requests; try again in {reply.header('Retry-After')} seconds"
    assert statuses(server, 6, host="127.0.0.2") == {200: 5, 429: 1}


def test_strict_mode_has_them_too(serve):
    server = serve(LIMIT + f"api.before = limit.by_address {SLOW} function api.get() return 'in' end", "--sandbox", "strict")
    assert statuses(server, 7) == {200: 5, 429: 2}


def test_mistakes_in_strict_mode_name_the_line(app_problem):
    found = app_problem(LIMIT + "limit.by_address { rate = 0 }", "--sandbox", "strict")
    assert "app.lua:2: limit.by_address: rate = 0" in found


def test_it_fills_again(serve):
    server = serve(LIMIT + "api.before = limit.by_address { rate = 20, burst = 1 } function api.get() end")
    begin = time.monotonic()
    passed = 0
    while passed < 5:
        passed += server.get("/").status == 204
    assert time.monotonic() - begin >= 4 / 20


def test_threads_and_lanes_share_the_buckets(serve):
    server = serve(LIMIT + f"""
        api.before = limit.by_address {SLOW}
        function api.get() end
        api.heavy_one.get = api.heavy(function() end)
    """, "--threads", "4", "--heavy-threads", "3")
    found, lock = Counter(), threading.Lock()

    def ask(target):
        mine = Counter()
        for _ in range(10):
            mine += statuses(server, 1, target)
        with lock:
            found.update(mine)

    threads = [threading.Thread(target=ask, args=(target,)) for target in ("/", "/heavy_one") * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {204: 5, 429: 75}


def test_a_header_has_its_bucket_and_who_sends_none_that_of_the_address(serve):
    server = serve(LIMIT + f"api.before = limit.by_header('X-Api-Key', {SLOW}) function api.get() end")
    assert statuses(server, 7, headers={"x-api-key": "a"}) == {204: 5, 429: 2}
    assert statuses(server, 7, headers={"X-Api-Key": "a"}, host="127.0.0.2") == {429: 7}
    assert statuses(server, 7, headers={"X-Api-Key": "b"}) == {204: 5, 429: 2}
    assert statuses(server, 7) == {204: 5, 429: 2}
    assert statuses(server, 7, host="127.0.0.2") == {204: 5, 429: 2}
    # The text of an address is not the bucket of that address.
    assert statuses(server, 7, headers={"X-Api-Key": "127.0.0.3"}) == {204: 5, 429: 2}
    assert statuses(server, 1, host="127.0.0.3") == {204: 1}


def test_any_key_and_none(serve):
    server = serve(LIMIT + f"""
        api.before = limit.by(function(ctx) return ctx:query().user end, {SLOW})
        function api.get() end
        api.bad.before = limit.by(function() return {{}} end, {SLOW})
        function api.bad.get() end
    """)
    assert statuses(server, 7, "/?user=ann") == {204: 5, 429: 2}
    assert statuses(server, 7, "/?user=bob") == {204: 5, 429: 2}
    assert statuses(server, 20) == {204: 20}
    assert server.get("/bad").status == 500
    server.log.wait("limit.by: the key is a table; expected a text, a whole number, or nil")


def test_each_limiter_has_its_own_buckets_at_its_node(serve):
    server = serve(LIMIT + f"""
        for _, name in ipairs {{ "a", "b" }} do
            api[name].before = limit.by_address {SLOW}
            api[name].get = function() end
            api[name].below.get = function() end
        end
        function api.get() end
    """)
    assert statuses(server, 6, "/a") == {204: 5, 429: 1}
    assert statuses(server, 1, "/a/below") == {429: 1}
    assert statuses(server, 6, "/b/below") == {204: 5, 429: 1}
    assert statuses(server, 9) == {204: 9}


def test_a_hook_may_go_on_from_it(serve):
    server = serve(LIMIT + f"""
        local slow = limit.by_address {SLOW}
        function api.before(ctx)
            local reply = slow(ctx)
            return reply and reply:header("X-Why", "slow")
        end
        function api.get() end
    """)
    assert statuses(server, 5) == {204: 5}
    assert server.get("/").header("X-Why") == "slow"


def test_ipv6_counts_by_its_64_bits(serve):
    server = serve(LIMIT + f"api.before = limit.by_address {SLOW} function api.get(ctx) return ctx.ip end",
                   "--trust-proxy", "127.0.0.0/8")
    found = [server.get("/", {"X-Forwarded-For": f"2001:db8:0:1::{i}"}).status for i in range(7)]
    assert found == [200] * 5 + [429] * 2
    assert server.get("/", {"X-Forwarded-For": "2001:db8:0:2::1"}).status == 200
    found = [server.get("/", {"X-Forwarded-For": f"192.0.2.{i}"}).status for i in range(7)]
    assert found == [200] * 7


def test_a_unix_socket_is_one_client(serve, tmp_path):
    server = serve(LIMIT + f"api.before = limit.by_address {SLOW} function api.get() end", "--unix", tmp_path / "s")
    assert [server.get("/").status for _ in range(6)] == [204] * 5 + [429]


def test_a_reload_does_not_fill_the_buckets(serve):
    app = LIMIT + f"""
        api.before = limit.by_address {SLOW}
        function api.get() return "LETTER" end
        """
    server = serve(app.replace("LETTER", "a"), "--dev")
    assert statuses(server, 6) == {200: 5, 429: 1}
    server.write_app(app.replace("LETTER", "b"))
    server.log.wait("the app was reloaded")
    assert statuses(server, 3) == {429: 3}
    assert statuses(server, 1, host="127.0.0.2") == {200: 1}


def test_a_name_keeps_the_buckets_wherever_it_stands(serve):
    line = "api.before = limit.by_address { rate = 0.001, burst = 5, name = 'all' } function api.get() end"
    server = serve(LIMIT + line, "--dev")
    assert statuses(server, 6) == {204: 5, 429: 1}
    server.write_app(LIMIT + "\n\n-- lower\n" + line)
    server.log.wait("the app was reloaded")
    assert statuses(server, 3) == {429: 3}


def test_mistakes_name_the_field_and_the_line(app_problem):
    for line, problem in {
        "limit.by_address()": "limit.by_address: expected a table such as { rate = 10, burst = 20 }, not nil",
        "limit.by_address {}": "limit.by_address: rate = nil: expected requests a second",
        "limit.by_address { rate = 0 }": "limit.by_address: rate = 0: expected requests a second",
        "limit.by_address { rate = 0/0 }": "limit.by_address: rate = ",
        "limit.by_address { rate = '5' }": 'limit.by_address: rate = "5": expected requests a second',
        "limit.by_address { rate = 1, burst = 0 }": "limit.by_address: burst = 0: expected a whole number",
        "limit.by_address { rate = 1, burst = 2.5 }": "limit.by_address: burst = 2.5: expected a whole number",
        "limit.by_address { rate = 1e-9, burst = 2 }": "limit.by_address: rate = 1e-09: expected one that fills",
        "limit.by_address { rate = 1, brust = 2 }": "limit.by_address: brust: no such field",
        "limit.by_address { rate = 1, name = 5 }": "limit.by_address: name = 5: expected a text",
        "limit.by_header({ rate = 1 })": "limit.by_header: expected the name of a header",
        "limit.by_header('x')": "limit.by_header: expected a table",
        "limit.by('x', { rate = 1 })": "limit.by: expected a function",
        "limit.by_address { rate = 1, name = 'a' } limit.by_address { rate = 1, name = 'a' }":
            "limit.by_address: name = \"a\": it is taken, at ",
    }.items():
        found = app_problem(LIMIT + "local _ = " + line.replace(" limit.by_address { rate = 1, name = 'a' }",
                                                                 "\n_ = limit.by_address { rate = 1, name = 'a' }"))
        assert problem in found and "app.lua:" in found, (line, found)


def test_a_handler_cannot_make_one(serve):
    server = serve(LIMIT + "function api.get() limit.by_address { rate = 1 } end")
    assert server.get("/").status == 500
    server.log.wait("limiters are made while the app loads, not by a handler")


def test_a_flood_from_one_address_does_not_touch_another(serve):
    server = serve(LIMIT + """
        api.before = limit.by_address { rate = 100, burst = 200 }
        function api.get(ctx) return ctx.id end
    """, "--request-id", *poolsrv.STEADY)
    counts, stop = Counter(), threading.Event()

    def flood():
        with client_from(server, "127.0.0.2") as client:
            while not stop.is_set():
                counts[client.get("/").status] += 1

    threads = [threading.Thread(target=flood) for _ in range(4)]
    with poolsrv.Probe(server):
        for thread in threads:
            thread.start()
        server.until(lambda: counts[429] >= 1000)
        stop.set()
        for thread in threads:
            thread.join()
    assert set(counts) == {200, 429} and counts[200] >= 200
