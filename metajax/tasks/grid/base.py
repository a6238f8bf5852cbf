"""Square rooms: the moves, observations and environment shared by their families."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from metajax.core.family import Discrete, Grid, Spec, TaskFamily, Tree
from metajax.tasks.auto_reset import time_step, with_auto_reset
from metajax.tasks.grid.room import Room
from metajax.tasks.tabular.arrivals import with_exact_returns

# Stay, up, right, down, left; a position is (x, y).
MOVES = np.array([(0, 0), (0, 1), (1, 0), (0, -1), (-1, 0)], np.int32)


class GoalTask(NamedTuple):
    """A room with one goal."""

    goal: jax.Array  # int32 [2], goal cell (x, y)


class GoalState(NamedTuple):
    """State of one episode."""

    position: jax.Array  # int32 [2], cell of the agent (x, y)
    paid: jax.Array  # bool scalar; the goal has been reached before in this episode
    time: jax.Array  # int32 scalar, steps since the reset


def move(position: jax.Array, action: jax.Array, size: int) -> jax.Array:
    """The position ``[2]`` after a move, clipped to the room; actions are clipped to 0..4."""
    return jnp.clip(position + jnp.asarray(MOVES)[jnp.clip(action, 0, 4)], 0, size - 1)


def towards(offset: jax.Array) -> jax.Array:
    """The action of a shortest path along an offset ``[2]``: along x, then y, then stay."""
    x, y = offset
    along_y = jnp.where(y > 0, 1, jnp.where(y < 0, 3, 0))
    return jnp.where(x > 0, 2, jnp.where(x < 0, 4, along_y)).astype(jnp.int32)


def position_features(size: int, observation: str) -> tuple[int, Callable[[jax.Array], jax.Array]]:
    """The features of a position.

    Args:
      size: Side of the room in cells.
      observation: "coordinates" for x and y scaled to [-1, 1], or "one-hot" for
        the cell index ``x * size + y``, one-hot of length ``size**2``.

    Returns:
      The number of features, and the function ``position [2] -> float32 features``.
    """
    if observation == "coordinates":
        return 2, lambda position: position.astype(jnp.float32) * (2 / (size - 1)) - 1
    return size**2, lambda position: jax.nn.one_hot(
        position[0] * size + position[1], size**2, dtype=jnp.float32
    )


def room_map(size: int, observation: str, marks: Callable[[Tree], dict[str, jax.Array]]) -> Grid:
    """The map of a room whose observations begin with ``position_features``."""

    def cell(seen):
        if observation == "coordinates":
            return jnp.round((seen[:2] + 1) * ((size - 1) / 2)).astype(jnp.int32)
        return jnp.stack(jnp.divmod(jnp.argmax(seen[: size**2]), size))

    return Grid(size, cell, marks)


def goal_family(
    room: Room,
    *,
    name: str,
    start: tuple[int, int],
    is_goal: np.ndarray,
    reward: tuple[float, float],
    pays_once: bool = False,
) -> TaskFamily:
    """A family of rooms with one hidden goal cell, deterministic apart from the goal.

    Episodes end by the time limit only, as a truncation.

    Args:
      room: Size, observation and length of episodes and trials.
      name: Field of the ``Spec``.
      start: First cell (x, y) of every episode.
      is_goal: bool ``[size, size]``, cells to draw the goal from, uniformly.
      reward: Reward of a step that ends on the goal, and of any other step.
      pays_once: Pay the goal reward only for the first arrival of an episode.

    Returns:
      The family; tasks are ``GoalTask(goal)``.
    """
    size, episode_length = room.size, room.episode_length
    num_features, observe = position_features(size, room.observation)
    goals = jnp.asarray(np.argwhere(is_goal), jnp.int32)
    high, low = (jnp.float32(one) for one in reward)
    spec = Spec(
        name=name,
        observation_shape=(num_features,),
        action_space=Discrete(len(MOVES)),
        episode_length=episode_length,
        episodes_per_trial=room.num_episodes,
        grid=room_map(size, room.observation, lambda task: {"goal": task.goal}),
    )
    spec = with_exact_returns(
        spec,
        lambda task: task.goal,
        is_open=np.ones((size, size), bool),
        moves=MOVES,
        start=start,
        is_goal=is_goal,
        reward=reward,
        respawn=np.zeros(size**2) if pays_once else None,
    )

    def sample(key):
        return GoalTask(goals[jax.random.randint(key, (), 0, len(goals))])

    def reset(key, task):
        del key, task
        state = GoalState(jnp.array(start, jnp.int32), jnp.zeros((), bool), jnp.int32(0))
        return state, time_step(observe(state.position))

    def advance(key, task, state, action):
        del key
        position = move(state.position, action, size)
        on_goal = jnp.all(position == task.goal)
        pays = on_goal & ~state.paid if pays_once else on_goal
        state = GoalState(position, state.paid | on_goal, state.time + 1)
        reward, ends = jnp.where(pays, high, low), state.time >= episode_length
        return state, time_step(observe(position), reward, truncated=ends)

    return with_auto_reset(
        spec,
        sample,
        reset,
        advance,
        oracle=lambda task, state: towards(task.goal - state.position),
    )
