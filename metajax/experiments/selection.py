"""Which value of a tuned option counts, from the numbers of all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def chosen(record: Mapping[str, Any], better: str) -> Mapping[str, Any]:
    """A record with the numbers of the value that a table prefers.

    The value is chosen where it is not measured: on separate trials. What papers report,
    the best value on the very trials that are shown, stands beside it as
    ``tuned.as_published``.

    Args:
      record: if of a tuned row with ``tuned``: the option's ``values``, and with each of
        them the ``mean`` and ``standard_error`` over tasks ``on_evaluation`` and
        ``on_separate`` trials.
      better: which numbers are, "higher" or "lower".

    Returns:
      the record with ``mean``, ``standard_error``, ``interval``, ``tuned.value`` and
      ``tuned.as_published``; as it is where nothing is tuned.
    """
    tuned = record.get("tuned")
    if not tuned:
        return record
    here, separate = tuned["on_evaluation"], tuned["on_separate"]
    best, index = (_best(one["mean"], better) for one in (here, separate))
    values = tuned["values"]
    published = {"value": values[best], **_numbers(here, best)}
    selected = {"value": values[index], "as_published": published}
    return {**record, **_numbers(here, index), "tuned": {**tuned, **selected}}


def interval(mean: Any, error: Any) -> list[Any]:
    """Ends of the 95% interval (normal approximation), as JSON has numbers and arrays."""
    mean, error = np.asarray(mean), np.asarray(error)
    return [(mean - 1.96 * error).tolist(), (mean + 1.96 * error).tolist()]


def _best(means: Any, better: str) -> int:
    sign = 1 if better == "higher" else -1
    return int(np.argmax(sign * np.asarray(means, np.float64)))


def _numbers(measured: Mapping[str, Any], index: int) -> dict[str, Any]:
    mean, error = (measured[name][index] for name in ("mean", "standard_error"))
    ends = [None, None] if error is None else interval(mean, error)
    return {"mean": mean, "standard_error": error, "interval": ends}
