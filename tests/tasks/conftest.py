"""Fixtures that the tests of task families share."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import pytest

from metajax.types import Discrete, Key, TaskFamily


def _random_action(key: Key, family: TaskFamily) -> jax.Array:
    space = family.spec.action_space
    if isinstance(space, Discrete):
        return jax.random.randint(key, (), 0, space.num_actions)
    low, high = jnp.array(space.low), jnp.array(space.high)
    return jax.random.uniform(key, low.shape, minval=low, maxval=high)


def _random_walk(transition, family: TaskFamily, key: Key, task, num_steps: int):
    def body(state, key):
        key_action, key_step = jax.random.split(key)
        state, timestep = transition(key_step, task, state, _random_action(key_action, family))
        return state, (state, timestep)

    key_reset, key_steps = jax.random.split(key)
    first = family.reset(key_reset, task)
    _, walk = jax.lax.scan(body, first[0], jax.random.split(key_steps, num_steps))
    return first, walk


def _jitted(family: TaskFamily) -> TaskFamily:
    functions = ("sample", "reset", "step", "advance")
    return family._replace(**{name: jax.jit(getattr(family, name)) for name in functions})


@pytest.fixture(scope="session")
def jitted() -> Callable:
    """``family -> family`` with compiled functions, which tests may share."""
    return _jitted


@pytest.fixture
def key() -> Key:
    return jax.random.key(0)


@pytest.fixture
def random_action() -> Callable:
    """``(key, family) -> action``, uniform over the action space."""
    return _random_action


@pytest.fixture
def random_walk() -> Callable:
    """``(transition, family, key, task, num_steps) -> (first, walk)``.

    ``first`` is what reset returned, ``walk`` the states and timesteps ``[T, ...]``
    of uniform random actions; ``transition`` is ``family.step`` or ``.advance``.
    """
    return _random_walk
