"""How fast a method learns in tasks that it has not seen: numbers of its learning curves.

A learning curve is the return of the policy over the environment steps that a learner has had
in its task. All numbers are interquartile means over seeds and tasks, with 95% intervals from
drawing both again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from metajax.experiments.statistics import Estimate, bootstrap, interquartile_mean


class Curves(NamedTuple):
    """The learning curves of a method.

    Attributes:
      steps: ``[P + 1]``, environment steps in the task, rising from 0 to the lifetime.
      returns: ``[num_seeds, num_tasks, P + 1]``.
    """

    steps: np.ndarray
    returns: np.ndarray


class Summary(NamedTuple):
    """Numbers of a method.

    Attributes:
      area: area under the curve, divided by the lifetime: the mean return over it.
      steps: steps to the threshold; infinite if the curve never reaches it.
      final: return at the end of the lifetime.
      ratio: steps as a fraction of another method's, or None; see ``ratio_of_steps``.
    """

    area: Estimate
    steps: Estimate
    final: Estimate
    ratio: Estimate | None = None


def area(steps: np.ndarray, returns: np.ndarray) -> np.ndarray:
    """Area ``[...]`` under curves ``[..., P + 1]`` of straight lines, over the last step."""
    return np.trapezoid(returns, steps, axis=-1) / steps[-1]


def steps_to(steps: np.ndarray, curves: np.ndarray, threshold: float) -> np.ndarray:
    """The first step at which each of the curves ``[..., P + 1]`` is at the threshold or above.

    They are of straight lines. Infinite where a curve stays below: its crossing is then censored.
    """
    above = curves >= threshold
    reached = np.argmax(above, axis=-1)
    last = np.maximum(reached - 1, 0)
    before, after = (
        np.take_along_axis(curves, at[..., np.newaxis], axis=-1)[..., 0] for at in (last, reached)
    )
    part = np.divide(
        threshold - before, after - before, where=reached > 0, out=np.zeros(reached.shape)
    )
    found = steps[last] + part * (steps[reached] - steps[last])
    return np.where(above.any(axis=-1), found, np.inf)


def mean_curve(returns: np.ndarray) -> np.ndarray:
    """``[..., P + 1]``, the interquartile mean over seeds and tasks at every point.

    ``returns`` is ``[..., num_seeds, num_tasks, P + 1]``.
    """
    return interquartile_mean(returns, axis=(-3, -2))


def summary(
    curves: Curves, threshold: float, baseline: Curves | None = None, **options: Any
) -> Summary:
    """A method's numbers.

    Area and final return are interquartile means of the numbers of each task and seed. Steps
    are those at which ``mean_curve`` reaches the threshold: a single task's curve, of few
    episodes, may touch it early by chance.

    Args:
      curves: curves of the method.
      threshold: return.
      baseline: curves in the same tasks whose steps are the unit of ``ratio``.
      options: options of ``statistics.bootstrap``.
    """
    steps, areas = curves.steps, area(*curves)

    def numbers(sample):
        means = mean_curve(sample)
        areas, curve = means[..., 0], means[..., 1:]
        return np.stack([areas, steps_to(steps, curve, threshold), curve[..., -1]], axis=-1)

    ratio = None if baseline is None else ratio_of_steps(curves, baseline, threshold, **options)
    sample = np.concatenate([areas[..., np.newaxis], curves.returns], axis=-1)
    found = bootstrap([sample], numbers, **options)
    return Summary(found[0], found[1], found[2], ratio)


def ratio_of_steps(
    curves: Curves, baseline: Curves, threshold: float, **options: Any
) -> Estimate | None:
    """A method's steps to the threshold as a fraction of another's.

    Where the baseline never reaches the threshold its whole lifetime counts: the ratio is then a
    bound from above. It is infinite where the method does not reach it, or where the baseline is
    there from the start. None where the numbers of tasks differ.
    """
    if curves.returns.shape[1] != baseline.returns.shape[1]:
        return None

    def ratio(returns, others):
        here = steps_to(curves.steps, mean_curve(returns), threshold)
        there = steps_to(baseline.steps, mean_curve(others), threshold)
        there = np.minimum(there, baseline.steps[-1])
        found = np.divide(here, there, where=there > 0, out=np.full_like(here, np.inf))
        return found[..., np.newaxis]

    return bootstrap([curves.returns, baseline.returns], ratio, **options)[0]


def read(records: Sequence[Mapping[str, Any]]) -> Curves:
    """The curves that the records of a row hold, one a seed.

    Raises:
      ValueError: if they were measured at different steps.
    """
    steps = np.asarray(records[0]["steps"], np.float64)
    if any(one["steps"] != records[0]["steps"] for one in records):
        raise ValueError(f"{records[0]['row']}: its seeds were measured at different steps")
    return Curves(steps, np.asarray([one["returns"] for one in records], np.float64))
