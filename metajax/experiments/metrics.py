"""What a table measures of a trial: numbers of each task, and of all tasks together."""

from __future__ import annotations

from typing import Any

import numpy as np

from metajax.core.options import OptionError
from metajax.experiments.table_definition import VECTORS


def reduce(
    metric: str,
    returns: np.ndarray,
    *,
    streams: int = 1,
    optimum: np.ndarray | None = None,
    threshold: float | None = None,
) -> np.ndarray:
    """float64 ``[num_tasks]``; for metrics with many numbers ``returns`` as they are.

    Args:
      metric: see ``table_definition.Table``.
      returns: ``[num_tasks, X]``, the return of each episode of a trial, or the mean return
        of episodes side by side after each adaptation.
      streams: episodes that an entry of ``returns`` is the mean of: a trial of fresh
        episodes uses up ``streams * X`` of them, and all count.
      optimum: ``[num_tasks]``, expected return of an episode of the policy that knows the task.
      threshold: return of a success.

    Raises:
      OptionError: for a metric that needs an optimum where there is none.
    """
    returns = np.asarray(returns, np.float64)
    if metric.startswith("error-"):
        returns, metric = -returns, metric.removeprefix("error-")
    if metric in VECTORS:
        return returns
    if metric == "after-last-step":
        return returns[:, -1]
    if metric == "success":
        return np.asarray(returns[:, -1] >= threshold, np.float64)
    total = streams * returns.sum(axis=1)
    if metric == "total":
        return total
    if optimum is None:
        raise OptionError("metric", f'"{metric}" needs a family whose optimal return is known')
    best = streams * returns.shape[1] * np.asarray(optimum, np.float64)
    return best - total if metric == "regret" else total / best


def summary(values: np.ndarray) -> dict[str, Any]:
    """Mean, standard error and 95% interval over tasks; one value, an exact one, has no error."""
    mean, error = values.mean(axis=0), np.full(values.shape[1:], np.nan)
    if len(values) > 1:
        with np.errstate(invalid="ignore"):  # what diverges has no error either
            error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    return with_interval(mean.tolist(), error.tolist())


def with_interval(mean: Any, error: Any) -> dict[str, Any]:
    """A mean, its standard error and the ends of the 95% interval (normal approximation)."""
    ends: list[Any] = [None, None]
    if error is not None:
        ends = [(np.asarray(mean) + width * np.asarray(error)).tolist() for width in (-1.96, 1.96)]
    return {"mean": mean, "standard_error": error, "interval": ends}
