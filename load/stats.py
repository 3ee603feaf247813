"""What the load scripts say of repeated runs: medians, bootstrap intervals, verdicts.

The bootstrap draws from the runs themselves, so it needs no assumption on how the noise of a shared machine is
distributed; its random numbers begin with a fixed seed, so the same runs always give the same interval. With
fewer than six runs no interval of a median reaches 95 %: see MIN_RUNS.
"""

import random
from dataclasses import dataclass

MIN_RUNS = 6  # the range of n runs holds the median with 1 - 2 / 2^n: 94 % for five, 97 % for six
RESAMPLES = 4000
SEED = 20240229

CLEAR = 0.10  # a gain above this is verdict A
SAME = 0.01  # within this, either way, is verdict C


@dataclass(frozen=True)
class Estimate:
    """A median and its 95 % interval, from so many runs."""

    value: float
    low: float
    high: float
    runs: int


def median(values):
    """The middle one, or the mean of the two in the middle."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no values")
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def quantile(ordered, share):
    """Of values in order; between two of them in proportion."""
    at = share * (len(ordered) - 1)
    below = int(at)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (at - below)


def estimate(values, statistic=median, resamples=RESAMPLES, seed=SEED):
    """The statistic of the values, with its 95 % bootstrap interval (percentiles)."""
    values = list(values)
    draw = random.Random(seed)
    drawn = sorted(statistic(draw.choices(values, k=len(values))) for _ in range(resamples))
    return Estimate(statistic(values), quantile(drawn, 0.025), quantile(drawn, 0.975), len(values))


def estimate_ratio(values, base):
    """The median of values[i] / base[i]: pairs of the same round, whose common noise cancels."""
    values, base = list(values), list(base)
    if len(values) != len(base):
        raise ValueError(f"{len(values)} values cannot be paired with {len(base)}")
    return estimate([value / other for value, other in zip(values, base)])


def estimate_gain(values, base, more_is_better=False):
    """How much better than the base, as a share of it: 0.1 is 10 % less cost, or 10 % more of what is wanted."""
    ratio = estimate_ratio(values, base)
    if more_is_better:
        return Estimate(ratio.value - 1, ratio.low - 1, ratio.high - 1, ratio.runs)
    return Estimate(1 - ratio.value, 1 - ratio.high, 1 - ratio.low, ratio.runs)


def verdict(gain):
    """What an interval of a gain says.

    A: the whole interval is above 10 %. C: it is within 1 % either way, on whichever side of zero: a difference
    that nobody would notice. B: the rest above zero. Worse: below zero. Otherwise it holds zero and is wider
    than that, and more runs are needed to say more.
    """
    if gain.low > CLEAR:
        return "A"
    if gain.low >= -SAME and gain.high <= SAME:
        return "C"
    if gain.low > 0:
        return "B"
    if gain.high < 0:
        return "Worse"
    return f"Not distinguishable at {gain.runs} runs"
