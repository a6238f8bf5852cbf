"""Conversion of arrays to numbers for files."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


class NotFinite(Exception):
    """A NaN or infinity in theta, a metric or a meta-test; the message says where."""


def plain(value: Any) -> Any:
    """``value`` for JSON: arrays as lists; NaN and infinity, unknown to JSON, as None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def whole(counts: Any) -> np.ndarray:
    """``counts`` rounded to int64.

    A count computed in float32, as the mean over tasks times their number, may lie just
    below the true integer.
    """
    import numpy as np

    return np.rint(np.asarray(counts)).astype(np.int64)


def flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record with a column for each number of its arrays."""
    import numpy as np

    found = {}
    for name, value in record.items():
        numbers = np.ravel(value) if isinstance(value, list) else None
        if numbers is None:
            found[name] = value
        else:
            found |= {f"{name}_{index}": number for index, number in enumerate(numbers.tolist())}
    return found
