"""How fast a method learns in tasks that it has not seen: numbers of its learning curves.

A learning curve is the return of the policy over the environment steps that a learner has had
in its task. All numbers are interquartile means over seeds and tasks, with 95% intervals from
drawing both again.
"""

from __future__ import annotations

import math
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


def steps_to(steps: np.ndarray, curve: np.ndarray, threshold: float) -> float:
    """The first step at which a curve of straight lines is at the threshold or above.

    Infinite if the curve stays below: its crossing is then censored.
    """
    above = np.flatnonzero(curve >= threshold)
    if not above.size:
        return math.inf
    index = int(above[0])
    if index == 0:
        return float(steps[0])
    before, after = curve[index - 1 : index + 1]
    part = (threshold - before) / (after - before)
    return float(steps[index - 1] + part * (steps[index] - steps[index - 1]))


def mean_curve(returns: np.ndarray) -> np.ndarray:
    """``[P + 1]``, the interquartile mean over seeds and tasks at every point."""
    return interquartile_mean(returns, num_axes=2)


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
    steps = curves.steps

    def numbers(returns):
        scores = np.stack([area(steps, returns), returns[..., -1]], axis=-1)
        area_, final = interquartile_mean(scores, num_axes=2)
        return area_, steps_to(steps, mean_curve(returns), threshold), final

    ratio = None if baseline is None else ratio_of_steps(curves, baseline, threshold, **options)
    found = bootstrap([curves.returns], numbers, **options)
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
        there = min(there, float(baseline.steps[-1]))
        return [here / there if there else math.inf]

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
