"""The admin address: /healthz, /readyz, /metrics."""

import re
import time

import pytest

import poolsrv
from poolsrv import message

ADMIN = ("--admin", "127.0.0.1:0")
APP = """
    function api.get(ctx) return "ok" end
    function api.users.p_id.get(ctx)
        local q = ctx:query()
        return { id = ctx:params().id, method = ctx.method, q = q }
    end
    function api.users.p_id.post(ctx) return nil, 201 end
    function api.fail.get() error("x") end
    function api.slow.get(ctx) print("slow began") sleep(tonumber(ctx:query().s)) return "slept" end
    api.pinned.get = api.heavy(function() return "heavy" end)
"""
SAMPLE = re.compile(r'([a-z_:][a-z0-9_:]*)(?:\{(.*)\})? (-?[0-9.e+-]+|\+Inf|NaN)')
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\\n]|\\["\\n])*)"')


def unescaped(value):
    return re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m[1], m[1]), value)


def parse(text):
    """The samples of Prometheus's text format, {(name, frozenset of labels): value}, and the types by name."""
    samples, types = {}, {}
    assert text.endswith("\n")
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            assert len(line.split(" ", 3)) == 4
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in types and kind in ("counter", "gauge", "histogram"), line
            types[name] = kind
        else:
            found = SAMPLE.fullmatch(line)
            assert found, line
            labels = LABEL.findall(found[2] or "")
            assert ",".join(f'{name}="{value}"' for name, value in labels) == (found[2] or ""), line
            family = re.sub(r"_(bucket|sum|count)$", "", found[1])
            assert found[1] in types or types.get(family) == "histogram", line
            key = (found[1], frozenset((name, unescaped(value)) for name, value in labels))
            assert key not in samples, line
            samples[key] = float(found[3])
    return samples, types


def metrics(server):
    reply = server.admin("/metrics")
    assert reply.status == 200
    assert reply.header("Content-Type").startswith("text/plain; version=0.0.4")
    return parse(reply.text)[0]


def sample(samples, name, **labels):
    return samples.get((name, frozenset(labels.items())))


def counted(server, **labels):
    """How many requests /metrics knows with these labels; a reply may reach us before it is counted."""
    return sample(metrics(server), "poolsrv_http_requests_total", **labels) or 0


def test_healthz_and_readyz_answer(serve):
    server = serve(APP, *ADMIN)
    assert server.admin_address != server.address
    assert (server.admin("/healthz").status, server.admin("/healthz").text) == (200, "ok")
    assert server.admin("/readyz").status == 200
    assert server.admin("/").status == 404
    reply = server.admin("/healthz", "POST")
    assert (reply.status, reply.header("Allow")) == (405, "GET, HEAD")
    assert server.admin("/healthz", "HEAD").status == 200


def test_the_apps_port_does_not_serve_the_admin_pages(serve):
    server = serve(APP, *ADMIN)
    assert server.get("/metrics").status == 404
    assert server.get("/healthz").status == 404


def test_readyz_is_503_while_draining_and_healthz_is_not(serve, tmp_path):
    enough = tmp_path / "enough"
    server = serve("""
        function api.slow.get()
            print("slow began")
            repeat sleep(0.01) until io.open(os.getenv("ENOUGH"))
            return "finished"
        end
    """, *ADMIN, env={"ENOUGH": str(enough)})
    with server.client() as client:
        client.send(message("GET", "/slow"))
        server.log.wait("slow began")
        server.process.terminate()
        server.until(lambda: server.admin("/readyz").status == 503)
        assert server.admin("/healthz").status == 200
        enough.touch()
        assert client.read().text == "finished"
    assert server.wait() == 0


def test_admin_answers_while_the_only_worker_is_busy(serve, tmp_path):
    enough = tmp_path / "enough"
    server = serve("""
        function api.busy.get()
            print("busy began")
            repeat local file = io.open(os.getenv("ENOUGH")) until file
            return "done"
        end
    """, *ADMIN, "--lane", "light", env={"ENOUGH": str(enough)})
    with server.client() as client:
        client.send(message("GET", "/busy"))
        server.log.wait("busy began")
        try:
            assert server.admin("/healthz").status == 200
            assert server.admin("/metrics").status == 200
        finally:
            enough.touch()
        assert client.read().text == "done"


def test_metrics_are_good_exposition_text(serve):
    server = serve(APP, *ADMIN)
    server.get("/users/1?x=1")
    samples, types = parse(server.admin("/metrics").text)
    for name, kind in [("poolsrv_http_requests_total", "counter"),
                       ("poolsrv_http_request_duration_seconds", "histogram"),
                       ("poolsrv_queue_wait_seconds", "histogram"), ("poolsrv_ring_depth", "gauge"),
                       ("poolsrv_lane", "gauge"), ("poolsrv_context_field_reads_total", "counter")]:
        assert types[name] == kind
    assert samples


def test_requests_are_counted_by_route_pattern_method_and_status(serve):
    server = serve(APP, *ADMIN, "--threads", "2")
    for i in range(5):
        server.get(f"/users/{i}")
        server.post(f"/users/{i}", "x")
        server.get(f"/nowhere/{i}")
    server.get("/fail")
    server.ask("DELETE", "/users/1")
    for labels, n in [(dict(route="/users/:id", method="GET", status="200"), 5),
                      (dict(route="/users/:id", method="POST", status="201"), 5),
                      (dict(route="/fail", method="GET", status="500"), 1)]:
        server.until(lambda labels=labels, n=n: counted(server, **labels) == n)
    samples = metrics(server)
    names = {value for key, _ in samples.items() for label, value in key[1] if label == "route"}
    assert not any("nowhere" in name or name == "/users/1" for name in names)
    statuses = [(dict(key[1]), n) for key, n in samples.items() if key[0] == "poolsrv_http_requests_total"]
    assert sum(n for labels, n in statuses if labels["status"] == "404") == 5
    assert sum(n for labels, n in statuses if labels["status"] == "405") == 1


def test_durations_are_histograms_that_add_up(serve):
    server = serve(APP, *ADMIN)
    for _ in range(3):
        server.get("/slow?s=0.03")
    server.until(lambda: counted(server, route="/slow", method="GET", status="200") == 3)
    samples = metrics(server)
    name = "poolsrv_http_request_duration_seconds"
    assert sample(samples, name + "_count", route="/slow", method="GET") == 3
    assert sample(samples, name + "_sum", route="/slow", method="GET") >= 0.09
    buckets = sorted((float(dict(key[1])["le"]), n) for key, n in samples.items()
                     if key[0] == name + "_bucket" and ("route", "/slow") in key[1])
    assert [n for _, n in buckets] == sorted(n for _, n in buckets)
    assert buckets[-1] == (float("inf"), 3)
    assert all(n == 0 for le, n in buckets if le < 0.03)
    assert sample(samples, "poolsrv_queue_wait_seconds_count") >= 3


def test_durations_of_one_path_are_told_apart_by_their_handler(serve):
    server = serve(APP, *ADMIN)
    server.get("/users/1")
    server.ask("HEAD", "/users/1")
    server.post("/users/1", "x")
    server.get("/nowhere")
    name = "poolsrv_http_request_duration_seconds_count"
    for labels, n in [(dict(route="/users/:id", method="GET"), 2), (dict(route="/users/:id", method="POST"), 1),
                      (dict(route="none", method="none"), 1)]:
        server.until(lambda labels=labels, n=n: sample(metrics(server), name, **labels) == n)


def test_start_readiness_and_each_workers_memory_are_shown(serve):
    before = time.time()
    server = serve(APP, *ADMIN, "--threads", "2")
    samples = metrics(server)
    assert sample(samples, "poolsrv_ready") == 1
    assert before - 1 <= sample(samples, "poolsrv_start_time_seconds") <= time.time() + 1
    for worker in "01":
        assert sample(samples, "poolsrv_worker_vm_bytes", worker=worker) > 10000
    assert sample(samples, "poolsrv_vm_bytes") > sum(
        sample(samples, "poolsrv_worker_vm_bytes", worker=worker) for worker in "01"), "heavy threads have VMs too"


def test_what_the_server_answers_itself_takes_its_time_too(serve):
    server = serve(APP, *ADMIN)
    for _ in range(3):
        assert server.get("/nowhere").status == 404
    server.until(lambda: counted(server, route="none", method="GET", status="404") == 3)
    assert sample(metrics(server), "poolsrv_http_request_duration_seconds_sum", route="none", method="none") > 0


def test_context_fields_that_handlers_read_are_counted(serve):
    server = serve(APP, *ADMIN)
    for _ in range(4):
        server.get("/users/1")
    server.get("/")
    server.until(lambda: counted(server, route="/users/:id", method="GET", status="200") == 4)
    samples = metrics(server)
    for field in ("query", "params", "method"):
        assert sample(samples, "poolsrv_context_field_reads_total", route="/users/:id", field=field) == 4
    for field in ("headers", "body", "path"):
        assert not sample(samples, "poolsrv_context_field_reads_total", route="/users/:id", field=field)


@pytest.mark.parametrize("lane", ["light", "heavy"])
def test_lanes_are_shown_by_route(serve, lane):
    samples = metrics(serve(APP, *ADMIN, "--lane", lane))
    lanes = [dict(labels) for (name, labels), n in samples.items() if name == "poolsrv_lane" and n == 1]
    shown = {labels["route"]: labels["lane"] for labels in lanes}
    assert set(shown) == {"/", "/users/:id", "/fail", "/slow", "/pinned"}
    assert shown["/"] == lane


def test_rings_are_shown_by_worker(serve):
    samples = metrics(serve(APP, *ADMIN, "--threads", "2"))
    workers = {dict(key[1])["worker"] for key in samples if key[0] == "poolsrv_ring_depth"}
    assert workers == {"0", "1"}


def test_counts_go_on_over_a_reload(serve):
    text = "function api.get() return '{}' end"
    server = serve(text.format("one"), *ADMIN, "--dev")
    for _ in range(3):
        server.get("/")
    poolsrv.replace(server.app, text.format("two"))
    seen = 3

    def reloaded():
        nonlocal seen
        seen += 1
        return server.get("/").text == "two"

    server.until(reloaded)
    server.until(lambda: counted(server, route="/", method="GET", status="200") == seen)


def test_odd_bytes_in_a_route_are_escaped(serve):
    server = serve(r"""api['a"b\\c'].get = function() return 1 end""", *ADMIN)
    assert server.get("/a%22b%5Cc").status == 200
    server.until(lambda: any('a"b' in value or "%22" in value for key in metrics(server) for _, value in key[1]))
