"""Fixtures of the tests of the core."""

import sys
from pathlib import Path

import jax
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

import toys


@pytest.fixture(scope="session")
def arms():
    return toys.arms()


@pytest.fixture(scope="session")
def line():
    return toys.line()


@pytest.fixture(scope="session")
def assert_same():
    """``(one, other, **tolerances)``: every leaf, bit for bit without tolerances."""

    def array(leaf):
        is_key = jax.numpy.issubdtype(jax.numpy.result_type(leaf), jax.dtypes.prng_key)
        return np.asarray(jax.random.key_data(leaf) if is_key else leaf)

    def check(one, other, **tolerances):
        assert jax.tree.structure(one) == jax.tree.structure(other)
        for first, second in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
            first, second = array(first), array(second)
            assert first.dtype == second.dtype
            if tolerances:
                np.testing.assert_allclose(first, second, **tolerances)
            else:
                np.testing.assert_array_equal(first, second)

    return check
