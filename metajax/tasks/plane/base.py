"""Point navigation: the environment shared by all families of the plane."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from metajax.core.family import Box, Key, Spec, TaskFamily
from metajax.tasks.auto_reset import time_step, with_auto_reset

MAX_MOVE = 0.1


class PointTask(NamedTuple):
    """A goal in the plane."""

    goal: jax.Array  # float32 [2]


class PointState(NamedTuple):
    """State of one episode."""

    position: jax.Array  # float32 [2]
    time: jax.Array  # int32 scalar, steps since the reset


def plane_family(
    *,
    name: str,
    episode_length: int,
    sample_goal: Callable[[Key], jax.Array],
    outcome: Callable[[jax.Array], tuple[jax.Array, jax.Array]],
    oracle_return: float | None,
) -> TaskFamily:
    """A family with a point that starts at the origin and moves at most 0.1 per axis and step.

    The observation is the position. The dynamics are deterministic. An episode that
    terminates in the last step before the time limit does not count as truncated.

    Args:
      name, episode_length, oracle_return: Fields of the ``Spec``.
      sample_goal: ``(key) -> [2]``, the goal of a new task.
      outcome: ``(offset [2]) -> (reward, terminated)``, given the position relative to the
        goal after the move.

    Returns:
      The family; tasks are ``PointTask(goal)``.
    """
    spec = Spec(
        name=name,
        observation_shape=(2,),
        action_space=Box(low=(-MAX_MOVE,) * 2, high=(MAX_MOVE,) * 2),
        episode_length=episode_length,
        oracle_return=oracle_return,
        plane=lambda task: task.goal,
    )

    def sample(key):
        return PointTask(goal=sample_goal(key))

    def reset(key, task):
        del key, task
        start = jnp.zeros(2, jnp.float32)
        return PointState(start, jnp.zeros((), jnp.int32)), time_step(start)

    def advance(key, task, state, action):
        del key
        move = jnp.clip(jnp.asarray(action, jnp.float32), -MAX_MOVE, MAX_MOVE)
        position = state.position + move
        time = state.time + 1
        reward, terminated = outcome(position - task.goal)
        truncated = (time >= episode_length) & ~terminated
        timestep = time_step(position, reward, terminated=terminated, truncated=truncated)
        return PointState(position, time), timestep

    def oracle(task, state):
        return jnp.clip(task.goal - state.position, -MAX_MOVE, MAX_MOVE)

    return with_auto_reset(spec, sample, reset, advance, oracle=oracle)


def distance(offset: jax.Array) -> jax.Array:
    """Euclidean norm of an offset ``[2]``."""
    return jnp.sqrt(jnp.sum(offset**2))


def oracle_distances(goals: np.ndarray, num_steps: int) -> np.ndarray:
    """Distances to the goal over time, under the optimal policy that knows the goal.

    The largest allowed move on each axis minimises both coordinate distances after every
    step, so no policy is nearer at any time.

    Args:
      goals: ``[G, 2]``.
      num_steps: Number of steps, T.

    Returns:
      ``[G, T]``, distances after steps 1..T.
    """
    moved = MAX_MOVE * np.arange(1, num_steps + 1)
    left = np.maximum(np.abs(goals)[:, None, :] - moved[None, :, None], 0)
    return np.sqrt(np.sum(left**2, axis=-1))
