"""The charts: well-formed, complete, honest."""

import re
import xml.etree.ElementTree as ET

import pytest
from chart import Bar, Chart, axis_step, svg, wrap

NS = "{http://www.w3.org/2000/svg}"


def chart(**changes):
    parts = {
        "title": "CPU a request",
        "unit": "us",
        "groups": ["small", "large"],
        "series": ["one", "two"],
        "bars": {
            ("small", "one"): Bar(10, 9, 11),
            ("small", "two"): Bar(5, 4, 7),
            ("large", "one"): Bar(40),
        },
    }
    return Chart(**{**parts, **changes})


def texts(root):
    return [node.text for node in root.iter(NS + "text")]


def bars(root):
    return [node for node in root.iter(NS + "rect") if node.get("fill", "").startswith("url(")]


def test_every_name_value_unit_and_caption_is_written_out():
    root = ET.fromstring(svg([chart()], "load/some_script --runs 3"))
    for text in ("CPU a request", "us", "small", "large", "one", "two", "10", "5", "40", "load/some_script --runs 3"):
        assert text in texts(root)


def test_bars_begin_at_zero_and_are_as_long_as_their_values():
    root = ET.fromstring(svg([chart()]))
    ten, five, forty = (float(bar.get("width")) for bar in bars(root))
    assert ten / five == pytest.approx(2, rel=0.01) and forty / ten == pytest.approx(4, rel=0.01)
    assert len({bar.get("x") for bar in bars(root)}) == 1


def test_series_differ_by_their_hatching():
    fills = [bar.get("fill") for bar in bars(ET.fromstring(svg([chart()])))]
    assert fills[0] == fills[2] != fills[1]


def test_an_interval_is_drawn_where_it_is_known():
    text = svg([chart()])
    assert len(re.findall(r"<path d='M[0-9. ]+ H", text)) == 2


def test_what_was_not_measured_is_said_and_has_no_bar():
    root = ET.fromstring(svg([chart()]))
    assert "not measured" in texts(root) and len(bars(root)) == 3


def test_notes_stand_behind_the_value():
    root = ET.fromstring(svg([chart(notes={("small", "two"): "verdict A"})]))
    assert "5  verdict A" in texts(root)


def test_names_cannot_break_the_file():
    root = ET.fromstring(svg([chart(title="a < b & 'c'", groups=["<x>"], bars={})], "--if a<b"))
    assert "a < b & 'c'" in texts(root) and "<x>" in texts(root)


def test_several_charts_stand_below_each_other():
    root = ET.fromstring(svg([chart(title="first"), chart(title="second")]))
    heights = {node.text: float(node.get("y")) for node in root.iter(NS + "text")}
    assert heights["first"] < heights["second"] < float(root.get("height"))


@pytest.mark.parametrize("top", [0.0003, 0.9, 1, 7, 10, 11, 99, 1234, 98765])
def test_the_axis_has_round_marks_and_neither_too_few_nor_too_many(top):
    step = axis_step(top)
    assert 4 <= top / step <= 10
    assert f"{step:e}"[0] in "125"


def test_a_long_caption_is_wrapped_between_words():
    assert wrap("one two three", 8) == ["one two", "three"]
