"""Results: the samples of every run, and what they say together. This is what --json writes and --from reads.

    format, machine, options, light_rate, servers, missing, cases
    servers    name, workers -> title, version, command, threads, keep_alive, logging, more, capacity, burn
    cases      name, title, rows; a row is a server with so many workers:
               samples by round, summary (metric -> value, low, high), to_poolsrv (ratios of the same round), failed
"""

import json

from stats import MIN_RUNS, estimate, estimate_ratio

FORMAT = 1
BASE = "poolsrv"
COMPARED = ("cpu_us", "rate", "p99_ms", "heavy_rate")


def _as_dict(found):
    return {"value": found.value, "low": found.low, "high": found.high}


def summary(samples):
    """Of each figure: the median over the rounds, with its interval."""
    names = samples[0].keys() if samples else ()
    return {name: _as_dict(estimate([sample[name] for sample in samples])) for name in names}


def ratios(rounds, base_rounds):
    """How this row's figures stand to another's in the same rounds. Both map rounds to samples."""
    both = sorted(rounds.keys() & base_rounds.keys())
    found = {}
    for name in COMPARED:
        pairs = [(rounds[i][name], base_rounds[i][name]) for i in both if name in rounds[i]]
        if pairs and all(other > 0 for _, other in pairs):
            found[name] = _as_dict(estimate_ratio([own for own, _ in pairs], [other for _, other in pairs]))
    return found


class CaseResult:
    def __init__(self, case, instances):
        self.case = case
        self.rounds = {instance.name: {} for instance in instances}
        self.instances = instances
        self.failed = {}

    def add(self, turn, instance, sample):
        self.rounds[instance.name][turn] = sample

    def fail(self, instance, why):
        self.failed[instance.name] = str(why)

    def as_dict(self):
        return {"name": self.case.name, "title": self.case.title, "connections": self.case.connections,
                "beside": self.case.beside, "rows": [self._row(instance) for instance in self.instances]}

    def _row(self, instance):
        own = self.rounds[instance.name]
        base = self.rounds.get(f"{BASE}/{instance.workers}", {})
        return {"server": instance.server.name, "workers": instance.workers,
                "failed": self.failed.get(instance.name),
                "summary": summary(list(own.values())), "to_poolsrv": ratios(own, base),
                "samples": [{"round": turn, **sample} for turn, sample in sorted(own.items())]}


def exact_enough(results):
    """Are there enough rounds for intervals of 95 %?"""
    return results["options"]["rounds"] >= MIN_RUNS


def any_failed(results):
    return any(row["failed"] for case in results["cases"] for row in case["rows"])


def write(results, file):
    file.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")


def read(file):
    results = json.loads(file.read_text())
    if results.get("format") != FORMAT:
        raise ValueError(f"{file} is not of format {FORMAT}")
    return results
