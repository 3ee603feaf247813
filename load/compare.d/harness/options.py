"""The command line."""

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

from .cases import BY_NAME, CASES
from .measure import Pace
from .server import NAMES, ROOT

ROUNDS, QUICK_ROUNDS = 6, 2
RUN_S, QUICK_RUN_S = 0.5, 0.2
DOCS = {"json": "docs/compare/results.json", "svg": "docs/compare", "markdown": "docs/PERFORMANCE.md"}


class Cores:
    """Servers on the first cores and clients on the others, where there are enough of them."""

    def __init__(self, pin):
        self.cores = sorted(os.sched_getaffinity(0)) if pin else []

    def for_server(self, workers):
        return self.cores[:workers] if len(self.cores) > workers else None

    def for_clients(self, workers):
        return self.cores[workers:] if len(self.cores) > workers else None


@dataclass
class Options:
    servers: list
    cases: list
    workers: list
    rounds: int
    pace: Pace
    light_rate: float | None
    cores: Cores
    install: bool
    json: Path | None
    svg: Path | None
    markdown: Path | None
    source: Path | None
    machine: list | None = None

    def as_dict(self):
        return {"rounds": self.rounds, "run_s": self.pace.run_s, "warm_up_s": self.pace.warm_up_s,
                "workers": self.workers, "cases": [case.name for case in self.cases],
                "servers": self.servers, "light_rate_given": self.light_rate, "pinned": bool(self.cores.cores)}


def _names(known, what):
    def parse(text):
        names = [name for name in text.split(",") if name]
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"no {what} {name}; there are: {' '.join(known)}")
        return names
    return parse


def _number(kind, least, most):
    def parse(text):
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text} is not a number") from None
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text} is not from {least} to {most}")
        return value
    return parse


def _workers(text):
    count = _number(int, 1, 64)
    return [count(word) for word in text.split(",")]


def _parser():
    parser = argparse.ArgumentParser(
        prog="load/compare", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="poolsrv beside other servers, on this machine: every reply is checked, then all are driven in\n"
                    "turns (A B C, C B A), and medians with their intervals are shown.",
        epilog="Cases:\n" + "\n".join(f"  {case.name:<15} {case.title}" for case in CASES) +
               f"\n\nServers: {' '.join(NAMES)}\nWhat they need is installed, of Debian's packages and npm's (the "
               "latter into build/compare/npm), unless\n--no-install says not to. A server that is missing or fails "
               "is named with the reason.\nPOOLSRV names another program than build/release/poolsrv.\n"
               "Exit codes: 0, 1 when a server failed, 2 when it could not run.")
    parser.add_argument("server", nargs="*", type=_names(NAMES, "server"), help="only these (all)")
    parser.add_argument("--cases", type=_names(list(BY_NAME), "case"), help="only these, with commas between (all)")
    parser.add_argument("--workers", type=_workers, default=[1, 2], help="how many worker threads (1,2)")
    parser.add_argument("--rounds", type=_number(int, 1, 1000), help=f"runs of each ({ROUNDS}); fewer than 6 give no "
                        "intervals of 95 %%")
    parser.add_argument("--duration", type=_number(float, 0.1, 600), metavar="S", help=f"seconds a run ({RUN_S}); "
                        "mixed and blocking take twice as long")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROUNDS} rounds of {QUICK_RUN_S} s")
    parser.add_argument("--light-rate", type=_number(float, 1, 1e6), metavar="R", help="requests a second of the light "
                        "load in mixed and blocking (a third of what the slowest server can do)")
    parser.add_argument("--no-pin", action="store_true", help="leave the cores to the scheduler")
    parser.add_argument("--no-install", action="store_true", help="take only what is there")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--svg", type=Path, metavar="DIR", help="write charts there")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there, between its lines "
                        "<!-- compare: begin --> and <!-- compare: end --> if it has them")
    parser.add_argument("--docs", action="store_true", help="all three, into docs/")
    parser.add_argument("--from", dest="source", type=Path, metavar="FILE", help="measure nothing, take the figures "
                        "of an earlier --json")
    return parser


def parse(arguments):
    given = _parser().parse_args(arguments)
    run_s = given.duration or (QUICK_RUN_S if given.quick else RUN_S)
    chosen = [name for names in given.server for name in names]
    outputs = {name: getattr(given, name) or (ROOT / path if given.docs else None) for name, path in DOCS.items()}
    return Options(
        servers=[name for name in NAMES if name in chosen or not chosen],
        cases=[case for case in CASES if not given.cases or case.name in given.cases],
        workers=given.workers, rounds=given.rounds or (QUICK_ROUNDS if given.quick else ROUNDS),
        pace=Pace(run_s, min(0.3, run_s)), light_rate=given.light_rate, cores=Cores(not given.no_pin),
        install=not given.no_install, source=given.source, **outputs)
