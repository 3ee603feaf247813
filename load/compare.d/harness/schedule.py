"""In which order runs come, and how long all of it takes."""

import time

from .measure import LEAD_S, TIMEOUT_S, light_s, warm_up_s

RUN_OVERHEAD_S = 0.08  # the client's start and end, one checked request
START_S = 2.5  # of all the servers of a case, and their end
CALIBRATE_S = 1.2


def rounds(instances, count):
    """(round, instance): A B C, then C B A, and so on, so that no drift of the machine favours one of them."""
    for turn in range(count):
        for instance in (instances if turn % 2 == 0 else reversed(instances)):
            yield turn, instance


def run_seconds(case, pace):
    if case.beside:
        return LEAD_S + light_s(pace) + TIMEOUT_S / 2 + 2 * RUN_OVERHEAD_S
    return pace.run_s + RUN_OVERHEAD_S


def case_seconds(case, instances, count, pace, first_beside):
    """Of a whole case: start, warm-up, and all its rounds."""
    warm = sum(warm_up_s(instance, pace) for instance in instances)
    each = RUN_OVERHEAD_S + count * run_seconds(case, pace)
    if case.beside:
        each += pace.warm_up_s + RUN_OVERHEAD_S
    if first_beside:
        each += pace.run_s + CALIBRATE_S
    return START_S + warm + len(instances) * each


class Clock:
    """The time left, from what the work so far took in place of what was planned."""

    def __init__(self, planned_s):
        self.planned_s = planned_s
        self.done_s = 0
        self.begin = time.monotonic()

    def did(self, seconds):
        self.done_s += seconds

    def left_s(self):
        passed = time.monotonic() - self.begin
        pace = passed / self.done_s if self.done_s > self.planned_s / 50 else 1
        return max(0, self.planned_s - self.done_s) * pace

    def left_text(self):
        return duration_text(self.left_s()) + " left"


def duration_text(seconds):
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
