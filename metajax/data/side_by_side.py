"""Several tasks as one: their streams side by side."""

import functools

import jax
import jax.numpy as jnp

from metajax.core.family import TaskFamily, Tree
from metajax.core.problem import Problem
from metajax.core.types import Measured, Source


def side_by_side(problem: Problem, num_tasks: int) -> Problem:
    """A problem whose task is N tasks, and whose chunks hold the streams of all of them.

    Args:
      problem: A problem of one task with E streams. Its learner takes chunks of N E streams.
      num_tasks: N.
    """
    family, source = problem.family, problem.source
    assert isinstance(family, TaskFamily)

    def sample(key):
        return jax.vmap(family.sample)(jax.random.split(key, num_tasks))

    def open_all(key, theta, tasks):
        keys = jax.random.split(key, num_tasks)
        return jax.vmap(source.open, (0, None, 0))(keys, theta, tasks)

    def next_chunk(noise, theta, phi, tasks, states):
        at_all = jax.vmap(source.next, (0, None, None, 0, 0))
        states, chunks = at_all(noise, theta, phi, tasks, states)
        return states, merged(chunks)

    def measure(states, chunks):
        of_tasks = functools.partial(_parted, num_tasks=num_tasks)
        states, found = jax.vmap(source.measure, (0, 1))(states, jax.vmap(of_tasks)(chunks))
        return states, Measured(jnp.mean(found.score, axis=0), jnp.sum(found.steps, axis=0))

    def noise(key, tasks):
        return jax.vmap(source.noise)(jax.random.split(key, num_tasks), tasks)

    block = max(1, source.block // num_tasks)
    return problem._replace(
        family=family._replace(sample=sample),
        source=Source(open_all, next_chunk, measure, noise=noise, block=block),
        num_streams=num_tasks * problem.num_streams,
        rebuild=None,
    )


def merged(chunks: Tree) -> Tree:
    """Chunks of N tasks ``[N, T, E, ...]`` as one of N E streams ``[T, N E, ...]``."""

    def merge(leaf):
        leaf = jnp.swapaxes(leaf, 0, 1)
        return leaf.reshape(leaf.shape[0], -1, *leaf.shape[3:])

    return jax.tree.map(merge, chunks)


def _parted(chunk: Tree, num_tasks: int) -> Tree:
    """The inverse of ``merged``."""

    def part(leaf):
        leaf = leaf.reshape(leaf.shape[0], num_tasks, -1, *leaf.shape[2:])
        return jnp.swapaxes(leaf, 0, 1)

    return jax.tree.map(part, chunk)
