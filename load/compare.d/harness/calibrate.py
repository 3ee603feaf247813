"""How many turns of its loop are 20 ms of CPU for a server: found by asking, and told with what was seen."""

from dataclasses import dataclass

from stats import median

from .cases import BURN_MS, ECHO, Request
from .check import Asker, CannotAsk
from .instance import Failed

FIRST_TURNS = 100_000
ASKED = 5  # times each; the median counts
TRIES = 8
CLOSE_ENOUGH = 0.03


@dataclass(frozen=True)
class Burn:
    turns: int
    cpu_ms: float  # of a request with so many


def _cpu_ms(instance, asker, request):
    """What one such request costs the server, all its threads together."""
    costs = []
    for _ in range(ASKED):
        before = instance.cpu_us()
        asker.ask(request)
        costs.append((instance.cpu_us() - before) / 1000)
    return median(costs)


def calibrate(instance):
    """Compilers begin late and the machine has other work, so it is measured again until it fits."""
    turns, best = FIRST_TURNS, None
    try:
        with Asker(instance.port) as asker:
            plain_ms = _cpu_ms(instance, asker, ECHO)
            for _ in range(TRIES):
                burn = Burn(turns, _cpu_ms(instance, asker, Request(f"/burn?turns={turns}", None)) - plain_ms)
                if best is None or abs(burn.cpu_ms - BURN_MS) < abs(best.cpu_ms - BURN_MS):
                    best = burn
                if abs(best.cpu_ms - BURN_MS) <= CLOSE_ENOUGH * BURN_MS:
                    break
                factor = BURN_MS / max(burn.cpu_ms, BURN_MS / 50)
                turns = max(1, round(turns * factor))
    except CannotAsk as why:
        raise Failed(f"calibration: {why}") from None
    return best
