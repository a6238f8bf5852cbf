"""Statistics against numbers computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from metajax.experiments import statistics


def test_mean_and_interval_of_students_distribution():
    # Mean 3, variance (4 + 1 + 0 + 1 + 4) / 4 = 2.5; t of 4 degrees of freedom is 2.776445.
    estimate = statistics.mean([1, 2, 3, 4, 5])
    width = 2.776445105 * math.sqrt(2.5 / 5)
    assert estimate.value == 3
    np.testing.assert_allclose(estimate[1:], (3 - width, 3 + width), rtol=1e-8)
    np.testing.assert_allclose(estimate.half_width, width, rtol=1e-8)


def test_mean_of_two_values():
    # t of one degree of freedom at 0.975 is tan(0.475 pi) = 12.7062; s / sqrt(2) = 1.
    estimate = statistics.mean([0, 2])
    np.testing.assert_allclose(estimate.high, 1 + math.tan(0.475 * math.pi), rtol=1e-8)


def test_one_value_has_no_interval():
    value, low, high = statistics.mean([7.0])
    assert value == 7
    assert math.isnan(low)
    assert math.isnan(high)


def test_the_interval_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    samples = rng.normal(3, 2, (2000, 5))
    estimates = [statistics.mean(sample) for sample in samples]
    covered = np.mean([one.low <= 3 <= one.high for one in estimates])
    # The standard error of this frequency is 0.005.
    assert abs(covered - 0.95) < 0.02


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2, 3, 100], 2.5),  # one cut off at each end
        ([5, 1, 2, 3, 100], 10 / 3),  # a quarter of 5 is 1, rounded down
        ([1, 2, 3], 2.0),  # nothing is cut off
        ([[8, 1, 2, 3], [4, 5, 6, 7]], 4.5),  # of all values: 3, 4, 5, 6
    ],
)
def test_interquartile_mean(values, expected):
    assert statistics.interquartile_mean(values) == pytest.approx(expected, abs=1e-12)


def _stratified(scores, statistic=statistics.interquartile_mean, **options):
    options = {"stratified": True, "num_resamples": 2000, **options}
    (estimate,) = statistics.bootstrap([scores], _each(statistic), **options)
    return estimate


def _each(statistic):
    """A number of each resample of one method, as ``bootstrap`` asks for it."""
    return lambda samples: statistic(samples, axis=(1, 2))[:, np.newaxis]


def test_bootstrap_draws_seeds_within_each_task():
    # The mean over 2 seeds of one task at 0 or 1, the other at 10 always: exactly
    # 5, 5.25 and 5.5 with probabilities 1/4, 1/2 and 1/4.
    scores = np.array([[0.0, 10.0], [1.0, 10.0]])
    assert _stratified(scores, np.mean, level=0.4) == (5.25, 5.25, 5.25)
    assert _stratified(scores, np.mean, level=0.9) == (5.25, 5.0, 5.5)


def test_bootstrap_is_reproducible_and_narrows_with_seeds():
    rng = np.random.default_rng(1)
    few, many = rng.normal(size=(4, 10)), rng.normal(size=(64, 10))
    assert _stratified(few) == _stratified(few)
    wide, narrow = map(_stratified, (few, many))
    assert narrow.half_width < wide.half_width / 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: statistics.mean([]), "values: none given"),
        (lambda: statistics.mean([1, 2], level=95), "level: 95 given"),
        (lambda: _stratified([1, 2]), "num_seeds, num_tasks"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
