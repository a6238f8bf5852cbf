"""Means, interquartile means and intervals over seeds and tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Estimate(NamedTuple):
    """A number and its interval.

    Attributes:
      value: the estimate.
      low, high: ends of the interval; NaN where there is too little data.
    """

    value: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half the length of the interval."""
        return (self.high - self.low) / 2


def mean(values: ArrayLike, level: float = 0.95) -> Estimate:
    """Mean of independent values, with Student's interval.

    ``mean -+ t * s / sqrt(n)``, t the quantile with n - 1 degrees of freedom. For
    five seeds t is 2.78, where a normal approximation would say 1.96.

    Args:
      values: ``[n]``, for example one mean return a seed.
      level: of the interval, between 0 and 1.

    Returns:
      the ``Estimate``; without an interval for n = 1.

    Raises:
      ValueError: if there are no values, or for an impossible level.
    """
    array = _values(values, level)
    value = float(np.mean(array))
    if array.size == 1:
        return Estimate(value, np.nan, np.nan)
    from scipy import stats

    error = float(np.std(array, ddof=1)) / np.sqrt(array.size)
    width = float(stats.t.ppf((1 + level) / 2, array.size - 1)) * error
    return Estimate(value, value - width, value + width)


def interquartile_mean(values: ArrayLike) -> float:
    """Mean of the middle half: a quarter of all values, rounded down, is cut off at each end.

    Source: Agarwal et al. (2021), "Deep reinforcement learning at the edge of the
    statistical precipice", section 4.3.

    Args:
      values: of any shape, flattened.
    """
    array = np.sort(_values(values).ravel())
    cut = array.size // 4
    return float(np.mean(array[cut : array.size - cut]))


def stratified_bootstrap(
    scores: ArrayLike,
    statistic: Callable[[np.ndarray], float] = interquartile_mean,
    *,
    level: float = 0.95,
    num_resamples: int = 2000,
    seed: int = 0,
) -> Estimate:
    """A statistic over seeds and tasks, with a percentile interval.

    Seeds are drawn again with replacement within each task, independently, so that
    every resample holds every task equally often (Agarwal et al. 2021, section 4.1).

    Args:
      scores: ``[num_seeds, num_tasks]``.
      statistic: ``([num_seeds, num_tasks]) -> float``.
      level: of the interval.
      num_resamples: of the bootstrap.
      seed: of its random draws.

    Raises:
      ValueError: if ``scores`` is not a matrix with values in it.
    """
    matrix = _values(scores, level)
    if matrix.ndim != 2:
        raise ValueError(f"scores: shape {matrix.shape} given; allowed: [num_seeds, num_tasks]")
    num_seeds, num_tasks = matrix.shape
    draws = np.random.default_rng(seed).integers(num_seeds, size=(num_resamples, *matrix.shape))
    columns = np.arange(num_tasks)
    replicates = [statistic(matrix[draw, columns]) for draw in draws]
    tail = (1 - level) / 2
    low, high = np.quantile(replicates, [tail, 1 - tail])
    return Estimate(float(statistic(matrix)), float(low), float(high))


def _values(values: ArrayLike, level: float = 0.95) -> np.ndarray:
    array = np.asarray(values, np.float64)
    if array.size == 0:
        raise ValueError("values: none given; allowed: at least one")
    if not 0 < level < 1:
        raise ValueError(f"level: {level} given; allowed: above 0 and below 1")
    return array
