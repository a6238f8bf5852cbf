"""Numbers that a program gives, as files hold them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


def plain(value: Any) -> Any:
    """What JSON can hold: arrays as lists, NaN and infinity, which it does not know, as None."""
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
    """Counts as int64.

    They are rounded, not cut: a count over tasks that was taken as their mean times their
    number, in float32, may lie just below the whole number that it is.
    """
    import numpy as np

    return np.rint(np.asarray(counts)).astype(np.int64)
