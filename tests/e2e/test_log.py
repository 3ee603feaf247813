"""The log: access lines, print, levels, text and JSON."""

import json
import re

import pytest

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
APP = """
    function api.get(ctx) return "hello" end
    function api.users.p_id.get(ctx) return nil, 404 end
    function api.say.get(ctx) print("said", ctx:query().what, nil, 1.5, true) return ctx.id end
    function api.lines.get(ctx) print(ctx:query().what) end
    function api.fail.get(ctx) error("went wrong") end
    function api.body.post(ctx) return ctx:body() end
"""


def finished(server):
    """The log of a server that has stopped, all of it."""
    assert server.stop() == 0
    return server.log.lines


def records(server):
    return [json.loads(line) for line in finished(server)]


def test_access_log_is_off_unless_asked_for(serve):
    server = serve(APP)
    server.get("/")
    assert finished(server) == []


def test_an_access_line_tells_the_request_and_its_reply(serve):
    server = serve(APP, "--access-log")
    server.get("/?a=%20b")
    server.get("/users/7", {"X-Request-Id": "req-7"})
    server.post("/body", "12345")
    lines = finished(server)
    assert len(lines) == 3
    assert re.fullmatch(TIME + r' ACCESS 127\.0\.0\.1 "GET /\?a=%20b HTTP/1\.1" 200 5 \d+\.\d{3}ms /', lines[0])
    assert re.fullmatch(TIME + r' ACCESS (\[req-7\] )?127\.0\.0\.1 "GET /users/7 HTTP/1\.1" 404 0 \S+ms /users/:id',
                        lines[1])
    assert re.fullmatch(TIME + r' ACCESS 127\.0\.0\.1 "POST /body HTTP/1\.1" 200 5 \S+ms /body', lines[2])


def test_access_lines_tell_of_what_the_server_answered_itself(serve):
    server = serve(APP, "--access-log")
    for method, target, status in [("GET", "/nowhere", 404), ("DELETE", "/", 405), ("TRACE", "/", 501),
                                   ("GET", "/%", 400)]:
        assert server.ask(method, target).status == status
    lines = finished(server)
    assert [re.search(r'" (\d+) ', line)[1] for line in lines] == ["404", "405", "501", "400"]
    assert all(line.endswith(" -") for line in lines)


def test_an_access_record_in_json(serve):
    server = serve(APP, "--access-log", "--log-format", "json")
    server.get('/users/a"b?x', {"X-Request-Id": "r1"})
    server.ask("HEAD", "/")
    first, second = records(server)
    assert re.fullmatch(TIME, first.pop("time"))
    assert first.pop("duration_ms") >= 0
    first.pop("request_id", None)
    assert first == {"level": "access", "ip": "127.0.0.1", "method": "GET", "target": '/users/a"b?x',
                     "route": "/users/:id", "version": "1.1", "status": 404, "bytes": 0}
    assert (second["method"], second["bytes"], second["route"]) == ("HEAD", 0, "/")


def test_a_slept_duration_is_in_the_access_line(serve):
    server = serve("function api.get() sleep(0.05) return 1 end", "--access-log", "--log-format", "json")
    server.get("/")
    assert records(server)[0]["duration_ms"] >= 50


def test_print_goes_to_the_log_with_the_request_id(serve):
    server = serve(APP)
    assert server.get("/say?what=this", {"X-Request-Id": "abc"}).text == "abc"
    made = server.get("/say?what=that").text
    lines = finished(server)
    assert re.fullmatch(TIME + r" INFO  \[abc\] said\tthis\tnil\t1\.5\ttrue", lines[0])
    assert re.fullmatch(TIME + rf" INFO  \[{made}\] said\tthat\tnil\t1\.5\ttrue", lines[1])


def test_print_in_json_has_the_request_id(serve):
    server = serve("print('loading')" + APP, "--log-format", "json")
    server.get("/say?what=th%22is", {"X-Request-Id": "abc"})
    record = records(server)[-1]
    assert (record["level"], record["request_id"], record["message"]) == ("info", "abc", 'said\tth"is\tnil\t1.5\ttrue')


def test_print_while_loading_is_logged(serve):
    server = serve("print('loading', 1)" + APP)
    server.log.wait(r"INFO  loading\t1$")


def test_errors_are_logged_with_route_request_id_and_traceback(serve):
    server = serve(APP, "--log-format", "json")
    server.get("/fail", {"X-Request-Id": "abc"})
    record, = records(server)
    assert (record["level"], record["request_id"]) == ("error", "abc")
    assert record["message"].startswith("GET /fail: ") and "app.lua:6: went wrong" in record["message"]
    assert "stack traceback" in record["message"]


def test_what_a_client_sends_cannot_forge_a_line(serve):
    server = serve(APP, "--access-log")
    forged = "x%0A2026-01-01T00:00:00.000Z%20ERROR%20forged%1B[31m"
    server.get("/lines?what=" + forged)
    server.get("/none", {"X-Request-Id": "a]\tb"})
    lines = finished(server)
    assert not any(line.startswith("2026-01-01T00:00:00.000Z") for line in lines)
    assert "\x1b" not in "".join(lines)
    assert sum("forged" in line and line.startswith("    ") for line in lines) == 1


def test_json_log_lines_stay_json_whatever_is_printed(serve):
    server = serve(r"""
        function api.get() print('a"\\\n\0\x1b\x7f', "\xff\xc0\x80", "\u{2028}é") end
    """, "--log-format", "json", "--access-log")
    server.get("/%22%5C")
    server.get("/")
    got = records(server)
    assert got[1]["message"].startswith('a"\\\n\0\x1b')


@pytest.mark.parametrize("level, seen", [("error", {"error"}), ("warn", {"error"}), ("info", {"error", "info"}),
                                         ("debug", {"error", "info"})])
def test_log_level_is_the_least_that_is_logged(serve, level, seen):
    server = serve(APP, "--log-level", level, "--log-format", "json")
    server.get("/say?what=x")
    server.get("/fail")
    assert {record["level"] for record in records(server)} - {"debug"} == seen


def test_a_very_long_line_is_cut_and_says_so(serve):
    server = serve("function api.get() print(('x'):rep(10 * 1024 * 1024)) return 1 end")
    assert server.get("/").status == 200
    line, = finished(server)
    assert len(line) < 1024 * 1024
    assert "more)" in line


def test_a_log_that_cannot_be_written_does_not_stop_the_server(serve):
    server = serve(APP, "--access-log", under=("sh", "-c", 'exec "$0" "$@" 2>/dev/full'))
    for _ in range(20):
        assert server.get("/").text == "hello"


def test_lines_of_many_requests_come_whole(serve):
    server = serve(APP, "--access-log", "--threads", "2")
    clients = [server.client() for _ in range(4)]
    try:
        for n in range(200):
            assert clients[n % 4].get(f"/?n={n}").status == 200
    finally:
        for client in clients:
            client.close()
    lines = finished(server)
    whole = re.compile(TIME + r' ACCESS \S+ "GET /\?n=(\d+) HTTP/1\.1" 200 5 \S+ms /')
    found = [int(whole.fullmatch(line)[1]) for line in lines]
    assert sorted(found) == list(range(200))
