"""A family whose every episode is in a task of its own: what joint training sees."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax

from metajax.core.family import TaskFamily
from metajax.tasks.auto_reset import with_auto_reset


class MixtureState(NamedTuple):
    """State of an episode.

    Attributes:
      task: that the episode is in.
      env_state: of the family.
    """

    task: Any
    env_state: Any


def mixture(family: TaskFamily) -> TaskFamily:
    """The same environment, with a new task at every reset.

    There is one task, ``()``: the distribution over tasks itself. Training in it is joint
    training on all tasks, with nothing that tells them apart.

    Args:
      family: whose tasks are mixed.
    """
    # What depends on the task is unknown here, and so is what it would be worth.
    spec = dataclasses.replace(
        family.spec, name=f"{family.spec.name}-mixture", optimal_return=None, plane=None
    )

    def reset(key, task):
        del task
        key_task, key_reset = jax.random.split(key)
        drawn = family.sample(key_task)
        env_state, timestep = family.reset(key_reset, drawn)
        return MixtureState(drawn, env_state), timestep

    def advance(key, task, state, action):
        del task
        env_state, timestep = family.advance(key, state.task, state.env_state, action)
        return MixtureState(state.task, env_state), timestep

    return with_auto_reset(spec, lambda key: (), reset, advance)
