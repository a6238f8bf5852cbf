"""Lifetimes that go on from one meta-step to the next, side by side and of all ages."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from metajax.core import metrics
from metajax.core.algorithm import Estimator, Info
from metajax.core.family import Key, Tree
from metajax.core.layout import Layout
from metajax.core.problem import Life, Problem
from metajax.core.types import Learner, Loss


class Lifetime(NamedTuple):
    """A lifetime between two meta-steps.

    Attributes:
      life: The trial so far.
      age: Int32, adaptations so far.
    """

    life: Life
    age: jax.Array


def born(problem: Problem, key: Key, theta: Tree) -> Lifetime:
    """A new lifetime in a new task."""
    key_task, key_start = jax.random.split(key)
    life = problem.start(key_start, theta, problem.family.sample(key_task))
    return Lifetime(life, jnp.zeros((), jnp.int32))


def of_all_ages(problem: Problem, layout: Layout, stride: int, key: Key, theta: Tree) -> Lifetime:
    """New lifetimes ``[N]`` that will not end together.

    Ages are multiples of ``stride``, the adaptations of a meta-step, spread evenly over a
    lifetime with a random offset; the first lifetimes are as much shorter.
    """
    key_offset, key_born = jax.random.split(key)
    keys = jax.random.split(key_born, layout.num_tasks)
    lives = layout.collect(lambda theta, key: born(problem, key, theta), theta, keys)
    steps = max(1, problem.num_adaptations // stride)
    place = jnp.arange(layout.num_tasks) + jax.random.uniform(key_offset)
    age = jnp.minimum(place / layout.num_tasks * steps, steps - 1).astype(jnp.int32)
    return lives._replace(age=age * stride)


def of_lifetimes(
    layout: Layout,
    init: Callable[[Key, Tree], Tree],
    block_sum: Callable[[Tree, Tree], tuple[tuple[Tree, Info], Tree]],
) -> Estimator:
    """An estimator whose carry has a row for each of N tasks.

    Args:
      layout: Blocks and devices of the tasks.
      init: ``(key, theta) -> carry``, leaves ``[N, ...]``.
      block_sum: ``(theta, (keys, rows)) -> ((gradients, info), rows)`` of a block, where gradients
        and info are sums over its tasks.
    """

    def estimate(key, theta, carry):
        keys = jax.random.split(key, layout.num_tasks)
        (gradients, info), carry = layout.mean_and_rows(block_sum, theta, (keys, carry))
        return gradients, carry, metrics.from_mean(info, layout.num_tasks)

    return Estimator(init, estimate)


def renewed(ended: jax.Array, bear: Callable[[Tree], Tree], rows: Tree, old: Tree) -> Tree:
    """The rows of a block, with new ones in the place of those that have ended.

    Args:
      ended: Bool ``[n]``.
      bear: ``(row) -> new``, of the structure of one row of ``old``.
      rows: Inputs of ``bear``, leaves ``[n, ...]``.
      old: Leaves ``[n, ...]``.
    """

    def renew():
        def either(ended, row, old):
            return jax.tree.map(lambda new, old: jnp.where(ended, new, old), bear(row), old)

        return jax.vmap(either)(ended, rows, old)

    # A branch of the whole block: lifetimes end rarely, and their buffers are large.
    return jax.lax.cond(jnp.any(ended), renew, lambda: old)


def judged(judge: Learner, loss: Loss, theta: Tree, phi: Tree, chunk: Tree) -> jax.Array:
    """The loss of a learner on a chunk that it annotates itself."""
    if judge.actor is not None:
        chunk = jax.lax.stop_gradient(judge.actor.annotate(theta, phi, chunk))
    return loss(judge.predict(theta, phi, chunk), chunk)
