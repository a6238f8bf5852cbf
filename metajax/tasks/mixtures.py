"""Task mixtures: a new task in every episode, as joint training sees a family."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax

from metajax.core.family import TaskFamily
from metajax.tasks.auto_reset import with_auto_reset


class MixtureState(NamedTuple):
    """State of one episode: the task it runs in, and the state of the underlying family."""

    task: Any
    env_state: Any


def mixture(family: TaskFamily) -> TaskFamily:
    """The environment of ``family`` with a new task drawn at every reset.

    The mixture has a single task, ``()``, which stands for the distribution over tasks.
    Training in it is joint training on all tasks, with no task identity to observe.

    Args:
      family: Family to draw the task of each episode from.

    Returns:
      The mixture, without ``optimal_return`` and ``plane``, which depend on the task.
    """
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
