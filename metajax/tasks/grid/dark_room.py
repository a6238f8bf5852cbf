"""Dark room: find the paying cell of a room without light."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Literal

from metajax.core.options import AtLeast, Count, Options

if TYPE_CHECKING:
    from metajax.core.types import TaskFamily


@dataclasses.dataclass(frozen=True, kw_only=True)
class DarkRoom(Options):
    """Options of ``dark-room``.

    Each episode starts in the middle of a room. A step pays 1 if it ends on the goal,
    which is not shown and is uniform over all cells, else 0. Actions are stay, up,
    right, down, left. An episode ends by its time limit only.

    Follows Laskin et al. 2022, "In-context reinforcement learning with algorithm
    distillation". Its hard variant is ``size=17`` with ``reward="sparse"``. How many
    episodes a trial has is our choice.

    Attributes:
      size: cells a side.
      reward: ``"dense"``, paid at every step on the goal, or ``"sparse"``, paid once
        an episode.
      observation: of the position: ``"coordinates"``, x and y scaled to [-1, 1], or
        the cell ``"one-hot"``.
      episode_length: time limit in steps.
      num_episodes: episodes of a trial.
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
