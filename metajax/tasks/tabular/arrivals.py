"""Exact returns of grid worlds that pay for arriving at a goal cell.

A step *arrives* at the goal if it ends there, even if it also began there. Returns are then
linear in the number of arrivals. Backward induction over all cells, for every goal, gives
the expected number under the optimal and under the uniform random policy. All of this is
numpy and runs once, when a family is built.

Letters: S cells of a grid with R rows and C columns, in row-major order; A moves; G goals.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from metajax.core.family import Spec, Tree


def successors(is_open: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """Next cell of each move from each cell, ``[A, S]``; edges and walls block a move.

    Args:
      is_open: bool ``[R, C]``, cells without a wall.
      moves: ``[A, 2]``, rows and columns of each move.
    """
    num_rows, num_columns = is_open.shape
    cells = np.arange(is_open.size)
    row, column = np.divmod(cells, num_columns)
    to_row = np.clip(row + moves[:, :1], 0, num_rows - 1)
    to_column = np.clip(column + moves[:, 1:], 0, num_columns - 1)
    return np.where(is_open[to_row, to_column], to_row * num_columns + to_column, cells)


def is_too_large(num_goals: int, num_cells: int, num_steps: int) -> bool:
    """Whether exact returns would take more than a few seconds, too long to build a family."""
    return num_goals * num_cells * num_steps > 2e8


def back_up(
    values: np.ndarray,
    successor: np.ndarray,
    goals: np.ndarray,
    arrival: np.ndarray | float,
    slip: float,
) -> np.ndarray:
    """Values with one more step to go: the best move, or a random one with probability slip.

    Args:
      values: ``[G, S]``, values after this step.
      successor: ``[A, S]``, see ``successors``.
      goals: int ``[G]``, goal cells.
      arrival: Scalar or ``[G]``, value of arriving at the goal, the steps after it included.
      slip: Probability of a uniform random move; 1 for the random policy.

    Returns:
      ``[G, S]``.
    """
    values = values.copy()
    values[np.arange(len(goals)), goals] = arrival
    best, mean = np.full_like(values, -np.inf), np.zeros_like(values)
    for cells in successor:  # one move at a time, to save memory
        moved = values[:, cells]
        np.maximum(best, moved, out=best)
        mean += moved / len(successor)
    return (1 - slip) * best + slip * mean


def arrivals(
    successor: np.ndarray,
    goals: np.ndarray,
    num_steps: int,
    *,
    slip: float = 0.0,
    respawn: np.ndarray | None = None,
) -> np.ndarray:
    """Expected number of arrivals under the optimal policy for each goal.

    Args:
      successor, goals, slip: See ``back_up``.
      num_steps: Number of steps to go.
      respawn: ``[S]``, distribution of the cell to continue from after an arrival; all zero
        if only the first arrival counts. Default: the agent stays on the goal.

    Returns:
      ``[G, S]``, by start cell.
    """
    values = np.zeros((len(goals), successor.shape[1]))
    for _ in range(num_steps):
        after = values[np.arange(len(goals)), goals] if respawn is None else values @ respawn
        values = back_up(values, successor, goals, 1 + after, slip)
    return values


def with_exact_returns(
    spec: Spec,
    goal_of: Callable[[Tree], jax.Array],
    *,
    is_open: ArrayLike,
    moves: ArrayLike,
    start: ArrayLike,
    is_goal: ArrayLike | None = None,
    reward: tuple[float, float],
    slip: float = 0.0,
    respawn: np.ndarray | None = None,
) -> Spec:
    """``spec`` with exact random, oracle and optimal returns; unchanged if ``is_too_large``.

    Args:
      spec: Spec of a family with one goal per task, uniform over the possible goals.
      goal_of: ``task -> int [2]``, row and column of the goal.
      is_open, moves: See ``successors``.
      start: First cell of every episode, row and column.
      is_goal: bool ``[R, C]``, possible goals. Default: all open cells.
      reward: Reward of an arrival that counts, and of any other step.
      slip, respawn: See ``arrivals``.
    """
    is_open, moves, (row, column) = (np.asarray(one) for one in (is_open, moves, start))
    is_goal = is_open if is_goal is None else np.asarray(is_goal)
    successor, goals = successors(is_open, moves), np.flatnonzero(is_goal)
    if is_too_large(len(goals), is_open.size, spec.episode_length):
        return spec
    high, low = reward

    def returns(slip):
        table = arrivals(successor, goals, spec.episode_length, slip=slip, respawn=respawn)
        count = table[:, row * is_open.shape[1] + column]
        return low * spec.episode_length + (high - low) * count

    informed, random = returns(slip), returns(1.0)
    best = np.full(is_open.shape, np.nan, np.float32)
    best[is_goal] = informed

    def optimal_return(task):
        goal = goal_of(task)
        return jnp.asarray(best)[goal[0], goal[1]]

    return dataclasses.replace(
        spec,
        optimal_return=optimal_return,
        oracle_return=float(informed.mean()),
        random_return=float(random.mean()),
    )
