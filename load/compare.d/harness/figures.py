"""The charts: one file a case."""

from chart import Bar, Chart, svg

from .measure import TIMEOUT_S
from .report import titles_of
from .results import exact_enough

CLOSED = (("cpu_us", "server's CPU a request, us"), ("rate", "requests a second"))
BESIDE = (("p99_ms", "p99 of the light requests, ms from when each was due"), ("heavy_rate", "heavy requests a second"))


def _group(workers):
    return "1 worker" if workers == 1 else f"{workers} workers"


def _title(case):
    title = case["title"].split(":")[0] if case["beside"] else case["title"]
    return title[0].upper() + title[1:]


def _chart(case, metric, unit, titles):
    rows = sorted(case["rows"], key=lambda row: row["workers"])
    bars, notes = {}, {}
    for row in rows:
        place = (_group(row["workers"]), titles[row["server"]])
        figure = row["summary"].get(metric)
        if figure:
            bars[place] = Bar(figure["value"], figure["low"], figure["high"])
        if metric == "p99_ms" and figure and figure["value"] >= TIMEOUT_S * 999:
            notes[place] = "or more"
    series = list(titles.values())  # all of them, so that each looks the same in every chart
    groups = list(dict.fromkeys(_group(row["workers"]) for row in rows))
    return Chart(f"{_title(case)}: {unit.split(',')[0]}", unit, groups, series, bars,
                 form=",.0f" if metric == "rate" else ".3g", notes=notes)


def _caption(case, results):
    options = results["options"]
    whiskers = "95 % bootstrap intervals" if exact_enough(results) else "intervals, narrower than 95 %"
    words = [f"Made by load/compare. {case['title'][0].upper()}{case['title'][1:]}. Medians of {options['rounds']} "
             f"rounds of {options['run_s']} s; whiskers are {whiskers}."]
    if case["beside"]:
        words.append(f"The light load is {results['light_rate']:.0f} requests a second for every server.")
    return "\n".join(words + results["machine"][:1])


def write(results, folder):
    folder.mkdir(parents=True, exist_ok=True)
    titles = titles_of(results)
    for case in results["cases"]:
        metrics = BESIDE if case["beside"] else CLOSED
        charts = [_chart(case, metric, unit, titles) for metric, unit in metrics]
        (folder / f"{case['name']}.svg").write_text(svg(charts, _caption(case, results)))
