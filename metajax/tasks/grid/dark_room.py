"""Dark room."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Literal

from metajax.core.options import AtLeast, Count, Options

if TYPE_CHECKING:
    from metajax.core.family import TaskFamily


@dataclasses.dataclass(frozen=True, kw_only=True)
class DarkRoom(Options):
    """Dark room (Laskin et al. 2022): find a hidden goal cell from the centre of a room.

    A step that ends on the goal pays 1, any other step 0. The goal is uniform over all
    cells and not observed. Every episode starts in the centre and ends by the time limit.
    Actions are stay, up, right, down, left.

    Source: Laskin et al. (2022), "In-context reinforcement learning with algorithm
    distillation". Its hard variant is ``size=17, reward="sparse"``. The number of episodes
    per trial is our choice.

    Attributes:
      size: Side of the room in cells.
      reward: "dense" pays for every step on the goal, "sparse" once per episode.
      observation: Encoding of the position: "coordinates" for x and y scaled to
        [-1, 1], "one-hot" for the cell.
      episode_length: Time limit in steps.
      num_episodes: Episodes per trial.
    """

    size: Annotated[int, AtLeast(2)] = 9
    reward: Literal["dense", "sparse"] = "dense"
    observation: Literal["coordinates", "one-hot"] = "coordinates"
    episode_length: Count = 20
    num_episodes: Count = 10

    def build(self) -> TaskFamily:
        """The family; tasks are ``GoalTask(goal)``."""
        import numpy as np

        from metajax.tasks.grid.base import goal_family

        return goal_family(
            name="dark-room",
            size=self.size,
            start=(self.size // 2, self.size // 2),
            is_goal=np.ones((self.size, self.size), bool),
            reward=(1.0, 0.0),
            pays_once=self.reward == "sparse",
            observation=self.observation,
            episode_length=self.episode_length,
            num_episodes=self.num_episodes,
        )
