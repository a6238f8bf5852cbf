"""Exact returns of tasks that pay for arriving at a cell of a grid.

A step *arrives* at a goal where it ends there, also if it began there. All such
rewards are linear in the number of arrivals, whose expectation under the best and
under the uniform random policy is computed here by backward induction over all
cells, once for every goal. Everything is numpy: it runs when a family is built.

Letters: S cells of a grid of R rows and C columns, row after row; A moves; G goals.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from metajax.core.family import Spec, Tree


def successors(is_open: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """Where each move leads from each cell, ``[A, S]``: nowhere from an edge or a wall.

    Args:
      is_open: bool ``[R, C]``, cells that are no walls.
      moves: ``[A, 2]``, rows and columns of each move.
    """
    num_rows, num_columns = is_open.shape
    cells = np.arange(is_open.size)
    row, column = np.divmod(cells, num_columns)
    to_row = np.clip(row + moves[:, :1], 0, num_rows - 1)
    to_column = np.clip(column + moves[:, 1:], 0, num_columns - 1)
    return np.where(is_open[to_row, to_column], to_row * num_columns + to_column, cells)


def is_too_large(num_goals: int, num_cells: int, num_steps: int) -> bool:
    """Whether exact returns would take longer than building a family may: some seconds."""
    return num_goals * num_cells * num_steps > 2e8


def back_up(
    values: np.ndarray,
    successor: np.ndarray,
    goals: np.ndarray,
    arrival: np.ndarray | float,
    slip: float,
) -> np.ndarray:
    """Values of one more step: of the best move, or with probability ``slip`` of any.

    Args:
      values: ``[G, S]``, what the steps after this one are worth.
      successor: ``[A, S]``.
      goals: int ``[G]``, cells.
      arrival: scalar or ``[G]``, what arriving at the goal is worth, with all after it.
      slip: probability of a uniform random move; 1 for the random policy.

    Returns:
      ``[G, S]``.
    """
    values = values.copy()
    values[np.arange(len(goals)), goals] = arrival
    best, mean = np.full_like(values, -np.inf), np.zeros_like(values)
    for cells in successor:  # one move at a time, for the memory
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
    """Expected arrivals within ``num_steps`` steps, of the best policy for each goal.

    Args:
      successor, goals, slip: see ``back_up``.
      num_steps: steps to go.
      respawn: ``[S]``, probabilities of the cells where one goes on after an arrival;
        all zero if the first arrival is the last that counts. By default one stays.

    Returns:
      ``[G, S]``, from each cell.
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
    is_open: np.ndarray,
    moves: np.ndarray,
    start: tuple[int, int],
    is_goal: np.ndarray,
    reward: tuple[float, float],
    slip: float = 0.0,
    respawn: np.ndarray | None = None,
) -> Spec:
    """``spec`` with the returns of the random policy and of those that know the task.

    As it is where ``is_too_large`` says so.

    Args:
      spec: of a family whose tasks are goals, all equally probable.
      goal_of: ``task -> int [2]``, row and column of its goal.
      is_open, moves: see ``successors``.
      start: where every episode begins.
      is_goal: bool ``[R, C]``, the possible goals.
      reward: of a step that arrives and counts, and of any other step.
      slip, respawn: see ``arrivals``.
    """
    successor, goals = successors(is_open, moves), np.flatnonzero(is_goal)
    if is_too_large(len(goals), is_open.size, spec.episode_length):
        return spec
    high, low = reward

    def returns(slip):
        table = arrivals(successor, goals, spec.episode_length, slip=slip, respawn=respawn)
        count = table[:, start[0] * is_open.shape[1] + start[1]]
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
