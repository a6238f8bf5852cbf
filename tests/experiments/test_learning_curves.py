"""Learning curves against numbers done by hand, and what must hold of any of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from metajax.experiments import learning_curves, statistics
from metajax.experiments.learning_curves import Curves

STEPS = np.array([0.0, 100.0, 200.0, 400.0])
FEW = 200

curve = arrays(np.float64, 4, elements=st.floats(-100, 100, width=32))


def test_area_of_straight_lines():
    # (0 + 10) / 2 x 100 + 10 x 100 + (10 + 20) / 2 x 200 = 500 + 1000 + 3000, of 400 steps.
    assert learning_curves.area(STEPS, np.array([0.0, 10, 10, 20])) == 4500 / 400


def test_steps_to_a_threshold():
    rising = np.array([0.0, 10, 10, 20])
    assert learning_curves.steps_to(STEPS, rising, 5) == 50
    assert learning_curves.steps_to(STEPS, rising, 10) == 100
    assert learning_curves.steps_to(STEPS, rising, 15) == 300
    assert learning_curves.steps_to(STEPS, rising, 20) == 400
    assert learning_curves.steps_to(STEPS, rising, 20.1) == math.inf
    assert learning_curves.steps_to(STEPS, rising, -1) == 0
    # The first time counts, though the curve falls below it again.
    assert learning_curves.steps_to(STEPS, np.array([0.0, 8, 2, 20]), 4) == 50


@given(curve, st.floats(-100, 100))
def test_a_curve_is_at_the_threshold_where_it_is_said_to_reach_it(returns, threshold):
    steps = learning_curves.steps_to(STEPS, returns, threshold)
    if math.isinf(steps):
        assert (returns < threshold).all()
    elif steps == 0:
        assert returns[0] >= threshold
    else:
        np.testing.assert_allclose(np.interp(steps, STEPS, returns), threshold, atol=1e-4)
        assert (returns[steps - 1e-6 > STEPS] < threshold).all()


@given(curve, curve)
def test_area_is_linear_and_between_the_extremes(one, other):
    area = learning_curves.area(STEPS, np.stack([one, other, one + other]))
    np.testing.assert_allclose(area[2], area[0] + area[1], atol=1e-9)
    assert one.min() - 1e-9 <= area[0] <= one.max() + 1e-9


def test_mean_curve_cuts_a_quarter_off_each_end_at_every_point():
    # Two seeds, two tasks: of four values at a point the middle two count.
    returns = np.array([[[0.0, 9], [1, 1]], [[3, 5], [100, 3]]])
    np.testing.assert_array_equal(learning_curves.mean_curve(returns), [2, 4])


def test_interquartile_mean_over_some_axes_is_that_of_each_entry():
    values = np.random.default_rng(0).normal(size=(3, 5, 2))
    each = [statistics.interquartile_mean(values[..., index]) for index in range(2)]
    np.testing.assert_allclose(statistics.interquartile_mean(values, axis=(0, 1)), each)


def test_numbers_of_a_method_without_noise():
    returns = np.broadcast_to([0.0, 10, 10, 20], (2, 3, 4))
    found = learning_curves.summary(Curves(STEPS, returns), 15, num_resamples=FEW)
    assert found.area == (4500 / 400,) * 3
    assert found.steps == (300,) * 3
    assert found.final == (20,) * 3
    assert found.ratio is None


def test_ratio_of_steps():
    fast = Curves(STEPS, np.broadcast_to([0.0, 20, 20, 20], (1, 3, 4)))
    slow = Curves(STEPS, np.broadcast_to([0.0, 0, 10, 20], (2, 3, 4)))
    never = Curves(STEPS, np.zeros((1, 3, 4)))

    def ratio(one, other, threshold=10):
        return learning_curves.ratio_of_steps(one, other, threshold, num_resamples=FEW)

    assert ratio(fast, slow) == (0.25,) * 3
    # The lifetime of 400 stands for the steps of a baseline that never gets there.
    assert ratio(fast, never) == (0.125,) * 3
    assert ratio(never, fast) == (math.inf,) * 3
    assert ratio(fast, slow, threshold=0) == (math.inf,) * 3
    assert ratio(fast, Curves(STEPS, np.zeros((1, 2, 4)))) is None


def test_an_interval_may_reach_beyond_the_lifetime():
    # Of ten tasks six get there, and the middle half of a resample need not.
    returns = np.zeros((1, 10, 2))
    returns[0, :6, 1] = 10
    steps = np.array([0.0, 10.0])
    found = learning_curves.summary(Curves(steps, returns), 6, num_resamples=FEW).steps
    assert found.low < found.value < 10
    assert found.high == math.inf


def _means(samples):
    return samples.mean(axis=(1, 2))[:, np.newaxis]


def test_seeds_are_drawn_as_a_whole():
    # All tasks of a seed are alike: the mean is 0 or 1 with probability 1/4 each, so that
    # the interval is everything. Drawing seeds task by task would give about 0.5 -+ 0.1.
    scores = np.repeat([[0.0], [1.0]], 100, axis=1)
    crossed, stratified = (
        statistics.bootstrap([scores], _means, num_resamples=FEW, stratified=each)[0]
        for each in (False, True)
    )
    assert crossed == (0.5, 0, 1)
    assert stratified.half_width < 0.12


def test_tasks_are_drawn_together_for_all_methods():
    # Tasks differ widely, methods by 1 in each of them: the difference is certain.
    rng = np.random.default_rng(0)
    one = 100 * rng.normal(size=(1, 30))
    [difference] = statistics.bootstrap(
        [one + 1, one], lambda a, b: _means(a) - _means(b), num_resamples=FEW
    )
    np.testing.assert_allclose(difference, 1, atol=1e-9)
    with pytest.raises(ValueError, match=r"of \[3, 30\] tasks; allowed: the same number"):
        statistics.bootstrap([one, one[:, :3]], lambda a, b: [0], num_resamples=FEW)


def test_the_interval_covers_the_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    covered = []
    for _ in range(200):
        seeds, tasks = rng.normal(size=(8, 1)), rng.normal(size=(1, 40))
        values = seeds + 2 * tasks + rng.normal(size=(8, 40))
        [one] = statistics.bootstrap([values], _means, num_resamples=FEW)
        covered.append(one.low <= 0 <= one.high)
    assert np.mean(covered) > 0.88


def test_records_of_different_lifetimes_are_not_one_curve():
    one = {"row": "dqn", "steps": [0, 10], "returns": [[1, 2]]}
    curves = learning_curves.read([one, {**one, "returns": [[3, 4]]}])
    assert curves.returns.shape == (2, 1, 2)
    assert curves.steps[-1] == 10
    with pytest.raises(ValueError, match="dqn: its seeds were measured at different steps"):
        learning_curves.read([one, {**one, "steps": [0, 20]}])
