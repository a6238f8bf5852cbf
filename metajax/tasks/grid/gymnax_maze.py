"""Mazes of gymnax with one hidden goal."""

from __future__ import annotations

from typing import Any

import numpy as np

from metajax.core.family import TaskFamily
from metajax.tasks.tabular.arrivals import with_exact_returns


def with_goal_returns(
    family: TaskFamily,
    env: Any,
    *,
    start: Any,
    reward: float,
    respawn: np.ndarray,
    slip: float = 0.0,
) -> TaskFamily:
    """``family`` with exact returns in its ``Spec``; goals are uniform over open cells.

    Args:
      family: Family over ``env`` with ``task.fields["goal"]``.
      env: gymnax environment with ``env_map`` and ``directions``.
      start: First cell of every episode, row and column.
      reward: Reward of a step that arrives at the goal; other steps pay 0.
      respawn, slip: See ``arrivals``.
    """
    is_open, moves, (row, column) = map(np.asarray, (env.env_map, env.directions, start))
    spec = with_exact_returns(
        family.spec,
        lambda task: task.fields["goal"],
        is_open=is_open,
        moves=moves,
        start=(int(row), int(column)),
        is_goal=is_open,
        reward=(reward, 0.0),
        slip=slip,
        respawn=respawn,
    )
    return family._replace(spec=spec)
