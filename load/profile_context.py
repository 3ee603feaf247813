"""load/profile_context_creation.sh's body: the plan, its rounds, and where the report goes. --help tells more."""

import argparse
import os
import platform
import shlex
import shutil
import sys
from pathlib import Path

import profile_measure as measure
import profile_report as report
from profile_measure import ROOT, Failure
from profile_progress import Progress

PATTERNS = ("none", "method", "params", "all", "real", "own")
USUAL = {"runs": 12, "requests": 20000, "duration": 2}
QUICK = {"runs": 6, "requests": 4000, "duration": 0.2}
CONNECTIONS = 64

ABOUT = """What the request context costs with each of its strategies, for six ways to use it, at three levels: inside
the VM, in CPU time of the whole server, and in requests a second and p99 latency under wrk. The handlers are the
same for all; the strategies take turns, forwards and backwards; every reply is compared before it is timed."""

AFTER = """Patterns: none, method, params, all, real (params, body, headers with an auth check), own (the handler keeps
fields of its own on ctx). Needs wrk for the whole server and valgrind for --callgrind. POOLSRV_BUILD names another
build than build/release, which is then not made anew. Exit codes: 0, 1 when a reply was wrong or a program failed,
2 usage."""


def words(allowed):
    def read(text):
        chosen = text.split(",")
        for word in chosen:
            if word not in allowed:
                raise argparse.ArgumentTypeError(f"{word!r} is none of {', '.join(allowed)}")
        return chosen

    return read


def positive(kind):
    def read(text):
        value = kind(text)
        if not value > 0:
            raise argparse.ArgumentTypeError(f"{text} is not above 0")
        return value

    return read


def read_arguments(argv):
    parser = argparse.ArgumentParser(
        prog="load/profile_context_creation.sh", description=ABOUT, epilog=AFTER, allow_abbrev=False
    )
    parser.add_argument("--quick", action="store_true", help="under a minute: 6 short rounds")
    parser.add_argument("--runs", type=positive(int), metavar="N", help="rounds (12); fewer than 6 give no 95 %%")
    parser.add_argument("--requests", type=positive(int), metavar="N", help="requests a sample in the VM (20000)")
    parser.add_argument("--duration", type=positive(float), metavar="S", help="seconds of wrk a sample (2)")
    parser.add_argument("--connections", type=positive(int), metavar="N", default=CONNECTIONS, help="keep-alive ones (64)")
    parser.add_argument(
        "--levels", type=words(("vm", "server")), default=["vm", "server"], metavar="L", help="vm,server"
    )
    parser.add_argument("--patterns", type=words(PATTERNS), default=list(PATTERNS), metavar="P", help="some only")
    parser.add_argument("--no-pin", action="store_true", help="leave the cores to the scheduler")
    parser.add_argument("--callgrind", action="store_true", help="count instructions in the VM too (valgrind)")
    for name, what in (
        ("json", "everything, every sample included"),
        ("svg", "bar charts with intervals"),
        ("markdown", "the tables; in docs/CONTEXT.md they go between the marks"),
        ("costs", "rewrite api/program/context_costs.def, from which `poolsrv profile` reckons"),
    ):
        parser.add_argument(f"--{name}", type=Path, metavar="FILE", help=what)
    args = parser.parse_args(argv)
    for name, value in (QUICK if args.quick else USUAL).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    if args.costs and "vm" not in args.levels:
        parser.error("--costs needs the level vm")
    return args


def command_line(args):
    """What makes the same figures again: the options, without the files that they went to."""
    given = ["load/profile_context_creation.sh"]
    if args.quick:
        given.append("--quick")
    for name, usual in {**(QUICK if args.quick else USUAL), "connections": CONNECTIONS}.items():
        value = getattr(args, name)
        if value != usual:
            given += [f"--{name}", f"{value:g}"]
    for name, usual in (("levels", ["vm", "server"]), ("patterns", list(PATTERNS))):
        if getattr(args, name) != usual:
            given += [f"--{name}", ",".join(getattr(args, name))]
    given += [f"--{name.replace('_', '-')}" for name in ("no_pin", "callgrind") if getattr(args, name)]
    return shlex.join(given)


def machine():
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    load = " ".join(f"{value:.2f}" for value in os.getloadavg())
    return f"{os.cpu_count()} cores ({model}), {platform.system()}, load before the start {load}"


def need(tool, package):
    if not shutil.which(tool):
        raise Failure(f"{tool} is missing: apt install {package}")


def turn(strategies, round_number):
    """ABCD, DCBA, ABCD ..."""
    return strategies if round_number % 2 == 0 else strategies[::-1]


class Profile:
    """The whole measurement; what it finds is in `result`."""

    def __init__(self, args):
        self.args = args
        self.build = Path(os.environ.get("POOLSRV_BUILD") or ROOT / "build/release")
        self.harness = measure.Harness(self.build / "load")
        strategies, titles = self.harness.cases()
        self.patterns = [name for name in PATTERNS if name in args.patterns]
        self.fields = [name for name in titles if name.startswith("field/")]
        self.result = report.Result(
            command=command_line(args),
            machine=machine(),
            settings={name: getattr(args, name) for name in ("runs", "requests", "duration", "connections", "levels")},
            strategies=strategies,
            titles={name: titles[name] for name in self.patterns},
        )
        self.progress = Progress(self._plan())

    def _plan(self):
        args, pairs = self.args, len(self.patterns) * len(self.result.strategies)
        in_vm = args.runs if "vm" in args.levels else 0
        driven = args.runs * pairs if "server" in args.levels else 0
        return {
            "vm": (in_vm, 0.2 + 80 * args.requests * 0.5e-6),
            "counts": (1 if in_vm else 0, 0.5),
            "callgrind": (len(self._counted()) if args.callgrind else 0, 3),
            "check": (pairs if driven else 0, 0.2),
            "server": (driven, args.duration + 0.1),
        }

    def _counted(self):
        """The pairs whose instructions are counted: no context at all suits the handler that reads none only."""
        pairs = [(case, strategy) for case in self.patterns for strategy in self.result.strategies]
        return pairs + [("none", report.WITHOUT)] * ("none" in self.patterns)

    def run(self):
        if "vm" in self.args.levels:
            self._run_vm()
        if self.args.callgrind:
            self._count_instructions()
        if "server" in self.args.levels:
            self._run_server()
        return self.result

    def _run_vm(self):
        cases = self.patterns + self.fields
        strategies = [*self.result.strategies, report.WITHOUT]
        for number in range(self.args.runs):
            self.result.add("vm", self.harness.times(turn(strategies, number), cases, self.args.requests))
            for name, ns in self.harness.steps().items():
                self.result.steps.setdefault(name, []).append(ns)
            self.progress.step("vm", "in the VM")
        self.result.allocations = self.harness.allocations(strategies, self.patterns, self.args.requests)
        self.progress.step("counts", "allocations")

    def _count_instructions(self):
        need("valgrind", "valgrind")
        for case, strategy in self._counted():
            self.result.instructions[case, strategy] = self.harness.instructions(case, strategy)
            self.progress.step("callgrind", "instructions")

    def _run_server(self):
        need("wrk", "wrk")
        pin = not self.args.no_pin and os.cpu_count() > 1 and shutil.which("taskset")
        server_core, client_core = (("taskset", "-c", "0"), ("taskset", "-c", "1")) if pin else ((), ())
        strategies, connections = self.result.strategies, self.args.connections
        with measure.servers(self.build / "poolsrv", strategies, server_core) as running:
            for case in self.patterns:
                for strategy in strategies:
                    measure.check(running[strategy], case, connections, client_core)
                    self.progress.step("check", "looking at the replies")
            for number in range(self.args.runs):
                for case in self.patterns:
                    for strategy in turn(strategies, number):
                        figures = measure.drive(
                            running[strategy], case, self.args.duration, connections, client_core
                        )
                        for level, value in figures.items():
                            self.result.add(level, {(case, strategy): value})
                        self.progress.step("server", "the whole server")


def main(argv):
    args = read_arguments(argv)
    try:
        result = Profile(args).run()
        for path, make in (
            (args.json, report.as_json),
            (args.svg, report.svg),
            (args.markdown, report.markdown),
            (args.costs, report.costs_file),
        ):
            if path:
                text = make(result)
                if path == args.markdown and path.exists():
                    text = report.put_between_marks(path.read_text(), text)
                path.write_text(text)
    except (Failure, OSError) as problem:
        print(f"profile_context_creation.sh: {problem}", file=sys.stderr)
        return 1
    sys.stdout.write(report.text(result))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
