"""GridNavi: find the paying cell of a small room, then go there at once."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Literal

from metajax.core.options import AtLeast, Count, Options

if TYPE_CHECKING:
    from metajax.core.types import TaskFamily

REWARD = (1.0, -0.1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class GridNavi(Options):
    """Options of ``gridnavi``.

    Each episode starts in the corner (0, 0) of a room. A step pays 1 if it ends on
    the goal, which is not shown, else -0.1; staying there pays on. Goals are uniform
    over all cells but the four nearest to the start. Actions are stay, up, right,
    down, left. An episode ends by its time limit only.

    Follows Zintgraf et al. 2020, "VariBAD: a very good method for Bayes-adaptive deep
    RL via meta-learning", section 5.1 and its published code, which shows the
    position too, but in cells; here it is scaled.

    Attributes:
      size: cells a side.
      observation: of the position: ``"coordinates"``, x and y scaled to [-1, 1], or
        the cell ``"one-hot"``.
      episode_length: time limit in steps.
      num_episodes: episodes of a trial.
    """

    size: Annotated[int, AtLeast(3)] = 5
    observation: Literal["coordinates", "one-hot"] = "coordinates"
    episode_length: Count = 15
    num_episodes: Count = 4

    def build(self) -> TaskFamily:
        """The family; tasks are ``GoalTask(goal)``."""
        import numpy as np

        from metajax.tasks.grid.base import goal_family

        is_goal = np.ones((self.size, self.size), bool)
        is_goal[:2, :2] = False
        return goal_family(
            name="gridnavi",
            size=self.size,
            start=(0, 0),
            is_goal=is_goal,
            reward=REWARD,
            observation=self.observation,
            episode_length=self.episode_length,
            num_episodes=self.num_episodes,
        )
