"""Reductions of returns, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from metajax.core.options import OptionError
from metajax.experiments import metrics

RETURNS = np.array([[1.0, 2.0], [3.0, 5.0]])
OPTIMUM = np.array([2.0, 5.0])


@pytest.mark.parametrize(
    ("metric", "streams", "expected"),
    [
        ("total", 1, [3, 8]),
        ("total", 5, [15, 40]),
        ("regret", 1, [1, 2]),  # 2 x 2 - 3, 2 x 5 - 8
        ("regret", 5, [5, 10]),
        ("normalized", 1, [0.75, 0.8]),
        ("normalized", 5, [0.75, 0.8]),
        ("per-episode", 1, RETURNS),
        ("after-steps", 5, RETURNS),
        ("error-after-steps", 5, -RETURNS),
        ("after-last-step", 5, [2, 5]),
        ("error-after-last-step", 5, [-2, -5]),
        ("success", 5, [0, 1]),
    ],
)
def test_metrics(metric, streams, expected):
    reduced = metrics.reduce(metric, RETURNS, streams=streams, optimum=OPTIMUM, threshold=3)
    np.testing.assert_allclose(reduced, expected)


def test_a_missing_optimum_is_named():
    with pytest.raises(OptionError, match='"regret" needs a family whose optimal return is known'):
        metrics.reduce("regret", RETURNS)


def test_standard_error():
    np.testing.assert_allclose(metrics.summary(RETURNS)["standard_error"], [1, 1.5])
    assert np.isnan(metrics.summary(np.array([1.0]))["standard_error"])
