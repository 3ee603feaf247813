"""The goals that poolsrv has beside others, and whether the figures reach them.

Each is a ratio of two figures of the same round, so what the machine did meanwhile cancels. A goal is reached when
the whole interval is on its side, not reached when all of it is on the other, and open in between. What must not grow
with threads and routes is load/growth's: it wants the same load for all.
"""

from dataclasses import dataclass

from stats import estimate_ratio

from .tables import Table


@dataclass(frozen=True)
class Goal:
    text: str
    case: str
    metric: str
    against: tuple  # server, workers
    least: float | None = None
    most: float | None = None


GOALS = (
    Goal("CPU to the floor", "json-64", "cpu_us", ("floor", 1), most=1.15),
    Goal("CPU to nginx + LuaJIT", "json-64", "cpu_us", ("nginx", 1), most=0.95),
    Goal("CPU to nginx + LuaJIT", "json-512", "cpu_us", ("nginx", 1), most=0.85),
    Goal("req/s to nginx + LuaJIT", "json-64k", "rate", ("nginx", 1), least=1.2),
    Goal("CPU to nginx + LuaJIT", "post-1k", "cpu_us", ("nginx", 1), most=1.0),
    Goal("light p99 to nginx + LuaJIT", "mixed", "p99_ms", ("nginx", 1), most=0.1),
    Goal("heavy req/s to nginx + LuaJIT", "mixed", "heavy_rate", ("nginx", 1), least=0.9),
)


def _samples(results, case, server, workers):
    """round -> sample, of one row; empty when it is not there."""
    return {sample["round"]: sample for found in results["cases"] if found["name"] == case
            for row in found["rows"] if (row["server"], row["workers"]) == (server, workers)
            for sample in row["samples"]}


def ratio(results, goal):
    """The Estimate of the goal's ratio, or None where it was not measured."""
    own = _samples(results, goal.case, "poolsrv", 1)
    base = _samples(results, goal.case, *goal.against)
    both = sorted(own.keys() & base.keys())
    if not both or any(not base[turn][goal.metric] for turn in both):
        return None
    return estimate_ratio([own[turn][goal.metric] for turn in both], [base[turn][goal.metric] for turn in both])


def judge(found, goal):
    if goal.most is not None:
        return "reached" if found.high <= goal.most else "not reached" if found.low > goal.most else "open"
    return "reached" if found.low >= goal.least else "not reached" if found.high < goal.least else "open"


def table(results):
    """A line for each goal that was measured."""
    lines = Table([("poolsrv's goals", "<"), ("case", "<"), ("goal", ">"), ("seen", ">"), ("95 %", ">"), ("", "<")])
    for goal in GOALS:
        found = ratio(results, goal)
        if found:
            wanted = f"at most {goal.most}" if goal.most is not None else f"at least {goal.least}"
            lines.rows.append([goal.text, goal.case, wanted, f"{found.value:.2f}",
                               f"{found.low:.2f}-{found.high:.2f}", judge(found, goal)])
    return lines
