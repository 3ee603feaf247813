"""What many requests and many lost clients leave behind: nothing."""

import subprocess

import pytest

import poolsrv

from crowd import descriptors, gauge, rss_bytes, tool, UNDER_SANITIZER

ADMIN = ("--admin", "127.0.0.1:0")
PATIENCE_S = 150
MIB = 1048576

# The keys that a request brings go through every table that a context has.
APP = """
    function api.get(ctx)
        local n = 0
        for name, value in pairs(ctx:query()) do ctx[name] = value n = n + 1 end
        for name, value in pairs(ctx:headers()) do ctx[name .. "!"] = value n = n + 1 end
        return { n = n, id = ctx:header("x-id") }
    end
    function api.echo.post(ctx) return ctx:body() end
    function api.sleep.get(ctx) sleep(0.03) return "slept" end
    function api.large.get(ctx) return string.rep("x", 100000) end
"""


def run(name, server, *args):
    done = subprocess.run([tool(name), str(server.port), *map(str, args)], timeout=PATIENCE_S, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_million_requests_with_keys_of_their_own_leave_memory_flat(serve):
    server = serve(APP, "--lane", "light", *ADMIN)
    count = 30000 if UNDER_SANITIZER else 1000000
    run("requests", server, count // 10)
    before = rss_bytes(server)
    run("requests", server, count)
    if not UNDER_SANITIZER:
        assert rss_bytes(server) - before < 4 * MIB, (before, rss_bytes(server))
    assert server.get("/?a=1").status == 200


def test_mixed_traffic_and_attacks():
    """The short form of load/soak, which says what it looks at."""
    done = subprocess.run([str(poolsrv.ROOT / "load/soak"), "--seconds", "10", "--program", poolsrv.PROGRAM],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=PATIENCE_S, check=False, env=poolsrv.environment())
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("lane", ("light", "heavy"))
def test_clients_that_leave_at_any_point_leave_nothing(serve, lane):
    # A heavy thread that is started meanwhile would keep its descriptors.
    server = serve(APP, "--lane", lane, "--threads", "2", "--heavy-threads", "2", "--max-heavy", "2",
                   "--log-level", "error", *ADMIN)
    count = 100000
    assert server.get("/").status == 200
    idle = descriptors(server)

    def all_gone():
        return gauge(server, "poolsrv_connections") == 0 and descriptors(server) <= idle

    run("disconnect", server, count // 5, 1)
    server.until(all_gone)
    before = rss_bytes(server)
    run("disconnect", server, count, 2)
    server.until(all_gone)
    if not UNDER_SANITIZER:
        assert rss_bytes(server) - before < 8 * MIB, (before, rss_bytes(server))
    assert gauge(server, "poolsrv_heavy_waiting") == 0
    assert server.get("/?a=1").status == 200
