"""How far a long measurement is, and how long it will still take: one line that is rewritten on a terminal, and a
new line now and then elsewhere."""

import sys
import time

LINE_EVERY_S = 15


def span(seconds):
    """"50 s", "3 min 20 s"."""
    seconds = max(0, round(seconds))
    return f"{seconds} s" if seconds < 90 else f"{seconds // 60} min {seconds % 60:02d} s"


class Progress:
    """`plan` maps each kind of step to how many there will be and the seconds that one is thought to take; once
    some have been seen, their own mean counts."""

    def __init__(self, plan, out=sys.stderr, clock=time.monotonic):
        self.plan = dict(plan)
        self.seen = {kind: (0, 0.0) for kind in plan}
        self.out, self.clock = out, clock
        self.last = clock()
        self.shown = None

    def left_s(self):
        total = 0.0
        for kind, (count, guess_s) in self.plan.items():
            done, took_s = self.seen[kind]
            total += (count - done) * (took_s / done if done else guess_s)
        return total

    def step(self, kind, what):
        """A step of that kind has ended."""
        now = self.clock()
        done, took_s = self.seen[kind]
        self.seen[kind] = (done + 1, took_s + now - self.last)
        self.last = now
        self._show(now, what)

    def _show(self, now, what):
        done = sum(count for count, _ in self.seen.values())
        total = sum(count for count, _ in self.plan.values())
        text = f"{done}/{total}  {what}, {span(self.left_s())} left"
        if self.out.isatty():
            self.out.write(f"\r\033[K{text}" if done < total else "\r\033[K")
        elif self.shown is None or now - self.shown >= LINE_EVERY_S or done == total:
            self.shown = now
            self.out.write(text + "\n")
        self.out.flush()
