"""Numbers behind pictures of curves: running means, limits of an axis, values in words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np


def smooth(values: np.ndarray) -> np.ndarray:
    """Running mean along the last axis over about a fortieth of it."""
    width = max(1, values.shape[-1] // 40)
    sums = np.cumsum(np.pad(values, [(0, 0)] * (values.ndim - 1) + [(1, 0)]), axis=-1)
    index = np.arange(1, values.shape[-1] + 1)
    start = np.maximum(index - width, 0)
    return (sums[..., index] - sums[..., start]) / (index - start)


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


def worth_a_number(number: int) -> list[int]:
    """Indices of the points of a curve beside which its value is written: all, or the ends."""
    return list(range(number)) if number <= 6 else [0, number - 1]


def value(number: float) -> str:
    """A value of a curve in three digits, or as many as it has before its point."""
    text = f"{number:,.0f}" if abs(number) >= 100 else f"{number:#.3g}"
    return text.replace("-", "\N{MINUS SIGN}")


def _finite(arrays: Iterable[Any]) -> np.ndarray:
    flat = np.concatenate([np.zeros(0), *(np.ravel(one) for one in arrays)])
    return flat[np.isfinite(flat)]
