"""Medians, bootstrap intervals and the verdicts on them."""

import random

import pytest
import stats
from stats import Estimate


def gain(low, high, runs=10):
    return Estimate((low + high) / 2, low, high, runs)


def test_the_median_is_the_middle_one_or_between_the_middle_two():
    assert stats.median([3, 1, 2]) == 2
    assert stats.median([4, 1, 3, 2]) == 2.5


def test_no_values_have_no_median():
    with pytest.raises(ValueError):
        stats.median([])


def test_equal_runs_leave_no_doubt():
    assert stats.estimate([7.0] * 8) == Estimate(7.0, 7.0, 7.0, 8)


def test_the_interval_holds_its_median_and_stays_within_the_runs():
    values = [9, 11, 10, 30, 8, 10, 12, 9]
    got = stats.estimate(values)
    assert min(values) <= got.low <= got.value <= got.high <= max(values)
    assert got.low < got.high


def test_the_same_runs_give_the_same_interval():
    values = [1.5, 2.5, 9, 4, 3, 8]
    assert stats.estimate(values) == stats.estimate(values)


def test_one_outlier_does_not_move_the_interval_far():
    values = [10, 10.1, 9.9, 10, 10.2, 9.8, 10, 10.1, 9.9]
    assert stats.estimate([*values, 500]).high < 10.5


def test_about_95_of_100_intervals_hold_what_they_look_for():
    noise = random.Random(1)
    held = 0
    for _ in range(200):
        got = stats.estimate([noise.gauss(50, 5) for _ in range(15)], resamples=400)
        held += got.low <= 50 <= got.high
    assert 0.90 <= held / 200 <= 0.99


def test_pairs_cancel_the_noise_that_they_share():
    base = [10, 20, 15, 40, 12, 33]
    ratio = stats.estimate_ratio([0.8 * value for value in base], base)
    assert ratio.low == pytest.approx(0.8) and ratio.high == pytest.approx(0.8)


def test_lists_of_different_length_are_no_pairs():
    with pytest.raises(ValueError):
        stats.estimate_ratio([1, 2], [1, 2, 3])


def test_a_gain_is_less_cost_or_more_of_what_is_wanted():
    assert stats.estimate_gain([75.0] * 6, [100.0] * 6).value == pytest.approx(0.25)
    assert stats.estimate_gain([125.0] * 6, [100.0] * 6, more_is_better=True).value == pytest.approx(0.25)


def test_the_interval_of_a_gain_in_cost_is_not_upside_down():
    got = stats.estimate_gain([80, 85, 90, 95, 70, 75], [100.0] * 6)
    assert got.low <= got.value <= got.high


@pytest.mark.parametrize(
    "low, high, word",
    [
        (0.101, 0.5, "A"),
        (0.10, 0.5, "B"),  # not the whole of it is above 10 %
        (0.001, 0.3, "B"),
        (0.002, 0.008, "C"),  # above zero, but nobody would notice
        (0.005, 0.0101, "B"),
        (-0.01, 0.01, "C"),
        (-0.008, -0.002, "C"),
        (0.0, 0.0, "C"),
        (-0.0101, 0.01, "Not distinguishable at 10 runs"),
        (0.0, 0.5, "Not distinguishable at 10 runs"),  # zero is held at the very edge
        (-0.5, 0.0, "Not distinguishable at 10 runs"),
        (-0.2, 0.2, "Not distinguishable at 10 runs"),
        (-0.3, -0.001, "Worse"),
        (-0.0101, -0.005, "Worse"),
    ],
)
def test_the_verdict_on_an_interval(low, high, word):
    assert stats.verdict(gain(low, high)) == word


def test_the_verdict_says_how_many_runs_were_not_enough():
    assert stats.verdict(gain(-0.2, 0.2, runs=7)) == "Not distinguishable at 7 runs"
