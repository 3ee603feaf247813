"""Bar charts as SVG, with the standard library alone.

Bars are horizontal and lie in groups. Each has its name on the left and its value on the right, a hatching of its
own, and where it is known the 95 % interval as a whisker, so nothing depends on colour. The axis begins at zero.
Several charts can stand above each other in one file, with a caption that says how to make it again.
"""

from dataclasses import dataclass, field
from xml.sax.saxutils import escape

WIDTH = 820
MARGIN = 16
VALUE_ROOM = 150  # for the text behind the longest bar
BAR, GAP, GROUP_GAP = 15, 4, 12
TEXT, FONT = "#1a1a1a", "font-family='sans-serif'"
LETTER = 6.6  # the width of one, about, at 12 px

# Fill and hatching of the first series, the second ...; they differ in brightness and in lines.
STYLES = [
    ("#d9d9d9", None),
    ("#a6c8e4", "M0 8 L8 0"),
    ("#f2cf9b", "M0 0 L8 8"),
    ("#5b8db8", "M4 0 L4 8"),
    ("#b9d8a8", "M0 4 L8 4"),
    ("#e3b5c8", "M0 8 L8 0 M0 0 L8 8"),
    ("#9a9a9a", "M4 0 L4 8 M0 4 L8 4"),
    ("#ffffff", "M2 2 h2 v2 h-2 z"),
]


@dataclass(frozen=True)
class Bar:
    """A value with its interval, which may be unknown."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass
class Chart:
    """`bars` maps (group, series) to a Bar; where one is missing the chart says "not measured"."""

    title: str
    unit: str
    groups: list
    series: list
    bars: dict
    form: str = ".3g"  # of the printed values
    notes: dict = field(default_factory=dict)  # (group, series) to what is printed behind the value


def _text(x, y, text, size=12, anchor="start", weight="normal", fill=TEXT):
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' font-size='{size}' text-anchor='{anchor}' font-weight='{weight}'"
        f" fill='{fill}' {FONT}>{escape(str(text))}</text>"
    )


def _hatchings():
    for index, (fill, path) in enumerate(STYLES):
        lines = f"<path d='{path}' stroke='#333333' stroke-width='1' fill='none'/>" if path else ""
        yield (
            f"<pattern id='h{index}' width='8' height='8' patternUnits='userSpaceOnUse'>"
            f"<rect width='8' height='8' fill='{fill}'/>{lines}</pattern>"
        )


def axis_step(top):
    """A round distance of the axis's marks: four to ten of them up to `top`."""
    step = 10.0 ** -9
    while top / step > 10:
        for factor in (1, 2, 5):
            if top / (step * factor) <= 10:
                return step * factor
        step *= 10
    return step


def _top(chart):
    """Where the axis ends: the largest value or interval."""
    return max((max(bar.value, bar.high or 0) for bar in chart.bars.values()), default=0) or 1


def _left(chart):
    return MARGIN + LETTER * max(len(str(name)) for name in chart.series) + 10


def _one_bar(chart, group, series, y, scale, left):
    middle = y + BAR / 2
    yield _text(left - 6, middle + 4, series, anchor="end")
    bar = chart.bars.get((group, series))
    if bar is None:
        yield _text(left + 6, middle + 4, "not measured", fill="#666666")
        return
    style = chart.series.index(series) % len(STYLES)
    end = left + bar.value * scale
    yield (
        f"<rect x='{left:.1f}' y='{y:.1f}' width='{max(end - left, 0.5):.1f}' height='{BAR}' fill='url(#h{style})'"
        f" stroke='#333333' stroke-width='1'/>"
    )
    if bar.low is not None and bar.high is not None:
        low, end = left + bar.low * scale, max(end, left + bar.high * scale)
        yield (
            f"<path d='M{low:.1f} {middle:.1f} H{left + bar.high * scale:.1f} M{low:.1f} {middle - 4:.1f} v8"
            f" M{left + bar.high * scale:.1f} {middle - 4:.1f} v8' stroke='#000000' stroke-width='1.5' fill='none'/>"
        )
    note = chart.notes.get((group, series))
    yield _text(end + 7, middle + 4, format(bar.value, chart.form) + (f"  {note}" if note else ""))


def _marks(chart):
    step = axis_step(_top(chart))
    return [mark * step for mark in range(int(_top(chart) / step + 1e-9) + 1)]


def _grid(chart, y, scale, left):
    """Behind the bars of one group."""
    for mark in _marks(chart):
        colour = "#333333" if mark == 0 else "#cccccc"
        yield f"<path d='M{left + mark * scale:.1f} {y:.1f} v{_group_height(chart)}' stroke='{colour}'/>"


def _axis(chart, y, scale, left):
    for mark in _marks(chart):
        yield _text(left + mark * scale, y + 6, f"{mark:.6g}", size=11, anchor="middle")
    yield _text(left, y + 22, chart.unit, size=11)


def _group_height(chart):
    return len(chart.series) * (BAR + GAP)


def _height(chart):
    return 34 + len(chart.groups) * (18 + _group_height(chart) + GROUP_GAP) + 44


def _draw(chart, y):
    left = _left(chart)
    scale = (WIDTH - MARGIN - VALUE_ROOM - left) / _top(chart)
    yield _text(MARGIN, y + 18, chart.title, size=15, weight="bold")
    y += 34
    for group in chart.groups:
        yield _text(MARGIN, y + 12, group, weight="bold")
        y += 18
        yield from _grid(chart, y - GAP / 2, scale, left)
        for series in chart.series:
            yield from _one_bar(chart, group, series, y, scale, left)
            y += BAR + GAP
        y += GROUP_GAP
    yield from _axis(chart, y, scale, left)


def wrap(text, letters):
    """Lines of at most so many letters; a longer word stands alone."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > letters:
            lines.append("")
        lines[-1] += (" " if lines[-1] else "") + word
    return lines


def svg(charts, caption=""):
    """The text of an SVG file with all the charts; each line of the caption is wrapped."""
    lines = [line for part in caption.splitlines() for line in wrap(part, int((WIDTH - 2 * MARGIN) / LETTER))]
    parts, y = [], 8
    for chart in charts:
        parts.extend(_draw(chart, y))
        y += _height(chart)
    for line in lines:
        y += 16
        parts.append(_text(MARGIN, y, line, size=11, fill="#444444"))
    y += MARGIN
    return "\n".join(
        [
            f"<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{y:.0f}' viewBox='0 0 {WIDTH} {y:.0f}'"
            f" role='img'>",
            f"<title>{escape('; '.join(chart.title for chart in charts))}</title>",
            "<defs>" + "".join(_hatchings()) + "</defs>",
            f"<rect width='{WIDTH}' height='{y:.0f}' fill='#ffffff'/>",
            *parts,
            "</svg>",
            "",
        ]
    )
