"""The context profile's report, made from runs that are made up."""

import json
import re
import xml.etree.ElementTree as ET

import pytest
import profile_report as report
import stats

STRATEGIES = ["eager", "lazy", "preregistered", "recycled"]
NS = {"eager": 400, "lazy": 200, "preregistered": 398, "recycled": 440}
FIELDS = {"method": 10, "params": 100}


@pytest.fixture
def result():
    """Eight rounds, with a drift that all strategies share: lazy is half as dear, recycled a tenth dearer."""
    got = report.Result(
        command="load/profile_context_creation.sh --runs 8",
        machine='2 cores ("x\\y")',
        settings={"runs": 8},
        strategies=STRATEGIES,
        titles={"none": "no context fields", "all": "all <fields>"},
        steps={"make a closure": [19.0, 20.0, 21.0, 20.0, 19.5, 20.5]},
    )
    for number in range(8):
        drift = 1 + number / 10
        for case in got.titles:
            got.add("vm", {(case, strategy): ns * drift for strategy, ns in NS.items()})
            got.add("rate", {(case, strategy): 1e6 / ns * drift for strategy, ns in NS.items()})
        got.add("vm", {("none", report.WITHOUT): 50 * drift, ("field/none", report.WITHOUT): 50})
        got.add("vm", {("field/none", strategy): ns for strategy, ns in NS.items()})
        for field, more in FIELDS.items():
            got.add("vm", {(f"field/{field}", strategy): ns + more for strategy, ns in NS.items()})
    got.allocations = {(case, strategy): (3.0, 120.0) for case in got.titles for strategy in STRATEGIES}
    return got


def test_gains_are_against_eager_in_the_same_round(result):
    gain = result.gain("vm", "none", "lazy")
    assert (gain.low, gain.value, gain.high) == (pytest.approx(0.5),) * 3
    assert result.gain("rate", "none", "lazy").value == pytest.approx(1.0)


def test_eager_and_no_context_have_no_gain(result):
    assert result.gain("vm", "none", "eager") is None
    assert result.gain("vm", "none", report.WITHOUT) is None


def test_without_eager_there_is_no_verdict_and_still_a_report(result):
    result.runs["vm"] = {key: runs for key, runs in result.runs["vm"].items() if key[1] == "recycled"}
    result.strategies = ["recycled"]
    result.allocations = {}
    assert result.gain("vm", "none", "recycled") is None
    assert "recycled" in report.text(result)


def test_every_verdict_is_in_the_text(result):
    text = report.text(result)
    for row in (r"lazy .*\+50\.0 %.* A$", r"preregistered .*\+0\.5 %.* C$", r"recycled .*-10\.0 %.* Worse$"):
        assert re.search(row, text, re.M), (row, text)


def test_costs_are_differences_within_a_round(result):
    assert report.costs(result)["lazy"] == {"base": 150.0, "fields": {"method": 10.0, "params": 100.0}}


def test_the_costs_file_has_each_strategy_and_field_once(result):
    text = report.costs_file(result)
    assert re.findall(r"^CONTEXT_BASE\(\"(\w+)\"", text, re.M) == STRATEGIES
    found = re.findall(r"^CONTEXT_FIELD\(\"(\w+)\", \"(\w+)\", (-?[\d.]+)\)$", text, re.M)
    assert [(s, f) for s, f, _ in found] == [(s, f) for s in STRATEGIES for f in FIELDS]
    assert float(found[1][2]) == 100.0


def test_nothing_can_break_out_of_the_costs_files_strings(result):
    assert 'CONTEXT_MEASURED("load/profile_context_creation.sh --runs 8", "2 cores (?x?y?)")' in report.costs_file(
        result
    )


def test_the_json_holds_every_run_and_what_was_made_of_it(result):
    data = json.loads(report.as_json(result))
    cell = data["levels"]["vm"]["cases"]["none"]["lazy"]
    assert len(cell["samples"]) == 8 and cell["verdict"] == "A" and cell["runs"] == 8
    assert cell["low"] <= cell["value"] <= cell["high"]
    assert data["costs_ns"]["recycled"]["base"] == 390.0
    assert data["allocations"]["all"]["eager"] == {"allocations": 3.0, "bytes": 120.0}


def test_the_markdown_has_a_column_for_each_strategy(result):
    lines = report.markdown(result).splitlines()
    heads = [line for line in lines if line.startswith("| pattern")]
    assert heads and all(line == "| pattern | eager | lazy | preregistered | recycled |" for line in heads)
    rows = [line for line in lines if line.startswith("| no context fields")]
    assert all(line.count("|") == 6 for line in rows) and "A: +50.0 %" in rows[0]


def test_the_charts_show_each_level_pattern_and_verdict(result):
    root = ET.fromstring(report.svg(result))
    words = [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert report.LEVELS["vm"].title in words and report.LEVELS["rate"].title in words
    assert "all <fields>" in words and words.count("eager") == 4
    assert any(word.endswith("A +50 %") for word in words)


def test_what_cannot_be_told_is_a_question_mark_in_the_chart(result):
    noise = [1.0, 1.5, 0.6, 1.2, 0.7, 1.4, 0.9, 1.1]
    result.runs["vm"]["none", "lazy"] = [400 * value for value in noise]
    result.runs["vm"]["none", "eager"] = [400.0] * 8
    assert stats.verdict(result.gain("vm", "none", "lazy")) == "Not distinguishable at 8 runs"
    assert re.search(r">\d+  \? [+-]\d+ %<", report.svg(result))


def test_figures_go_between_the_marks_of_a_document():
    document = f"before\n{report.BEGIN}old\n{report.END}after\n"
    fresh = report.put_between_marks(document, "new\n")
    assert fresh == f"before\n{report.BEGIN}new\n{report.END}after\n"
    assert report.put_between_marks(fresh, "new\n") == fresh


def test_a_file_without_marks_is_only_figures():
    assert report.put_between_marks("something old", "new\n") == "new\n"
    assert report.put_between_marks(report.BEGIN + "no end", "new\n") == "new\n"
