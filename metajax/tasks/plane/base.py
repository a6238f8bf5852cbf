"""What the families of a point that moves in the plane have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from metajax.core.family import Box, Key, Spec, TaskFamily, TimeStep
from metajax.tasks.auto_reset import with_auto_reset

MAX_MOVE = 0.1


class PointTask(NamedTuple):
    """A task of the plane.

    Attributes:
      goal: float32 ``[2]``.
    """

    goal: jax.Array


class PointState(NamedTuple):
    """The state of one episode.

    Attributes:
      position: float32 ``[2]``.
      time: int32 scalar, steps since the reset.
    """

    position: jax.Array
    time: jax.Array


def plane_family(
    *,
    name: str,
    episode_length: int,
    sample_goal: Callable[[Key], jax.Array],
    outcome: Callable[[jax.Array], tuple[jax.Array, jax.Array]],
    oracle_return: float | None,
) -> TaskFamily:
    """A point that starts at the origin and moves at most 0.1 an axis and step.

    The observation is the position. Nothing is random but the goal, and an
    episode that ends at its goal in the last step counts as terminated only.

    Args:
      name, episode_length, oracle_return: for the ``Spec``.
      sample_goal: ``(key) -> [2]``.
      outcome: ``(offset [2]) -> (reward, terminated)``, of the offset from the
        goal after the move.
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
        start, no = jnp.zeros(2, jnp.float32), jnp.zeros((), bool)
        timestep = TimeStep(start, jnp.zeros((), jnp.float32), no, no, start)
        return PointState(start, jnp.zeros((), jnp.int32)), timestep

    def advance(key, task, state, action):
        del key
        move = jnp.clip(jnp.asarray(action, jnp.float32), -MAX_MOVE, MAX_MOVE)
        position = state.position + move
        time = state.time + 1
        reward, terminated = outcome(position - task.goal)
        truncated = (time >= episode_length) & ~terminated
        reward = jnp.asarray(reward, jnp.float32)
        return PointState(position, time), TimeStep(
            position, reward, terminated, truncated, position
        )

    return with_auto_reset(spec, sample, reset, advance)


def distance(offset: jax.Array) -> jax.Array:
    """Euclidean length of ``[2]``."""
    return jnp.sqrt(jnp.sum(offset**2))


def oracle_distances(goals: np.ndarray, num_steps: int) -> np.ndarray:
    """Distances to the goal of the policy that knows it.

    Moving on both axes as far as allowed brings both coordinates as near as
    possible after every step, so no policy is nearer at any time.

    Args:
      goals: ``[G, 2]``.
      num_steps: T.

    Returns:
      ``[G, T]``, the distance after steps 1..T.
    """
    moved = MAX_MOVE * np.arange(1, num_steps + 1)
    left = np.maximum(np.abs(goals)[:, None, :] - moved[None, :, None], 0)
    return np.sqrt(np.sum(left**2, axis=-1))
