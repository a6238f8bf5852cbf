"""Tasks that share nothing: a separate theta for each."""

import jax
import jax.numpy as jnp

from metajax.core import metrics
from metajax.core.algorithm import Outer
from metajax.core.layout import Layout


def separate(rule: Outer, layout: Layout) -> Outer:
    """N copies of an outer rule side by side, each with its own theta and carry.

    Leaves of theta are ``[N, ...]``; a meta-test gets their mean. ``info`` is a mean over the
    copies, ``env_steps`` a sum.

    Args:
      rule: The outer rule of a single task.
      layout: Blocks and devices of the copies.
    """

    def init(key, theta):
        keys = jax.random.split(key, layout.num_tasks)
        return layout.collect(lambda _, row: rule.init(*row), (), (keys, theta))

    def update(key, theta, carry):
        rows = jax.random.split(key, layout.num_tasks), theta, carry
        theta, carry, info = layout.collect(lambda _, row: rule.update(*row), (), rows)
        return theta, carry, metrics.over_rows(info)

    def deploy(theta, carry):
        deployed = jax.vmap(rule.deploy)(theta, carry)
        return jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), deployed)

    return Outer(init, update, deploy)
