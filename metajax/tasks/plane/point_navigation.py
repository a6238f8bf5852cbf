"""2D point navigation with a dense reward."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from metajax.core.options import Count
from metajax.tasks.revealed import Revealable

if TYPE_CHECKING:
    from metajax.core.family import TaskFamily

GOAL_RANGE = 0.5
TOLERANCE = 0.01


@dataclasses.dataclass(frozen=True, kw_only=True)
class PointNavigation(Revealable):
    """2D navigation (Finn et al. 2017): reach a hidden goal from the distance reward alone.

    Goals are uniform in the square [-0.5, 0.5]^2. A point starts at the origin and moves by
    at most 0.1 per axis and step. The reward is minus the distance to the goal after the
    move. The episode terminates when both coordinates are within 0.01 of the goal.

    Source: Finn et al. (2017), "Model-agnostic meta-learning for fast adaptation of deep
    networks", section 5.3, and its published code.

    Attributes:
      episode_length: Time limit in steps.
    """

    episode_length: Count = 100

    def build(self) -> TaskFamily:
        """The family; tasks are ``PointTask(goal)``."""
        import jax
        import jax.numpy as jnp

        from metajax.tasks.plane.base import distance, plane_family

        def sample_goal(key):
            return jax.random.uniform(key, (2,), jnp.float32, -GOAL_RANGE, GOAL_RANGE)

        def outcome(offset):
            return -distance(offset), jnp.all(jnp.abs(offset) < TOLERANCE)

        family = plane_family(
            name="point-navigation",
            episode_length=self.episode_length,
            sample_goal=sample_goal,
            outcome=outcome,
            oracle_return=_oracle_return(self.episode_length),
        )
        return self.shown(family)


def _oracle_return(episode_length: int) -> float:
    """Expected return of the optimal policy that knows the goal, see ``oracle_distances``.

    After t steps the distance left on an axis is at most ``a = 0.5 - 0.1 t``: with
    probability ``p = a / 0.5`` it is uniform in [0, a], else 0. The mean distance to the
    goal is ``a c``, ``c = (sqrt 2 + asinh 1) / 3``, if it is positive on both axes (the mean
    distance of a point in the unit square from a corner), and ``a / 2`` if only on one.
    """
    from metajax.tasks.plane.base import MAX_MOVE

    corner = (math.sqrt(2) + math.asinh(1)) / 3
    total = 0.0
    for step in range(1, episode_length + 1):
        left = GOAL_RANGE - MAX_MOVE * step
        if left <= 0:
            break
        p = left / GOAL_RANGE
        total -= p**2 * left * corner + 2 * p * (1 - p) * left / 2
    return total
