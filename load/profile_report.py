"""What the context profile found, as text, Markdown, JSON, SVG, and as the costs that `poolsrv profile` reckons with.

A Result holds the bare runs; everything else is made from them here.
"""

import json
from dataclasses import asdict, dataclass, field

import chart
import stats

BASE = "eager"  # what the others are compared with
WITHOUT = "without"  # no context at all

VERDICTS = (
    "Verdicts on the gain over eager, with its 95 % interval. A: the whole interval is above 10 %. C: it is within 1 %"
    " either way. B: the rest above zero. Worse: the whole interval is below zero. Not distinguishable: it holds zero"
    " and is wider than that."
)


@dataclass(frozen=True)
class Level:
    title: str
    unit: str
    form: str
    more_is_better: bool = False


LEVELS = {
    "vm": Level("In the VM: CPU time a request, no sockets", "ns", ".0f"),
    "cpu": Level("Whole server: CPU time a request", "us", ".2f"),
    "rate": Level("Whole server: throughput under wrk", "requests/s", ".0f", True),
    "p99": Level("Whole server: p99 latency under wrk", "ms", ".2f"),
}


@dataclass
class Result:
    """`runs[level][case, strategy]` is a list, one figure a round. The cases "field/x" are not patterns: they are
    there for the costs."""

    command: str
    machine: str
    settings: dict
    strategies: list
    titles: dict  # of the patterns
    runs: dict = field(default_factory=dict)
    allocations: dict = field(default_factory=dict)  # (case, strategy) to (allocations, bytes)
    instructions: dict = field(default_factory=dict)  # (case, strategy) to a count
    steps: dict = field(default_factory=dict)  # title to a list of ns

    def add(self, level, figures):
        for key, value in figures.items():
            self.runs.setdefault(level, {}).setdefault(key, []).append(value)

    def levels(self):
        return [level for level in LEVELS if level in self.runs]

    def estimate(self, level, case, strategy):
        return stats.estimate(self.runs[level][case, strategy])

    def gain(self, level, case, strategy):
        """Against eager; None for eager itself, and where either was not measured."""
        runs = self.runs[level]
        if strategy in (BASE, WITHOUT) or (case, BASE) not in runs:
            return None
        return stats.estimate_gain(runs[case, strategy], runs[case, BASE], LEVELS[level].more_is_better)


# --- unit costs ---


def costs(result):
    """What a strategy costs when nothing is read, and what each field adds: {strategy: {"base": ns, "fields": ...}}.

    Medians of differences within a round. The base is the cost beyond a handler that gets no context."""
    runs = result.runs.get("vm", {})
    fields = [case.split("/")[1] for case, strategy in runs if case.startswith("field/") and strategy == BASE]
    found = {}
    for strategy in result.strategies:
        if ("field/none", strategy) not in runs or ("field/none", WITHOUT) not in runs:
            continue
        nothing = runs["field/none", strategy]
        found[strategy] = {
            "base": _difference(nothing, runs["field/none", WITHOUT]),
            "fields": {
                name: _difference(runs[f"field/{name}", strategy], nothing) for name in fields if name != "none"
            },
        }
    return found


def _difference(values, base):
    return round(stats.median([value - other for value, other in zip(values, base)]), 1)


def costs_file(result):
    """The text of api/program/context_costs.def."""
    lines = [
        "/* What a context costs, in ns a request inside the VM: made by load/profile_context_creation.sh --costs FILE.",
        " * CONTEXT_MEASURED(command, machine)",
        " * CONTEXT_BASE(strategy, ns): when the handler reads nothing, beyond a handler without a context.",
        " * CONTEXT_FIELD(strategy, field, ns): what reading that field once adds, making its value included. */",
        f"CONTEXT_MEASURED({_c_string(result.command)}, {_c_string(result.machine)})",
    ]
    for strategy, cost in costs(result).items():
        lines.append(f'CONTEXT_BASE("{strategy}", {cost["base"]})')
        lines += [f'CONTEXT_FIELD("{strategy}", "{name}", {ns})' for name, ns in cost["fields"].items()]
    return "\n".join(lines) + "\n"


def _c_string(text):
    return '"' + "".join(c if c.isascii() and c.isprintable() and c not in '"\\' else "?" for c in text) + '"'


# --- words ---


def percent(gain):
    return f"{gain.value * 100:+.1f} % ({gain.low * 100:+.1f} to {gain.high * 100:+.1f})"


def _interval(estimate, form):
    return f"{format(estimate.value, form)} ({format(estimate.low, form)}-{format(estimate.high, form)})"


def _rows(result, level):
    """Each measured pair as (case, strategy, estimate, gain or None)."""
    for case in result.titles:
        for strategy in [*result.strategies, WITHOUT]:
            if (case, strategy) in result.runs[level]:
                yield case, strategy, result.estimate(level, case, strategy), result.gain(level, case, strategy)


def _text_table(result, level):
    about = LEVELS[level]
    yield f"{about.title}, {about.unit}"
    last = None
    for case, strategy, estimate, gain in _rows(result, level):
        if case != last:
            yield f"  {result.titles[case]}"
            last = case
        verdict = f"{percent(gain):<32} {stats.verdict(gain)}" if gain else ""
        yield f"    {strategy:<14} {_interval(estimate, about.form):<26} {verdict}".rstrip()
    yield ""


def _counts_table(result):
    yield "Allocations and bytes a request, from the VM's allocator" + (
        "; instructions, from callgrind" if result.instructions else ""
    )
    for case in result.titles:
        yield f"  {result.titles[case]}"
        for strategy in [*result.strategies, WITHOUT]:
            if (case, strategy) in result.allocations:
                n, size = result.allocations[case, strategy]
                count = result.instructions.get((case, strategy))
                yield f"    {strategy:<14} {n:6.2f} {size:8.0f}" + (f" {count:9.0f}" if count else "")
    yield ""


def _costs_table(result):
    found = costs(result)
    if not found:
        return
    yield "What each field adds to a request in the VM, ns"
    yield f"    {'':<10}" + "".join(f"{strategy:>15}" for strategy in found)
    yield f"    {'nothing':<10}" + "".join(f"{cost['base']:>15.1f}" for cost in found.values())
    for name in next(iter(found.values()))["fields"]:
        yield f"    {name:<10}" + "".join(f"{cost['fields'][name]:>+15.1f}" for cost in found.values())
    yield ""


def _steps_table(result):
    if result.steps:
        yield "Single steps in Lua, ns"
        for name, values in result.steps.items():
            yield f"    {name:<60} {_interval(stats.estimate(values), '.1f')}"
        yield ""


def text(result):
    lines = [f"machine    {result.machine}", f"command    {result.command}", ""]
    for level in result.levels():
        lines += _text_table(result, level)
    if result.allocations:
        lines += _counts_table(result)
    lines += [*_costs_table(result), *_steps_table(result), VERDICTS]
    return "\n".join(lines) + "\n"


# --- Markdown ---


def _markdown_rows(head, rows):
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(row) + " |"
    yield ""


def _verdict_word(gain):
    return f"<br>{stats.verdict(gain)}: {percent(gain)}" if gain else ""


def _markdown_level(result, level):
    about = LEVELS[level]
    seen = {(case, strategy): (estimate, gain) for case, strategy, estimate, gain in _rows(result, level)}
    yield f"**{about.title}, {about.unit}**"
    yield ""
    yield from _markdown_rows(
        ["pattern", *result.strategies],
        (
            [result.titles[case]]
            + [
                _interval(seen[case, strategy][0], about.form) + _verdict_word(seen[case, strategy][1])
                for strategy in result.strategies
            ]
            for case in result.titles
        ),
    )


def _markdown_counts(result):
    def cell(case, strategy):
        n, size = result.allocations[case, strategy]
        count = result.instructions.get((case, strategy))
        return f"{n:.2f}, {size:.0f} B" + (f", {count:.0f} instructions" if count else "")

    yield "**Allocations and bytes a request in the VM**" + (
        ", and instructions as callgrind counts them" if result.instructions else ""
    )
    yield ""
    rows = ([result.titles[case]] + [cell(case, strategy) for strategy in result.strategies] for case in result.titles)
    yield from _markdown_rows(["pattern", *result.strategies], rows)


def _markdown_costs(result):
    found = costs(result)
    if not found:
        return
    yield "**What reading a field adds to a request in the VM, ns**"
    yield ""
    names = next(iter(found.values()))["fields"]
    rows = [["nothing", *(f"{cost['base']:.0f}" for cost in found.values())]]
    rows += [[f"`{name}`", *(f"{cost['fields'][name]:+.0f}" for cost in found.values())] for name in names]
    yield from _markdown_rows(["read", *found], rows)


def _markdown_steps(result):
    if not result.steps:
        return
    yield "**Single steps in Lua, ns**"
    yield ""
    rows = ([name, _interval(stats.estimate(values), ".1f")] for name, values in result.steps.items())
    yield from _markdown_rows(["step", "median (95 % interval)"], rows)


def markdown(result):
    lines = [f"    {result.command}", "", f"Machine: {result.machine}. {VERDICTS}", ""]
    for level in result.levels():
        lines += _markdown_level(result, level)
    if result.allocations:
        lines += _markdown_counts(result)
    lines += [*_markdown_costs(result), *_markdown_steps(result)]
    return "\n".join(lines)


BEGIN, END = "<!-- figures: begin -->\n", "<!-- figures: end -->\n"


def put_between_marks(document, figures):
    """A document that has the marks keeps everything around them; any other is replaced."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    return before + BEGIN + figures + END + after if begin and end else figures


# --- JSON ---


def _json_cell(result, level, case, strategy):
    gain = result.gain(level, case, strategy)
    cell = {**asdict(result.estimate(level, case, strategy)), "samples": result.runs[level][case, strategy]}
    if gain:
        cell |= {"gain": asdict(gain), "verdict": stats.verdict(gain)}
    return cell


def _nested(pairs):
    """{(a, b): value} as {a: {b: value}}."""
    out = {}
    for (first, second), value in pairs:
        out.setdefault(first, {})[second] = value
    return out


def as_json(result):
    levels = {
        level: {
            "title": LEVELS[level].title,
            "unit": LEVELS[level].unit,
            "cases": _nested(((case, s), _json_cell(result, level, case, s)) for case, s in result.runs[level]),
        }
        for level in result.levels()
    }
    data = {
        "command": result.command,
        "machine": result.machine,
        "settings": result.settings,
        "strategies": result.strategies,
        "patterns": result.titles,
        "verdicts": VERDICTS,
        "levels": levels,
        "allocations": _nested(
            (key, {"allocations": n, "bytes": size}) for key, (n, size) in result.allocations.items()
        ),
        "instructions": _nested(result.instructions.items()),
        "costs_ns": costs(result),
        "steps_ns": {name: asdict(stats.estimate(values)) for name, values in result.steps.items()},
    }
    return json.dumps(data, indent=2) + "\n"


# --- SVG ---


def _short(verdict):
    return verdict if len(verdict) < 8 else "?"


def _chart(result, level):
    about = LEVELS[level]
    bars, notes = {}, {}
    for case, strategy, estimate, gain in _rows(result, level):
        if strategy == WITHOUT:
            continue
        key = (result.titles[case], strategy)
        bars[key] = chart.Bar(estimate.value, estimate.low, estimate.high)
        if gain:
            notes[key] = f"{_short(stats.verdict(gain))} {gain.value * 100:+.0f} %"
    better = "longer" if about.more_is_better else "shorter"
    unit = f"{about.unit}; {better} is better; whiskers: 95 % intervals of the median"
    return chart.Chart(about.title, unit, list(result.titles.values()), result.strategies, bars, about.form, notes)


def svg(result):
    caption = f"{result.command}\n{result.machine}\n{VERDICTS} A question mark stands for the last."
    return chart.svg([_chart(result, level) for level in result.levels()], caption)
