"""load/compare: replies are judged by value, turns are fair, and the reports say what was seen."""

import contextlib
import http.server
import json
import pathlib
import sys
import threading

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "load" / "compare.d"))

from harness import cases, check, figures, goals, options, report, results, schedule, server, tables  # noqa: E402
from harness.measure import Pace  # noqa: E402


# --- replies ---


@pytest.mark.parametrize("a, b", [
    ({"a": 1, "b": [1, {"c": None}]}, {"b": [1, {"c": None}], "a": 1}),
    (3, 3.0),
    ("\u00e9", "\u00e9"),
])
def test_values_in_another_order_or_notation_are_the_same(a, b):
    assert check.same(a, b)


@pytest.mark.parametrize("a, b", [
    (1, True), (0, False), (1, "1"), (None, False), ([1, 2], [2, 1]), ([1], [1, 2]), ({"a": 1}, {"a": 1, "b": 2}),
    ({"a": 1}, {"a": 2}), ({}, []),
])
def test_other_values_and_other_types_are_not(a, b):
    assert not check.same(a, b)


@contextlib.contextmanager
def answering(status=200, kind="application/json", body=b'{"message":"Echo GET","method":"GET"}'):
    """A server that gives one answer to everything. Yields: its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listener.serve_forever)
    thread.start()
    try:
        yield listener.server_address[1]
    finally:
        listener.shutdown()
        thread.join()
        listener.server_close()


def judged(case="json-16", **answer):
    with answering(**answer) as port:
        return check.check(port, cases.BY_NAME[case])


def test_right_reply_is_handed_back_for_the_load_client():
    body = '{"method": "GET", "message": "Echo GET"}'
    assert judged(body=body.encode(), kind="application/json; charset=utf-8") == body


@pytest.mark.parametrize("answer, told", [
    ({"status": 503}, "status 503"),
    ({"kind": "text/plain"}, "content type text/plain"),
    ({"body": b'{"message":"Echo GET"}'}, "answers"),
    ({"body": b"{"}, "no JSON"),
])
def test_wrong_reply_is_told(answer, told):
    with pytest.raises(check.Wrong, match=told):
        judged(**answer)


def test_every_request_of_a_case_is_looked_at():
    """The light request of `mixed` is answered rightly here, the heavy one is not."""
    with pytest.raises(check.Wrong, match="/burn"):
        judged("mixed")


def test_server_that_is_not_there_cannot_be_asked():
    with answering() as port:
        pass
    with pytest.raises(check.CannotAsk):
        check.check(port, cases.BY_NAME["json-16"])


def test_what_is_expected_has_the_size_its_name_says():
    assert 63_000 < len(json.dumps(cases.items(1024), separators=(",", ":"))) < 67_000
    assert 1000 < len(cases.BY_NAME["post-1k"].request.body) < 1100


# --- turns ---


def test_every_second_round_goes_backwards():
    turns = list(schedule.rounds(["a", "b", "c"], 3))
    assert [name for _, name in turns] == ["a", "b", "c", "c", "b", "a", "a", "b", "c"]
    assert [turn for turn, _ in turns] == [0] * 3 + [1] * 3 + [2] * 3


class Something:
    """A server as far as the plan looks at it."""

    server = server.Server("something")


def test_plan_grows_with_rounds_and_with_servers():
    case, pace = cases.BY_NAME["json-64"], Pace(0.5, 0.3)

    def seconds(count, instances):
        return schedule.case_seconds(case, [Something()] * instances, count, pace, False)

    assert seconds(6, 2) > seconds(3, 2)
    assert seconds(6, 4) > seconds(6, 2)
    assert seconds(7, 2) - seconds(6, 2) == pytest.approx(2 * schedule.run_seconds(case, pace))


def test_servers_get_the_first_cores_and_clients_the_others():
    cores = options.Cores(pin=True)
    cores.cores = [0, 1, 2]
    assert (cores.for_server(1), cores.for_clients(1)) == ([0], [1, 2])
    assert (cores.for_server(2), cores.for_clients(2)) == ([0, 1], [2])
    assert (cores.for_server(3), cores.for_clients(3)) == (None, None)


# --- options ---


def test_servers_and_cases_are_chosen_by_name():
    given = options.parse(["nginx,floor", "poolsrv", "--cases", "mixed,json-64", "--workers", "2", "--quick"])
    assert given.servers == ["floor", "poolsrv", "nginx"]
    assert [case.name for case in given.cases] == ["json-64", "mixed"]
    assert (given.workers, given.rounds, given.pace.run_s) == ([2], options.QUICK_ROUNDS, options.QUICK_RUN_S)


@pytest.mark.parametrize("arguments", [["apachy"], ["--cases", "jason"], ["--rounds", "0"], ["--workers", "x"]])
def test_what_there_is_not_is_refused(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        options.parse(arguments)
    assert ended.value.code == 2
    assert arguments[-1] in capsys.readouterr().err


@pytest.mark.parametrize("name", server.NAMES)
def test_every_server_says_how_it_is_set_up(name):
    one = server.load(name)
    assert one.name == name
    assert one.title and one.keep_alive and one.logging and one.more
    assert one.threads_text(1) != one.threads_text(2)
    assert all(case in cases.BY_NAME for case in one.cases or ())


# --- results and reports ---


def sample(rate, cpu_us, **more):
    return {"rate": rate, "p50_ms": 1.0, "p99_ms": 2.0, "p999_ms": 3.0, "cpu_us": cpu_us, "cpu_cores": 1.0,
            "rss_mib": 8.0, "threads": 2, "errors": 0, "closed": 0, "client_busy": 0.5, **more}


class FakeInstance:
    def __init__(self, name, workers):
        self.server = server.load(name)
        self.workers = workers
        self.name = f"{name}/{workers}"


def two_servers(case_name="json-64", base=sample(1000, 10), other=sample(500, 20)):
    """The results of poolsrv and nginx over two rounds, of which the second is twice as slow for both."""
    instances = [FakeInstance("poolsrv", 1), FakeInstance("nginx", 1)]
    result = results.CaseResult(cases.BY_NAME[case_name], instances)
    for turn in range(2):
        for instance, seen in zip(instances, (base, other)):
            slower = {name: seen[name] * (turn + 1) for name in ("cpu_us",) if name in seen}
            result.add(turn, instance, {**seen, **slower})
    return result, instances


def whole(result, instances):
    return {"format": results.FORMAT, "machine": ["machine    made up"], "light_rate": 100, "missing": [],
            "options": {"rounds": 2, "run_s": 0.5, "warm_up_s": 0.3, "workers": [1], "pinned": True,
                        "light_rate_given": None},
            "servers": [{"name": one.server.name, "workers": 1, "title": one.server.title, "version": "1.0",
                         "threads": "one", "keep_alive": "long", "logging": "none", "more": "", "capacity": 300.0,
                         "burn": {"turns": 1000, "cpu_ms": 20.1}} for one in instances],
            "cases": [result.as_dict()]}


def test_ratios_are_of_the_same_round():
    result, _ = two_servers()
    row = result.as_dict()["rows"][1]
    ratio = row["to_poolsrv"]["cpu_us"]
    assert (ratio["value"], ratio["low"], ratio["high"]) == (2, 2, 2)
    assert row["summary"]["cpu_us"]["value"] == 30


def test_round_that_a_server_missed_is_left_out_of_its_ratio():
    result, _ = two_servers()
    del result.rounds["nginx/1"][0]
    assert results.ratios(result.rounds["nginx/1"], result.rounds["poolsrv/1"])["cpu_us"]["value"] == 2


def test_failed_server_stands_in_the_table_with_its_reason():
    result, instances = two_servers()
    result.rounds["nginx/1"].clear()
    result.fail(instances[1], "status 500")
    found = whole(result, instances)
    assert results.any_failed(found)
    assert "FAILED: status 500" in report.text(found)
    assert "FAILED: status 500" in report.markdown(found)


def test_missing_server_is_named_with_its_reason():
    found = whole(*two_servers())
    found["missing"].append({"name": "bun", "title": "Bun", "why": "no program for this machine"})
    assert "Bun: no program for this machine" in report.text(found)
    assert "Bun: no program for this machine" in report.markdown(found)


def test_latency_beyond_the_timeout_is_not_given_as_a_figure():
    late = sample(10, 1, given_up=0.5, heavy_rate=40, p99_ms=512)
    del late["cpu_us"]
    found = whole(*two_servers("mixed", base=late, other=late))
    assert ">= 500" in report.text(found)
    assert "512" not in report.text(found) and "512" not in report.markdown(found)


@pytest.mark.parametrize("ours, verdict", [(9, "reached"), (11, "open"), (12, "not reached")])
def test_goal_is_reached_when_the_whole_interval_is_on_its_side(ours, verdict):
    goal = goals.Goal("", "json-64", "cpu_us", ("nginx", 1), most=1.0)
    result, instances = two_servers(base=sample(1000, 10), other=sample(1000, 10))
    for turn, cpu_us in enumerate((9, 11) if verdict == "open" else (ours, ours)):
        result.rounds["poolsrv/1"][turn]["cpu_us"] = cpu_us
        result.rounds["nginx/1"][turn]["cpu_us"] = 10
    found = whole(result, instances)
    assert goals.judge(goals.ratio(found, goal), goal) == verdict


def test_goal_that_was_not_measured_is_left_out():
    found = whole(*two_servers())
    assert [row[1] for row in goals.table(found).rows] == ["json-64"]


def test_few_rounds_are_said_to_be_few():
    found = whole(*two_servers())
    assert "fewer than 6 rounds" in report.text(found)
    found["options"]["rounds"] = 6
    assert "fewer than 6 rounds" not in report.text(found)


def test_figures_survive_a_file(tmp_path):
    found = whole(*two_servers())
    results.write(found, tmp_path / "figures.json")
    assert results.read(tmp_path / "figures.json") == found
    (tmp_path / "figures.json").write_text('{"format": 0}')
    with pytest.raises(ValueError):
        results.read(tmp_path / "figures.json")


def test_markdown_goes_between_the_marks_and_leaves_the_rest(tmp_path):
    document = tmp_path / "PERFORMANCE.md"
    document.write_text(f"# Before\n\n{report.BEGIN}\nold\n{report.END}\n\n# Behind\n")
    for _ in range(2):
        report.write_markdown(whole(*two_servers()), document, tmp_path / "charts")
    text = document.read_text()
    assert text.startswith("# Before\n") and text.endswith("# Behind\n")
    assert "old" not in text and text.count("### Small JSON, 64 connections") == 1
    assert "](charts/json-64.svg)" in text


def test_chart_has_both_servers_and_their_figures(tmp_path):
    figures.write(whole(*two_servers()), tmp_path)
    text = (tmp_path / "json-64.svg").read_text()
    assert "poolsrv" in text and "nginx" in text and ">30<" in text


def test_table_lines_up_and_escapes_in_markdown():
    table = tables.Table([("name", "<"), ("n", ">")], [["a|b", "1"], ["c", "10"]])
    assert table.text() == "name   n\na|b    1\nc     10"
    assert table.markdown() == "| name | n |\n| --- | ---: |\n| a\\|b | 1 |\n| c | 10 |"
