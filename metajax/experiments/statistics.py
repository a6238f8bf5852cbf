"""Means, interquartile means and intervals over seeds and tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

_AT_ONCE = 50  # resamples that a statistic is given; more take more memory, and no less time


class Estimate(NamedTuple):
    """A number and the ends of its interval, NaN where there is too little data."""

    value: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half the length of the interval."""
        return (self.high - self.low) / 2


def mean(values: ArrayLike, level: float = 0.95) -> Estimate:
    """Mean of independent values ``[n]``, with Student's interval of a probability ``level``.

    ``mean -+ t * s / sqrt(n)``, t the quantile with n - 1 degrees of freedom. For five seeds
    t is 2.78, where a normal approximation would say 1.96. One value has no interval.
    """
    array = _values(values, level)
    value = float(np.mean(array))
    if array.size == 1:
        return Estimate(value, np.nan, np.nan)
    from scipy import stats

    error = float(np.std(array, ddof=1)) / np.sqrt(array.size)
    width = float(stats.t.ppf((1 + level) / 2, array.size - 1)) * error
    return Estimate(value, value - width, value + width)


def interquartile_mean(values: ArrayLike, axis: int | Sequence[int] | None = None) -> Any:
    """Mean of the middle half: a quarter of all values, rounded down, is cut off at each end.

    Source: Agarwal et al. (2021), "Deep reinforcement learning at the edge of the
    statistical precipice", section 4.3.

    Args:
      values: array of any shape.
      axis: axes to take the mean over. Default: all.

    Returns:
      A float, or float64 of the shape of the other axes.
    """
    array = _values(values)
    axes = range(array.ndim) if axis is None else np.atleast_1d(axis).tolist()
    array = np.moveaxis(array, axes, range(-len(axes), 0))
    array = np.sort(array.reshape(*array.shape[: -len(axes)], -1), axis=-1)
    cut = array.shape[-1] // 4
    mean = np.mean(array[..., cut : array.shape[-1] - cut], axis=-1)
    return float(mean) if axis is None else mean


def bootstrap(
    samples: Sequence[ArrayLike],
    statistic: Callable[..., ArrayLike],
    *,
    stratified: bool = False,
    level: float = 0.95,
    num_resamples: int = 1000,
    seed: int = 0,
) -> list[Estimate]:
    """Statistics of methods that were measured in the same tasks, with percentile intervals.

    Seeds and tasks are both drawn again with replacement, every seed and every task as a whole:
    all tasks of a seed share what it has trained, so that the seeds within a task are not
    independent of those within another (Owen 2007, "The pigeonhole bootstrap"). Seeds are drawn
    method by method, tasks in common, so that a comparison is paired.

    Args:
      samples: ``[num_seeds, num_tasks, ...]`` of each method; seeds may differ in number.
      statistic: ``(samples of each method, [R, num_seeds, num_tasks, ...]) -> [R, M]``, of R
        resamples at once.
      stratified: draw seeds within each task, independently, so that every resample holds every
        task equally often (Agarwal et al. 2021, section 4.1).
      level: probability of the intervals.
      num_resamples: number of resamples.
      seed: seed of the random draws.

    Returns:
      M estimates. Infinite values of a statistic count as larger or smaller than all others.

    Raises:
      ValueError: if methods differ in their number of tasks.
    """
    arrays = [_values(sample, level) for sample in samples]
    for array in arrays:
        if array.ndim < 2:
            problem = f"shape {array.shape} given; allowed: [num_seeds, num_tasks, ...]"
            raise ValueError(f"samples: {problem}")
    numbers = sorted({array.shape[1] for array in arrays})
    if len(numbers) > 1:
        raise ValueError(f"samples: of {numbers} tasks; allowed: the same number in all")
    rng, num_tasks = np.random.default_rng(seed), numbers[0]
    rows = [array.reshape(-1, *array.shape[2:]) for array in arrays]

    def draw():
        """Rows of each method, ``[num_seeds, num_tasks]``."""
        tasks = np.arange(num_tasks) if stratified else rng.integers(num_tasks, size=num_tasks)
        sizes = [(len(one), num_tasks if stratified else 1) for one in arrays]
        return [rng.integers(size[0], size=size) * num_tasks + tasks for size in sizes]

    replicates = []
    for start in range(0, num_resamples, _AT_ONCE):
        drawn = [draw() for _ in range(start, min(start + _AT_ONCE, num_resamples))]
        chosen = map(np.stack, zip(*drawn, strict=True))
        replicates.extend(np.asarray(statistic(*map(np.ndarray.__getitem__, rows, chosen))))
    tail = (1 - level) / 2
    # Interpolation between a number and infinity would be no number.
    lows = np.quantile(replicates, tail, axis=0, method="lower")
    highs = np.quantile(replicates, 1 - tail, axis=0, method="higher")
    (values,) = np.asarray(statistic(*(one[np.newaxis] for one in arrays)))
    return [Estimate(*map(float, ends)) for ends in zip(values, lows, highs, strict=True)]


def _values(values: ArrayLike, level: float = 0.95) -> np.ndarray:
    array = np.asarray(values, np.float64)
    if array.size == 0:
        raise ValueError("values: none given; allowed: at least one")
    if not 0 < level < 1:
        raise ValueError(f"level: {level} given; allowed: above 0 and below 1")
    return array
