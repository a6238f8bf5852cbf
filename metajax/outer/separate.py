"""Tasks that share nothing: a meta-parameter of its own for each."""

import jax
import jax.numpy as jnp

from metajax.core import layout as batch
from metajax.core.types import Outer


def separate(rule: Outer, tasks: batch.TaskMap) -> Outer:
    """N copies of an outer rule side by side, each with its own theta and carry.

    Leaves of theta are ``[N, ...]``. ``info`` is a mean over the copies, ``env_steps`` a sum.

    Args:
      rule: of a single task.
      tasks: how the copies are laid over blocks and devices.
    """

    def init(key, theta):
        keys = jax.random.split(key, tasks.num_tasks)
        return tasks.collect(lambda _, row: rule.init(*row), (), (keys, theta))

    def update(key, theta, carry):
        keys = jax.random.split(key, tasks.num_tasks)
        rows = keys, theta, carry
        theta, carry, info = tasks.collect(lambda _, row: rule.update(*row), (), rows)
        means = jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), info)
        return theta, carry, {**means, "env_steps": jnp.sum(info["env_steps"], dtype=float)}

    return Outer(init, update)
