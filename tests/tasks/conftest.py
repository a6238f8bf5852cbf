"""Fixtures that the tests of task families share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

from metajax.core.family import Discrete, Key, TaskFamily


def _jitted(family: TaskFamily) -> TaskFamily:
    functions = ("sample", "reset", "step", "advance")
    return family._replace(**{name: jax.jit(getattr(family, name)) for name in functions})


def _random_actions(family: TaskFamily, num_steps: int) -> np.ndarray:
    random = np.random.default_rng(0)
    space = family.spec.action_space
    if isinstance(space, Discrete):
        return random.integers(space.num_actions, size=num_steps, dtype=np.int32)
    return random.uniform(space.low, space.high, (num_steps, space.size)).astype(np.float32)


def _random_walk(family: TaskFamily, key: Key, task: Any, num_steps: int) -> tuple[Any, Any]:
    keys = jax.random.split(key, num_steps)
    first = family.reset(key, task)
    state, walk = first[0], []
    for key_step, action in zip(keys, _random_actions(family, num_steps), strict=True):
        state, timestep = family.step(key_step, task, state, action)
        walk.append((state, timestep))
    return jax.device_get((first, jax.tree.map(lambda *leaves: np.stack(leaves), *walk)))


def _many_trials(family: TaskFamily, key: Key, tasks: Any, actions: np.ndarray) -> Any:
    def trial(key, task):
        key_reset, key_steps = jax.random.split(key)
        keys = jax.random.split(key_steps, len(actions))

        def body(state, inputs):
            key_step, action = inputs
            next_state, timestep = family.step(key_step, task, state, action)
            return next_state, (state, timestep)

        return jax.lax.scan(body, family.reset(key_reset, task)[0], (keys, actions))[1]

    num_tasks = jax.tree.leaves(tasks)[0].shape[0]
    return jax.device_get(jax.jit(jax.vmap(trial))(jax.random.split(key, num_tasks), tasks))


@pytest.fixture
def key() -> Key:
    return jax.random.key(0)


@pytest.fixture(scope="session")
def jitted() -> Callable:
    """``family -> family`` with compiled functions: small ones compile fastest."""
    return _jitted


@pytest.fixture
def random_actions() -> Callable:
    """``(family, num_steps) -> [T, ...]``, uniform over the action space."""
    return _random_actions


@pytest.fixture
def random_walk() -> Callable:
    """``(family, key, task, num_steps) -> (first, walk)``, on the host.

    ``first`` is what reset returned, ``walk`` the states and timesteps ``[T, ...]``
    that uniform random actions led to through ``family.step``.
    """
    return _random_walk


@pytest.fixture
def many_trials() -> Callable:
    """``(family, key, tasks [N, ...], actions [T, ...]) -> (states, timesteps)``.

    Both ``[N, T, ...]`` on the host: the states before the actions, and what
    ``family.step`` made of them.
    """
    return _many_trials
