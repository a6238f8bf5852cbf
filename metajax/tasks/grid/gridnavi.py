"""GridNavi."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

from metajax.core.options import AtLeast, Count
from metajax.tasks.grid.room import Room

if TYPE_CHECKING:
    from metajax.core.family import TaskFamily

REWARD = (1.0, -0.1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class GridNavi(Room):
    """GridNavi (Zintgraf et al. 2020): find a hidden goal cell from the corner of a room.

    A step that ends on the goal pays 1, also while staying there; any other step pays -0.1.
    The goal is uniform over all cells except the four nearest to the start, and not
    observed. Every episode starts in the corner (0, 0) and ends by the time limit. Actions
    are stay, up, right, down, left.

    Source: Zintgraf et al. (2020), "VariBAD: a very good method for Bayes-adaptive deep RL
    via meta-learning", section 5.1, and its published code. Deviation: the observed
    position is scaled, where the code gives cell indices.
    """

    size: Annotated[int, AtLeast(3)] = 5
    episode_length: Count = 15
    num_episodes: Count = 4

    def build(self) -> TaskFamily:
        """The family; tasks are ``GoalTask(goal)``."""
        import numpy as np

        from metajax.tasks.grid.base import goal_family

        is_goal = np.ones((self.size, self.size), bool)
        is_goal[:2, :2] = False
        return goal_family(
            self,
            name="gridnavi",
            start=(0, 0),
            is_goal=is_goal,
            reward=REWARD,
        )
