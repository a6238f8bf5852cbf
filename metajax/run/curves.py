"""Numbers behind pictures of curves: running means, limits of an axis, values in words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np


def smooth(values: np.ndarray) -> np.ndarray:
    """Running mean along the last axis over about a fortieth of it.

    What is not finite does not count, and stays NaN.
    """
    width, finite = max(1, values.shape[-1] // 40), np.isfinite(values)
    index = np.arange(1, values.shape[-1] + 1)
    start = np.maximum(index - width, 0)

    def window(one):
        sums = np.cumsum(np.pad(one, [(0, 0)] * (one.ndim - 1) + [(1, 0)]), axis=-1)
        return sums[..., index] - sums[..., start]

    counts = window(finite.astype(int))
    return np.where(finite, window(np.where(finite, values, 0)) / np.maximum(counts, 1), np.nan)


def limits(main: Iterable[Any], others: Iterable[Any] = ()) -> tuple[float, float]:
    """Ends of an axis on which ``main`` is not flattened; others are in where there is room.

    Args:
      main: Arrays of values that must be seen; those that are not finite do not count.
      others: Arrays of values that may make the axis half as long again, the nearest first. One
        farther away leaves the picture.
    """
    seen, perhaps = _finite(main), _finite(others)
    low, high = (seen.min(), seen.max()) if seen.size else (0.0, 0.0)
    longest = 1.5 * (high - low) or np.inf
    for one in perhaps[np.argsort(np.maximum(low - perhaps, perhaps - high))]:
        if max(high, one) - min(low, one) <= longest:
            low, high = min(low, one), max(high, one)
    margin = 0.1 * (high - low) or 0.1 * abs(high) or 1.0
    return float(low - margin), float(high + margin)


def notes(values: np.ndarray, low: float, high: float) -> list[tuple[int, str, int]]:
    """Values to write beside a curve, in a picture from ``low`` to ``high``.

    Of a long curve they are those at its ends, and the farthest of many that are outside.

    Returns:
      Index of the point, text with an arrow where it is outside, and on which side of the picture
      it is then: 1 above, -1 below, 0 for a point inside.
    """
    side = np.where(values > high, 1, np.where(values < low, -1, 0))
    outside = np.flatnonzero(side)
    if len(outside) > 6:
        outside = outside[[np.abs(values[outside]).argmax()]]
    ends = range(len(values)) if len(values) <= 6 else (0, len(values) - 1)
    shown = [at for at in ends if side[at] == 0 and np.isfinite(values[at])] + outside.tolist()
    arrows = {1: " \N{UPWARDS ARROW}", -1: " \N{DOWNWARDS ARROW}", 0: ""}
    return [(at, value(float(values[at])) + arrows[int(side[at])], int(side[at])) for at in shown]


def value(number: float) -> str:
    """A value of a curve in three digits, or as many as it has before its point."""
    text = f"{number:,.0f}" if abs(number) >= 100 else f"{number:#.3g}"
    return text.replace("-", "\N{MINUS SIGN}")


def _finite(arrays: Iterable[Any]) -> np.ndarray:
    flat = np.concatenate([np.zeros(0), *(np.ravel(one) for one in arrays)])
    return flat[np.isfinite(flat)]
