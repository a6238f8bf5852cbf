"""Windows of lifetimes that go on, and the estimators that differentiate through them."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from metajax.core.algorithm import Estimator, Info
from metajax.core.family import Key, Tree
from metajax.core.layout import Layout, sum_rows, total
from metajax.core.problem import Noise, Problem
from metajax.outer.gradient.lifetimes import Lifetime, born, of_all_ages, of_lifetimes, renewed


class Window(NamedTuple):
    """A collected piece of a lifetime, as its meta-gradient needs it.

    Attributes:
      phi: State at its start.
      support: Chunks that were adapted to, leaves ``[window, T, E, ...]``.
      query: The chunk after them, leaves ``[T, E, ...]``.
      keys: Randomness of the adaptations, that to the query last, ``[window + 1]``.
    """

    phi: Tree
    support: Tree
    query: Tree
    keys: Key


def of_windows(
    problem: Problem,
    layout: Layout,
    window: int,
    loss: Callable[[Tree, Window], tuple[jax.Array, Info]],
) -> Estimator:
    """The gradient of a loss of windows, in N lifetimes that go on.

    All ``window + 1`` chunks of a window are adapted to, so that no experience is lost, and a
    meta-step makes a lifetime as many adaptations older. A lifetime of full length gives way to
    a new one in a new task. At the start ages are spread evenly over a lifetime, with a random
    offset, so that lifetimes do not end together; the first ones are as much shorter.

    The carry is the ``Lifetime`` of each task. ``info`` has ``returns`` (``[1]``, mean over
    tasks of the score after the window), ``env_steps`` and what the loss reports.

    Args:
      problem: A lifetime, whose ``num_adaptations`` is its length. Its theta need not be weights.
      layout: Blocks and devices of the tasks.
      window: Number of adaptations before the query.
      loss: ``(theta, window) -> (loss, report)``.
    """

    def block_sum(theta, block):
        keys, lives = block
        keys_live, keys_query, keys_born = jnp.moveaxis(
            jax.vmap(lambda key: jax.random.split(key, 3))(keys), 1, 0
        )
        collect = functools.partial(live, problem, window)
        older, items, info = jax.vmap(collect, (0, 0, None, 0))(keys_live, keys_query, theta, lives)
        ended = older.age >= problem.num_adaptations
        after = renewed(ended, lambda key: born(problem, key, theta), keys_born, older)

        def together(theta, items):
            # Differentiated as a sum, so that tasks share the products of theta's gradient.
            values, report = jax.vmap(loss, (None, 0))(theta, items)
            return jnp.sum(values), sum_rows(report)

        slope = jax.grad(together, has_aux=True)
        gradients, report = total(
            lambda items: slope(theta, items), items, layout.gradient_microbatch
        )
        return (gradients, {**sum_rows(info), **report}), after

    def init(key, theta):
        return of_all_ages(problem, layout, window + 1, key, theta)

    return of_lifetimes(layout, init, block_sum)


def live(
    problem: Problem, window: int, key: Key, key_query: Key, theta: Tree, lifetime: Lifetime
) -> tuple[Lifetime, Window, Info]:
    """One window: the lifetime after it, the data of the gradient, and the log."""
    _, _, key_adapt, key_chunks = jax.random.split(key, 4)
    adapt_keys = jnp.append(jax.random.split(key_adapt, window), key_query)
    keys = Noise(jax.random.split(key_chunks, window + 1), adapt_keys)
    after, chunks, measured = problem.proceed(keys, theta, lifetime.life)
    support = jax.tree.map(lambda leaf: leaf[:-1], chunks)
    query = jax.tree.map(lambda leaf: leaf[-1], chunks)
    item = Window(lifetime.life.phi, support, query, adapt_keys)
    info = {"returns": measured.score[-1:], "env_steps": jnp.sum(measured.steps, dtype=jnp.int32)}
    return Lifetime(after, lifetime.age + window + 1), item, info
