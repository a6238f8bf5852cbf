"""What the families of an agent in an empty square room have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from metajax.core.family import Discrete, Spec, TaskFamily, TimeStep
from metajax.tasks.auto_reset import with_auto_reset
from metajax.tasks.tabular.arrivals import with_exact_returns

# Stay, up, right, down, left; a position is (x, y).
MOVES = np.array([(0, 0), (0, 1), (1, 0), (0, -1), (-1, 0)], np.int32)


class GoalTask(NamedTuple):
    """A room with one goal.

    Attributes:
      goal: int32 ``[2]``.
    """

    goal: jax.Array


class GoalState(NamedTuple):
    """The state of one episode.

    Attributes:
      position: int32 ``[2]``.
      paid: bool; a reward that is paid once was paid.
      time: int32 scalar, steps since the reset.
    """

    position: jax.Array
    paid: jax.Array
    time: jax.Array


def move(position: jax.Array, action: jax.Array, size: int) -> jax.Array:
    """The position after a move; the walls around the room and actions are clipped."""
    return jnp.clip(position + jnp.asarray(MOVES)[jnp.clip(action, 0, 4)], 0, size - 1)


def position_features(size: int, observation: str) -> tuple[int, Callable[[jax.Array], jax.Array]]:
    """How a position is observed.

    Args:
      size: cells a side of the room.
      observation: ``"coordinates"``, x and y scaled to [-1, 1], or ``"one-hot"``,
        the cell's number ``x * size + y`` as ``[size**2]``.

    Returns:
      The number of features, and ``position [2] -> float32 features``.
    """
    if observation == "coordinates":
        return 2, lambda position: position.astype(jnp.float32) * (2 / (size - 1)) - 1
    return size**2, lambda position: jax.nn.one_hot(
        position[0] * size + position[1], size**2, dtype=jnp.float32
    )


def goal_family(
    *,
    name: str,
    size: int,
    start: tuple[int, int],
    is_goal: np.ndarray,
    reward: tuple[float, float],
    pays_once: bool = False,
    observation: str,
    episode_length: int,
    num_episodes: int,
) -> TaskFamily:
    """An agent in a room that pays for being on a cell that it does not see.

    Nothing is random but the goal, and only the time limit ends an episode: a
    truncation.

    Args:
      name, episode_length, num_episodes: for the ``Spec``.
      size: cells a side.
      start: where every episode begins.
      is_goal: bool ``[size, size]``, from which goals are drawn uniformly.
      reward: of a step that ends on the goal, and of any other.
      pays_once: whether only the first such step of an episode counts.
      observation: see ``position_features``.

    Returns:
      The family; tasks are ``GoalTask(goal)``.
    """
    num_features, observe = position_features(size, observation)
    goals = jnp.asarray(np.argwhere(is_goal), jnp.int32)
    high, low = (jnp.float32(one) for one in reward)
    spec = Spec(
        name=name,
        observation_shape=(num_features,),
        action_space=Discrete(len(MOVES)),
        episode_length=episode_length,
        episodes_per_trial=num_episodes,
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
        seen, no = observe(state.position), jnp.zeros((), bool)
        return state, TimeStep(seen, jnp.zeros((), jnp.float32), no, no, seen)

    def advance(key, task, state, action):
        del key
        position = move(state.position, action, size)
        on_goal = jnp.all(position == task.goal)
        pays = on_goal & ~state.paid if pays_once else on_goal
        time = state.time + 1
        seen, no = observe(position), jnp.zeros((), bool)
        timestep = TimeStep(seen, jnp.where(pays, high, low), no, time >= episode_length, seen)
        return GoalState(position, state.paid | on_goal, time), timestep

    return with_auto_reset(spec, sample, reset, advance)
