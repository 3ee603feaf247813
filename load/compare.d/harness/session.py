"""A comparison from start to end: every case starts its servers, drives them in turns, and stops them."""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from . import results as results_of
from .calibrate import calibrate
from .instance import Failed, Instance
from .interrupts import held
from .measure import LIGHT_SHARE, capacity, measure, settle, warm_up
from .schedule import Clock, case_seconds, duration_text, rounds, run_seconds


CLEAR_LINE = "\r\033[K"


def say(text):
    print(text, file=sys.stderr, flush=True)


class Session:
    def __init__(self, options, tools, clients, servers, missing):
        """`servers` are those that can run here; `missing` says of the others why not."""
        self.options = options
        self.tools = tools
        self.clients = clients
        self.missing = missing
        self.pace = replace(options.pace, light_rate=options.light_rate or 0, burns={})
        self.capacities = {}
        self.about = {}
        self.all = [Instance(server, workers, options.cores) for server in servers for workers in options.workers]
        self.cases = [case for case in options.cases if self.instances_of(case)]
        self.clock = None

    def instances_of(self, case):
        return [instance for instance in self.all if instance.server.can(case)]

    def planned_s(self):
        total, seen = 0, False
        for case in self.cases:
            total += case_seconds(case, self.instances_of(case), self.options.rounds, self.pace,
                                  bool(case.beside) and not seen)
            seen = seen or bool(case.beside)
        return total

    def run(self):
        """Returns: the results, as a dict."""
        planned = self.planned_s()
        say(f"{len(self.cases)} cases, {len(self.all)} servers, {self.options.rounds} rounds: "
            f"about {duration_text(planned)}")
        self.clock = Clock(planned)
        cases = []
        with tempfile.TemporaryDirectory(prefix="compare.") as scratch:
            Path(scratch).chmod(0o755)
            for case in self.cases:
                cases.append(self._run_case(case, scratch).as_dict())
        return self._results(cases)

    def _run_case(self, case, scratch):
        instances = self.instances_of(case)
        result = results_of.CaseResult(case, instances)
        try:
            bodies = self._start(case, instances, scratch, result)
            self._prepare(case, bodies, result)
            self._drive(case, bodies, result)
        finally:
            with held():
                for instance in instances:
                    instance.begin_stop()
                for instance in instances:
                    instance.finish_stop()
        return result

    def _start(self, case, instances, scratch, result):
        """Starts all, and looks at their replies. Returns: instance -> the body that must come back under load."""
        bodies = {}
        for instance in instances:
            instance.start(case, self.tools, scratch)
            self._note(instance)
        for instance in instances:
            with _failing(instance, result):
                bodies[instance] = instance.wait(case)
        return bodies

    def _prepare(self, case, bodies, result):
        """Warm-up, and what the cases with a heavy load have to know first."""
        first = case.beside and not self.capacities
        for instance, body in list(bodies.items()):
            with _failing(instance, result, bodies):
                if case.beside == "burn" and instance.server.name not in self.pace.burns:
                    self.pace.burns[instance.server.name] = calibrate(instance)
                warm_up(instance, case, self.clients, self.pace, body)
                if case.beside and instance.name not in self.capacities:
                    settle(instance, case)
                    self.capacities[instance.name] = capacity(instance, case, self.clients, self.pace, body)
        if case.beside and not self.pace.light_rate and self.capacities:
            self.pace = replace(self.pace, light_rate=min(self.capacities.values()) * LIGHT_SHARE)
        self.clock.did(case_seconds(case, self.instances_of(case), 0, self.pace, first))

    def _drive(self, case, bodies, result):
        for turn, instance in rounds(list(self.instances_of(case)), self.options.rounds):
            self.clock.did(run_seconds(case, self.pace))
            if instance not in bodies:
                continue
            with _failing(instance, result, bodies):
                sample = measure(instance, case, self.clients, self.pace, bodies[instance])
                result.add(turn, instance, sample)
                self._progress(case, turn, instance, sample)

    def _progress(self, case, turn, instance, sample):
        line = (f"{case.name} {turn + 1}/{self.options.rounds} {instance.name}: {sample['rate']:.0f} req/s, "
                f"p99 {sample['p99_ms']:.2f} ms; {self.clock.left_text()}")
        if sys.stderr.isatty():
            print(f"{CLEAR_LINE}{line}", end="", file=sys.stderr, flush=True)
        else:
            say(line)

    def _note(self, instance):
        server = instance.server
        self.about.setdefault(instance.name, {
            "name": server.name, "workers": instance.workers, "title": server.title,
            "version": server.version(self.tools), "command": " ".join(instance.command),
            "threads": server.threads_text(instance.workers), "keep_alive": server.keep_alive,
            "logging": server.logging, "more": server.more, "cores": instance.cores})

    def _results(self, cases):
        for name, about in self.about.items():
            about["capacity"] = self.capacities.get(name)
            burn = self.pace.burns.get(about["name"])
            about["burn"] = burn and {"turns": burn.turns, "cpu_ms": burn.cpu_ms}
        return {"format": results_of.FORMAT, "machine": self.options.machine, "options": self.options.as_dict(),
                "light_rate": self.pace.light_rate, "servers": list(self.about.values()),
                "missing": self.missing, "cases": cases}


class _failing:
    """What fails in the block is reported, and the server takes no further part in the case."""

    def __init__(self, instance, result, bodies=None):
        self.instance, self.result, self.bodies = instance, result, bodies

    def __enter__(self):
        return self

    def __exit__(self, kind, why, _):
        if kind is None or not issubclass(kind, Failed):
            return False
        say(f"{CLEAR_LINE if sys.stderr.isatty() else ''}{self.instance.name} FAILED: {why}")
        self.result.fail(self.instance, why)
        if self.bodies is not None:
            self.bodies.pop(self.instance, None)
        return True
