"""One timed run of one server: a sample, which is a dict of figures.

In all cases: rate, p50_ms, p99_ms, p999_ms, cpu_cores (how many the server kept busy), rss_mib, threads, client_busy (a core of its own is 1),
closed (requests that met a connection which the server had just closed; a browser would send them again), and
errors of other kinds. cpu_us, the server's CPU for a request, where all requests are alike. With a
heavy load beside: heavy_rate, and given_up, the share of the light requests that were not answered in time.
"""

import time
from dataclasses import dataclass

from .cases import BLOCK, LIGHT_CONNECTIONS, Request
from .check import Asker, CannotAsk, Wrong
from .instance import Failed

LEAD_S = 0.15  # the heavy load begins so much earlier
TIMEOUT_S = 0.5  # after which a light request is given up; it counts as one that took as long
LIGHT_SHARE = 1 / 3  # of what the slowest server can do


@dataclass(frozen=True)
class Pace:
    """How long runs are, and what the cases with a heavy load need: the light rate, and turns by server name."""

    run_s: float
    warm_up_s: float
    light_rate: float = 0
    burns: dict | None = None


def settle(instance, case):
    """A reply to an ordinary request: whatever the last run left behind is over."""
    try:
        with Asker(instance.port) as asker:
            asker.checked(case.request)
    except (CannotAsk, Wrong) as why:
        raise Failed(f"{why}; {instance.last_words()}") from None


def heavy_request(instance, case, pace):
    if case.beside == "block":
        return BLOCK
    return Request(f"/burn?turns={pace.burns[instance.server.name].turns}", None)


def warm_up(instance, case, clients, pace, body):
    """Not counted: compilers compile, lanes are found."""
    clients.closed(instance, case.request, case.connections, warm_up_s(instance, pace), body)
    if case.beside:
        with clients.beside(instance, heavy_request(instance, case, pace), pace.warm_up_s + 1):
            time.sleep(pace.warm_up_s)


def warm_up_s(instance, pace):
    return pace.warm_up_s * instance.server.warm_up


def capacity(instance, case, clients, pace, body):
    """How many light requests a second it can answer when nothing else is asked."""
    return clients.closed(instance, case.request, LIGHT_CONNECTIONS, pace.run_s, body)["rate"]


def measure(instance, case, clients, pace, body):
    settle(instance, case)
    if case.beside:
        return _beside_heavy(instance, case, clients, pace, body)
    before, begin = instance.cpu_us(), time.monotonic()
    report = clients.closed(instance, case.request, case.connections, pace.run_s, body)
    return _sample(instance, report, before, begin)


def _beside_heavy(instance, case, clients, pace, body):
    request = heavy_request(instance, case, pace)
    with clients.beside(instance, request, LEAD_S + 2 * pace.run_s + TIMEOUT_S + 5) as heavy:
        time.sleep(LEAD_S)
        before, begin = instance.cpu_us(), time.monotonic()
        report = clients.opened(instance, case.request, pace.light_rate, light_s(pace), TIMEOUT_S, body)
        sample = _sample(instance, report, before, begin)
    del sample["cpu_us"]  # most of it is the heavy load's
    sample["heavy_rate"] = heavy["rate"]
    sample["errors"] += heavy["errors"] - heavy["error_kinds"]["closed"] - report["error_kinds"]["timeout"]
    sample["closed"] += heavy["error_kinds"]["closed"]
    sample["given_up"] = report["error_kinds"]["timeout"] / (report["ok"] + report["errors"])
    return sample


def light_s(pace):
    """Longer than other runs, as there are fewer requests in it."""
    return 2 * pace.run_s


def _sample(instance, report, before_us, begin):
    seconds, spent_us = time.monotonic() - begin, instance.cpu_us() - before_us
    if not report["ok"] and not report["error_kinds"]["timeout"]:
        raise Failed(f"no request was answered: {report['error_kinds']}; {instance.last_words()}")
    rss_mib, threads = instance.memory_and_threads()
    late = report["latency_us"]
    return {
        "rate": report["rate"],
        "p50_ms": late["p50"] / 1000,
        "p99_ms": late["p99"] / 1000,
        "p999_ms": late["p99.9"] / 1000,
        "cpu_us": spent_us / max(report["ok"], 1),
        "cpu_cores": spent_us / 1e6 / seconds,
        "rss_mib": rss_mib,
        "threads": threads,
        "errors": report["errors"] - report["error_kinds"]["closed"],
        "closed": report["error_kinds"]["closed"],
        "client_busy": report["client_busy"],
    }
