"""Dark room."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

from metajax.tasks.grid.room import Room

if TYPE_CHECKING:
    from metajax.core.family import TaskFamily


@dataclasses.dataclass(frozen=True, kw_only=True)
class DarkRoom(Room):
    """Dark room (Laskin et al. 2022): find a hidden goal cell from the centre of a room.

    A step that ends on the goal pays 1, any other step 0. The goal is uniform over all
    cells and not observed. Every episode starts in the centre and ends by the time limit.
    Actions are stay, up, right, down, left.

    Source: Laskin et al. (2022), "In-context reinforcement learning with algorithm
    distillation". Its hard variant is ``size=17, reward="sparse"``. The number of episodes
    per trial is our choice.

    Attributes:
      reward: "dense" pays for every step on the goal, "sparse" once per episode.
    """

    reward: Literal["dense", "sparse"] = "dense"

    def build(self) -> TaskFamily:
        """The family; tasks are ``GoalTask(goal)``."""
        import numpy as np

        from metajax.tasks.grid.base import goal_family

        return goal_family(
            self,
            name="dark-room",
            start=(self.size // 2, self.size // 2),
            is_goal=np.ones((self.size, self.size), bool),
            reward=(1.0, 0.0),
            pays_once=self.reward == "sparse",
        )
