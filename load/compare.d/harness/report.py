"""What people read: the set-up, and a table for each case. The same words for a terminal and for Markdown."""

import os

from . import goals, results as results_of
from .measure import TIMEOUT_S
from .tables import Table

CLIENT_BOUND = 0.95  # of a core: the client could hardly have sent more
BEGIN, END = "<!-- compare: begin -->", "<!-- compare: end -->"
COMMAND = "load/compare --docs"
SHOWN = ("json-64", "json-64k", "mixed", "blocking")  # charts inside the document; the others are linked


def number(value):
    """Three digits or so, without an exponent."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}"


def _middle(row, name):
    return number(row["summary"][name]["value"]) if name in row["summary"] else ""


def _range(figure, form=number):
    return f"{form(figure['low'])}-{form(figure['high'])}"


def _late_number(value_ms):
    """A latency of the light load; what reaches the timeout is longer than anybody knows."""
    return f">= {TIMEOUT_S * 1000:.0f}" if value_ms >= TIMEOUT_S * 999 else number(value_ms)


def _late_range(figure):
    """Where all of it is beyond the timeout, there is no more to say than _late_number does."""
    return _range(figure, _late_number).replace("->", " to >") if figure["low"] < TIMEOUT_S * 999 else ""


def _ratio(row, name):
    figure = row["to_poolsrv"].get(name)
    return [f"{figure['value']:.2f}", _range(figure, "{:.2f}".format)] if figure else ["", ""]


def _notes(row, pinned):
    notes = []
    if row["failed"]:
        notes.append("FAILED: " + row["failed"])
    figures = row["summary"]
    for name, words in (("errors", "errors"), ("closed", "requests met a closed connection")):
        if figures and figures[name]["value"] > 0:
            notes.append(f"{figures[name]['value']:.0f} {words} a run")
    if figures and pinned and figures["client_busy"]["value"] > CLIENT_BOUND and "given_up" not in figures:
        notes.append("client at its limit")
    return "; ".join(notes)


CLOSED = [("server", "<"), ("workers", ">"), ("req/s", ">"), ("95 %", ">"), ("CPU us/req", ">"), ("95 %", ">"),
          ("CPU to poolsrv", ">"), ("95 %", ">"), ("p50 ms", ">"), ("p99 ms", ">"), ("p99.9 ms", ">"), ("RSS MiB", ">"),
          ("notes", "<")]
BESIDE = [("server", "<"), ("workers", ">"), ("light req/s", ">"), ("p50 ms", ">"), ("p99 ms", ">"), ("95 %", ">"),
          ("p99.9 ms", ">"), ("given up", ">"), ("heavy/s", ">"), ("95 %", ">"), ("heavy to poolsrv", ">"),
          ("95 %", ">"), ("cores busy", ">"), ("RSS MiB", ">"), ("notes", "<")]


def _closed_row(row):
    figures = row["summary"]
    return [_middle(row, "rate"), _range(figures["rate"]), _middle(row, "cpu_us"), _range(figures["cpu_us"]),
            *_ratio(row, "cpu_us"), _middle(row, "p50_ms"), _middle(row, "p99_ms"), _middle(row, "p999_ms"),
            _middle(row, "rss_mib")]


def _beside_row(row):
    figures = row["summary"]
    late = {name: _late_number(figures[name]["value"]) for name in ("p50_ms", "p99_ms", "p999_ms")}
    return [_middle(row, "rate"), late["p50_ms"], late["p99_ms"], _late_range(figures["p99_ms"]),
            late["p999_ms"], f"{100 * figures['given_up']['value']:.0f} %", _middle(row, "heavy_rate"),
            _range(figures["heavy_rate"]), *_ratio(row, "heavy_rate"), _middle(row, "cpu_cores"),
            _middle(row, "rss_mib")]


def case_table(case, titles, pinned):
    """First all with one worker, then all with two."""
    columns, fill = (BESIDE, _beside_row) if case["beside"] else (CLOSED, _closed_row)
    table = Table(columns)
    for row in sorted(case["rows"], key=lambda row: row["workers"]):
        figures = fill(row) if row["summary"] else [""] * (len(columns) - 3)
        table.rows.append([titles[row["server"]], str(row["workers"]), *figures, _notes(row, pinned)])
    return table


def titles_of(results):
    return {about["name"]: about["title"] for about in results["servers"]}


def server_table(results):
    table = Table([("server", "<"), ("version", "<"), ("workers", ">"), ("threads", "<"), ("keep-alive", "<"), ("logging", "<"),
                   ("further", "<")])
    for about in results["servers"]:
        first = about["workers"] == results["options"]["workers"][0]
        version = about["version"] or "of this tree"
        common = [about["keep_alive"], about["logging"], about["more"]] if first else ["", "", ""]
        table.rows.append([about["title"] if first else "", version if first else "", str(about["workers"]),
                           about["threads"], *common])
    return table


def _server_lines(results):
    """The set-up of the servers for a terminal, where a table would be too wide."""
    lines, workers = [], results["options"]["workers"]
    for about in results["servers"]:
        if about["workers"] == workers[0]:
            lines.append(f"{about['name']:<10} {about['title']} ({about['version'] or 'of this tree'}); keep-alive "
                         f"{about['keep_alive']}; logging: {about['logging']}; {about['more']}")
        lines.append(f"{'':<10} {about['workers']} worker{'s' if about['workers'] > 1 else ''}: {about['threads']}")
    return lines


def heavy_table(results):
    """Of the cases with a heavy load: what each could do without it, and how its loop was calibrated."""
    table = Table([("server", "<"), ("workers", ">"), ("capacity req/s", ">"), ("turns for 20 ms", ">"),
                   ("ms of CPU seen", ">")])
    for about in results["servers"]:
        if about["capacity"] or about["burn"]:
            burn = about["burn"]
            table.rows.append([about["title"], str(about["workers"]),
                               number(about["capacity"]) if about["capacity"] else "",
                               f"{burn['turns']:,}" if burn else "", f"{burn['cpu_ms']:.1f}" if burn else ""])
    return table


def set_up(results):
    """Lines of plain text on how it was measured."""
    options = results["options"]
    lines = list(results["machine"])
    lines.append(f"runs       {options['rounds']} rounds, every second one backwards, of {options['run_s']} s each; "
                 f"warm-up {options['warm_up_s']} s")
    if options["pinned"]:
        lines.append("cores      a server's workers on the first cores and its client on the others, where there are "
                     "enough; else anywhere")
    if not results_of.exact_enough(results):
        lines.append("beware     fewer than 6 rounds: the intervals are ranges, and narrower than 95 %")
    for missing in results["missing"]:
        lines.append(f"missing    {missing['title']}: {missing['why']}")
    return lines


def heavy_text(results):
    return (f"The light load of mixed and blocking: {results['light_rate']:.0f} requests a second for every server"
            f"{', as given' if results['options']['light_rate_given'] else ', a third of what the slowest can do'}; "
            f"given up after {TIMEOUT_S * 1000:.0f} ms.")


def _has_heavy(results):
    return any(case["beside"] for case in results["cases"])


def text(results):
    parts = ["\n".join(set_up(results) + _server_lines(results))]
    if _has_heavy(results):
        parts += [heavy_text(results), heavy_table(results).text()]
    titles = titles_of(results)
    for case in results["cases"]:
        parts.append(case["title"] + "\n" + case_table(case, titles, results["options"]["pinned"]).text())
    reached = goals.table(results)
    if reached.rows:
        parts.append(reached.text())
    return "\n\n".join(parts)


def _chart_lines(case, charts):
    if charts is None:
        return []
    path = f"{charts}/{case['name']}.svg"
    return [f"![{case['title']}]({path})"] if case["name"] in SHOWN else [f"[Chart]({path})"]


def markdown(results, charts=None):
    """`charts` is the folder of the SVG files as seen from the document, or None."""
    parts = ["    " + COMMAND, "```\n" + "\n".join(set_up(results)) + "\n```", server_table(results).markdown()]
    if _has_heavy(results):
        parts += [heavy_text(results), heavy_table(results).markdown()]
    reached = goals.table(results)
    if reached.rows:
        parts.append(reached.markdown())
    titles = titles_of(results)
    for case in results["cases"]:
        title = case["title"][0].upper() + case["title"][1:]
        parts += [f"### {title}", case_table(case, titles, results["options"]["pinned"]).markdown(),
                  *_chart_lines(case, charts)]
    return "\n\n".join(parts)


def write_markdown(results, file, svg):
    """Between the file's two marks, or as the whole of it when it has none."""
    body = markdown(results, os.path.relpath(svg, file.parent) if svg else None)
    old = file.read_text() if file.exists() else ""
    if BEGIN in old and END in old:
        body = old[:old.index(BEGIN)] + BEGIN + "\n\n" + body + "\n\n" + old[old.index(END):]
    file.write_text(body if body.endswith("\n") else body + "\n")
