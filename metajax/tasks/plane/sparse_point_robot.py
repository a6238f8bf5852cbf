"""Point robot with a sparse reward."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

from metajax.core.options import Count, Options, Positive, check

if TYPE_CHECKING:
    import numpy as np

    from metajax.core.family import TaskFamily


@dataclasses.dataclass(frozen=True, kw_only=True)
class SparsePointRobot(Options):
    """Sparse point robot (Rakelly et al. 2019): find a goal on a half-circle, paid only nearby.

    Goals lie on the upper half of the unit circle. A point starts at the origin and moves
    by at most 0.1 per axis and step. The reward after the move is 1 - d if the distance d
    to the goal is at most ``goal_radius``, else 0. Episodes end by the time limit only.

    Source: Rakelly et al. (2019), "Efficient off-policy meta-reinforcement learning via
    probabilistic context variables" (PEARL), section 6.3, and its published code, which
    trains with ``num_goals=100, split="train", reward="dense"`` and evaluates with
    ``num_goals=100, split="test"`` on the sparse reward.

    Attributes:
      reward: "sparse" as above, or "dense" for minus the distance.
      goal_radius: Largest distance to the goal that pays the sparse reward.
      episode_length: Time limit in steps.
      num_goals: Size of a fixed set of goals at equal angles from 0 to pi. Default: no
        fixed set; the angle is uniform.
      split: Part of the fixed set to draw tasks from.
      num_test_goals: Number of goals of the fixed set in the test split.
    """

    reward: Literal["sparse", "dense"] = "sparse"
    goal_radius: Positive = 0.2
    episode_length: Count = 20
    num_goals: Count | None = None
    split: Literal["all", "train", "test"] = "all"
    num_test_goals: Count = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.split == "all":
            return
        allowed = '"all", since without num_goals there is no fixed set to split'
        check(self.num_goals is not None, "split", self.split, allowed)
        assert self.num_goals is not None
        fits = self.num_test_goals < self.num_goals
        allowed = f"a number from 1 to num_goals - 1 = {self.num_goals - 1}"
        check(fits, "num_test_goals", self.num_test_goals, allowed)

    def build(self) -> TaskFamily:
        """The family; tasks are ``PointTask(goal)``."""
        import jax
        import jax.numpy as jnp

        from metajax.tasks.plane.base import distance, plane_family

        fixed = None if self.num_goals is None else jnp.asarray(self.goals(), jnp.float32)

        def sample_goal(key):
            if fixed is not None:
                return fixed[jax.random.randint(key, (), 0, len(fixed))]
            angle = jax.random.uniform(key, (), jnp.float32, 0, jnp.pi)
            return jnp.stack([jnp.cos(angle), jnp.sin(angle)])

        def outcome(offset):
            return self._reward_at(distance(offset), jnp), jnp.zeros((), bool)

        return plane_family(
            name="sparse-point-robot",
            episode_length=self.episode_length,
            sample_goal=sample_goal,
            outcome=outcome,
            oracle_return=self._oracle_return(),
        )

    def goals(self) -> np.ndarray:
        """The goals of the split, ``[G, 2]``; without a fixed set, a fine grid of angles."""
        import numpy as np

        if self.num_goals is None:
            num_angles = 10_000
            angles = (np.arange(num_angles) + 0.5) * np.pi / num_angles
        else:
            angles = np.linspace(0, np.pi, self.num_goals)
        goals = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        if self.split == "all":
            return goals
        # Seed and generator of the published code, for the same test goals.
        np.random.RandomState(1337).shuffle(goals)
        first_test = len(goals) - self.num_test_goals
        return goals[first_test:] if self.split == "test" else goals[:first_test]

    def _reward_at(self, d: Any, array_module: Any) -> Any:
        """The reward at distance ``d``; ``array_module`` is ``numpy`` or ``jax.numpy``."""
        if self.reward == "dense":
            return -d
        return array_module.where(d <= self.goal_radius, 1 - d, 0)

    def _oracle_return(self) -> float:
        import numpy as np

        from metajax.tasks.plane.base import oracle_distances

        d = oracle_distances(self.goals(), self.episode_length)
        return float(np.mean(np.sum(self._reward_at(d, np), axis=1)))
