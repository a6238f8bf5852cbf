"""Numbers as files hold them."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from metajax.run import numbers


def test_json_knows_no_nan():
    value = {1: np.array([1.0, np.nan]), "b": (jnp.float32(np.inf), 2), "c": None, "d": [True, "x"]}
    assert numbers.plain(value) == {"1": [1.0, None], "b": [None, 2], "c": None, "d": [True, "x"]}


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_counts_are_rounded_and_do_not_overflow(kind):
    counts = np.array([2**30, 2**30, 2**30], kind)
    assert numbers.whole(counts).sum() == 3 * 2**30
    below = np.nextafter(np.float32(100), np.float32(0))
    assert numbers.whole(below) == 100
    assert numbers.whole(below).dtype == np.int64
