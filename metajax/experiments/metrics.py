"""What a table measures of a trial: reductions of an evaluation's returns."""

from __future__ import annotations

import numpy as np

from metajax.core.options import OptionError
from metajax.experiments.table_definition import VECTORS


def reduce(
    metric: str,
    returns: np.ndarray,
    *,
    streams: int = 1,
    num_episodes: int | None = None,
    optimum: np.ndarray | None = None,
) -> np.ndarray:
    """One number a task, or several.

    Args:
      metric: "total", the reward of the whole trial; "regret", by how much the best
        policy that knows the task does better; "normalized", the total as a part of
        that policy's; "per-episode", "after-steps" and "learning-curve", the
        returns as they are.
      returns: ``[num_tasks, X]``, of each episode of a trial, or mean returns of
        episodes side by side after each adaptation.
      streams: how many episodes an entry of ``returns`` is the mean of and all count:
        a trial of fresh episodes uses up ``streams * X`` episodes.
      num_episodes: of a trial, where ``returns`` is summed already.
      optimum: ``[num_tasks]``, expected return of an episode of the policy that knows
        the task.

    Returns:
      float64 ``[num_tasks]``, or ``[num_tasks, X]`` for the last three.

    Raises:
      OptionError: if the metric needs an optimum and there is none.
    """
    returns = np.asarray(returns, np.float64)
    if metric in VECTORS:
        return returns
    total = streams * returns.sum(axis=1)
    if metric == "total":
        return total
    if optimum is None:
        raise OptionError("metric", f'"{metric}" needs a family whose optimal return is known')
    number = streams * returns.shape[1] if num_episodes is None else num_episodes
    best = number * np.asarray(optimum, np.float64)
    return best - total if metric == "regret" else total / best


def standard_error(values: np.ndarray) -> np.ndarray:
    """Of the mean over the first axis; NaN for one value."""
    if len(values) < 2:
        return np.full(values.shape[1:], np.nan)
    return values.std(axis=0, ddof=1) / np.sqrt(len(values))
