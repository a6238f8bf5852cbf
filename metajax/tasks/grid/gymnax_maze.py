"""Mazes of gymnax with one hidden goal, and the exact returns of their families."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np

from metajax.core.types import TaskFamily
from metajax.tasks.adapters.gymnax_environment import environment
from metajax.tasks.tabular.arrivals import with_exact_returns


class Maze(NamedTuple):
    """A gymnax maze and its map.

    Attributes:
      env: The gymnax environment.
      is_open: bool ``[R, C]``, cells without a wall.
      moves: ``[A, 2]``, rows and columns of each action.
      start: Row and column where episodes start.
    """

    env: Any
    is_open: np.ndarray
    moves: np.ndarray
    start: tuple[int, int]


def load_maze(env_id: str, start: str) -> Maze:
    """The maze of a gymnax id; ``start`` names the attribute that holds the first cell."""
    with jax.ensure_compile_time_eval():
        env = environment(env_id)
        is_open, moves, cell = (
            np.asarray(getattr(env, name)) for name in ("env_map", "directions", start)
        )
    return Maze(env, is_open, moves, (int(cell[0]), int(cell[1])))


def with_goal_returns(
    family: TaskFamily, maze: Maze, reward: float, respawn: np.ndarray, slip: float = 0.0
) -> TaskFamily:
    """``family`` with exact returns in its ``Spec``; goals are uniform over open cells.

    Args:
      family: Family over ``maze.env``, with ``task.fields["goal"]``.
      maze: The maze.
      reward: Reward for arriving at the goal; other steps pay 0.
      respawn, slip: See ``arrivals.arrivals``.
    """
    spec = with_exact_returns(
        family.spec,
        lambda task: task.fields["goal"],
        is_open=maze.is_open,
        moves=maze.moves,
        start=maze.start,
        is_goal=maze.is_open,
        reward=(reward, 0.0),
        slip=slip,
        respawn=respawn,
    )
    return family._replace(spec=spec)
