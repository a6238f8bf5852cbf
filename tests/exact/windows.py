"""The data behind a meta-gradient of one lifetime, for sums by hand."""

from typing import Any

import jax

from metajax.core.algorithm import Estimator
from metajax.core.problem import Problem
from metajax.outer.gradient.lifetimes import Lifetime
from metajax.outer.gradient.windows import Window, live


def estimated(
    estimator: Estimator, problem: Problem, window: int, theta: Any
) -> tuple[tuple, Window, Lifetime]:
    """An estimate in a single lifetime, the data of its window, and the lifetime after it."""
    carry = estimator.init(jax.random.key(0), theta)
    found = estimator.estimate(jax.random.key(1), theta, carry)
    keys = jax.random.split(jax.random.split(jax.random.key(1), 1)[0], 3)
    row = jax.tree.map(lambda leaf: leaf[0], carry)
    after, item, _ = live(problem, window, keys[0], keys[1], theta, row)
    return found, item, after
