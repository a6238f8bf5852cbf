"""Evolution strategies as meta-gradients: windows of lifetimes lived with perturbed theta."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from metajax.core import metrics
from metajax.core.algorithm import Estimator, Info
from metajax.core.family import Key, Tree
from metajax.core.layout import Layout, sum_rows
from metajax.core.problem import Noise, Problem
from metajax.core.types import Loss
from metajax.outer.gradient.lifetimes import (
    Lifetime,
    born,
    judged,
    of_all_ages,
    of_lifetimes,
    renewed,
)


class Particles(NamedTuple):
    """Lifetimes in one task with the same randomness, each with a theta of its own.

    Attributes:
      lifetimes: Lifetimes with theta plus the perturbation, with theta less it and, without
        persistence, with theta itself, leaves ``[2 or 3, ...]``.
      drift: Sum of the perturbations of the first one since its birth, ``[P]``.
    """

    lifetimes: Lifetime
    drift: jax.Array


def evolution_gradient(
    problem: Problem,
    layout: Layout,
    loss: Loss | None,
    *,
    window: int,
    std: float | jax.Array = 0.01,
    persistent: bool = True,
) -> Estimator:
    """A gradient from the losses of perturbed lifetimes; nothing is differentiated.

    ``drift (loss(theta + noise) - loss(theta - noise)) / (2 std^2)``, a mean over one pair of
    particles in each of N tasks, where the loss is the mean of ``window + 1`` chunks, each
    before it is adapted to. Every window has ``noise ~ N(0, std^2)`` of its own.

    Persistent particles go on from where they are, and ``drift`` is the sum of all their
    perturbations. The estimate is then unbiased for the loss of whole lifetimes, smoothed by
    the noise, however short the window is. Otherwise both particles begin each window where
    theta itself has got to, ``drift`` is the noise, and the influence of theta before the window
    is left out, as by ``truncated``: "truncated ES", which costs a third particle.

    The carry is the ``Particles`` of each task. A new lifetime begins with the perturbed theta
    of its first window. ``info`` has ``returns`` (``[1]``, after the window), ``env_steps`` and
    ``loss``, means over particles.

    Args:
      problem: A lifetime, whose ``num_adaptations`` is its length. Theta need not be weights.
      layout: Blocks and devices of the tasks.
      loss: Loss of the learner on a chunk; it needs no derivative. None: minus the score that
        the source measures, for an agent the return that it lives through.
      window: A meta-step makes a lifetime ``window + 1`` adaptations older.
      std: Standard deviation of the perturbations of each number of theta.
      persistent: Whether particles keep their states from one window to the next.

    Source: Vicol et al. (2021), "Unbiased gradient estimation in unrolled computation graphs
    with persistent evolution strategies", algorithms 1 and 2. Deviation: one antithetic pair in
    each of many tasks, where the paper has many in one.
    """
    signs = np.array([1, -1] if persistent else [1, -1, 0])

    def block_sum(theta, block):
        keys, particles = block
        flat, unravel = ravel_pytree(theta)
        keys_noise, keys_born, keys_live = jnp.moveaxis(
            jax.vmap(lambda key: jax.random.split(key, 3))(keys), 1, 0
        )

        def perturb(key):
            noise = std * jax.random.normal(key, flat.shape, flat.dtype)
            return noise, jax.vmap(lambda sign: unravel(flat + sign * noise))(signs)

        def bear(row):
            key, thetas = row
            lifetimes = jax.vmap(lambda theta: born(problem, key, theta))(thetas)
            return Particles(lifetimes, jnp.zeros_like(flat))

        noise, thetas = jax.vmap(perturb)(keys_noise)
        age = particles.lifetimes.age[:, 0]
        new = (age == 0) | (age >= problem.num_adaptations)
        particles = renewed(new, bear, (keys_born, thetas), particles)
        of_task = functools.partial(compared, problem, loss, window, persistent)
        slopes, info, after = jax.vmap(of_task)(keys_live, noise, thetas, particles)
        gradients = (slopes / (2 * std**2)).astype(flat.dtype)
        return (unravel(jnp.sum(gradients, axis=0)), sum_rows(info)), after

    def init(key, theta):
        lifetimes = of_all_ages(problem, layout, window + 1, key, theta)
        flat, _ = ravel_pytree(theta)

        def repeated(leaf):
            return jnp.broadcast_to(leaf[:, None], (len(leaf), len(signs), *leaf.shape[1:]))

        drift = jnp.zeros((layout.num_tasks, *flat.shape), flat.dtype)
        return Particles(jax.tree.map(repeated, lifetimes), drift)

    return of_lifetimes(layout, init, block_sum)


def compared(
    problem: Problem,
    loss: Loss | None,
    window: int,
    persistent: bool,
    key: Key,
    noise: jax.Array,
    thetas: Tree,
    particles: Particles,
) -> tuple[jax.Array, Info, Particles]:
    """One window of the particles of a task.

    Returns ``drift (loss(theta + noise) - loss(theta - noise))``, ``[P]``, the log, and the
    particles after the window.
    """
    one = jax.vmap(lambda theta, life: live(problem, loss, window, key, theta, life))
    lifetimes, info = one(thetas, particles.lifetimes)
    drift = particles.drift + noise
    slope = drift * (info["loss"][0] - info["loss"][1])
    if not persistent:
        lifetimes = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf[2], leaf.shape), lifetimes)
        drift = jnp.zeros_like(drift)
    return slope, metrics.over_rows(info), Particles(lifetimes, drift)


def live(
    problem: Problem, loss: Loss | None, window: int, key: Key, theta: Tree, lifetime: Lifetime
) -> tuple[Lifetime, Info]:
    """One window: the lifetime after it, its mean loss before each adaptation, and the log."""
    learner, source, task = problem.learner, problem.source, lifetime.life.task
    key_chunks, key_adapt = jax.random.split(key)

    def adaptation(life, keys):
        noise = Noise(source.noise(keys.chunk, task), learner.noise(keys.adapt))
        after, chunk = problem.advance(noise, theta, life)
        lost = None if loss is None else judged(learner, loss, theta, life.phi, chunk)
        return after, (chunk, lost)

    keys = Noise(*(jax.random.split(one, window + 1) for one in (key_chunks, key_adapt)))
    life, (chunks, losses) = jax.lax.scan(adaptation, lifetime.life, keys)
    state, measured = source.measure(lifetime.life.source, chunks)
    info = {
        "returns": measured.score[-1:],
        "env_steps": jnp.sum(measured.steps, dtype=jnp.int32),
        "loss": jnp.mean(-measured.score if losses is None else losses),
    }
    return Lifetime(life._replace(source=state), lifetime.age + window + 1), info
