"""2D point navigation: walk to a goal that only the reward tells."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from metajax.core.options import Count, Options

if TYPE_CHECKING:
    from metajax.core.types import TaskFamily

GOAL_RANGE = 0.5
TOLERANCE = 0.01


@dataclasses.dataclass(frozen=True, kw_only=True)
class PointNavigation(Options):
    """Options of ``point-navigation``.

    Goals are uniform in the square [-0.5, 0.5]^2. A point starts at the origin,
    each action moves it by at most 0.1 an axis, the reward is minus the distance
    to the goal after the move, and the episode terminates where both coordinates
    are nearer than 0.01 to the goal's.

    Follows Finn et al. 2017, "Model-agnostic meta-learning for fast adaptation of
    deep networks", section 5.3 and its published code.

    Attributes:
      episode_length: time limit in steps.
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

        return plane_family(
            name="point-navigation",
            episode_length=self.episode_length,
            sample_goal=sample_goal,
            outcome=outcome,
            oracle_return=_oracle_return(self.episode_length),
        )


def _oracle_return(episode_length: int) -> float:
    """Expected return of walking straight along both axes.

    After t steps an axis has ``a = 0.5 - 0.1 t`` left at most: with probability
    ``p = a / 0.5`` something uniform in [0, a], else nothing. The mean distance is
    ``a c`` with ``c = (sqrt 2 + asinh 1) / 3`` where both axes have something left
    (the mean distance of a unit square from its corner), ``a / 2`` where one has.
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
