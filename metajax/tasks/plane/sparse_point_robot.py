"""Sparse point robot: find the goal on a half-circle that pays only nearby."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

from metajax.core.options import Count, Options, Positive, check

if TYPE_CHECKING:
    import numpy as np

    from metajax.core.types import TaskFamily


@dataclasses.dataclass(frozen=True, kw_only=True)
class SparsePointRobot(Options):
    """Options of ``sparse-point-robot``.

    Goals lie on the upper half of the unit circle. A point starts at the origin
    and each action moves it by at most 0.1 an axis. The reward after the move, at
    distance d from the goal, is 1 - d within the goal's radius and 0 outside it.
    An episode ends by its time limit only.

    Follows Rakelly et al. 2019, "Efficient off-policy meta-reinforcement learning
    via probabilistic context variables" (PEARL), section 6.3 and its published
    code, which trains on the dense reward and evaluates on the sparse one:
    ``num_goals=100`` with ``split="train"``, ``reward="dense"`` for training and
    ``split="test"`` for evaluation.

    Attributes:
      reward: ``"sparse"`` as above, or ``"dense"``, minus the distance.
      goal_radius: where the sparse reward begins.
      episode_length: time limit in steps.
      num_goals: a fixed set of so many goals at equal angles from 0 to pi; by
        default the angle is uniform.
      split: which part of the fixed set tasks are drawn from.
      num_test_goals: how many of the fixed set the test split has.
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
        check(
            self.num_goals is not None,
            "split",
            self.split,
            '"all", since without num_goals the goals are no fixed set to split',
        )
        assert self.num_goals is not None
        check(
            self.num_test_goals < self.num_goals,
            "num_test_goals",
            self.num_test_goals,
            f"a number from 1 to num_goals - 1 = {self.num_goals - 1}",
        )

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
        """``[G, 2]``: the goals of the split, or a fine grid of angles without a set."""
        import numpy as np

        if self.num_goals is None:
            num_angles = 10_000
            angles = (np.arange(num_angles) + 0.5) * np.pi / num_angles
        else:
            angles = np.linspace(0, np.pi, self.num_goals)
        goals = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        if self.split == "all":
            return goals
        # The seed and generator of the published code: the same test goals.
        np.random.RandomState(1337).shuffle(goals)
        first_test = len(goals) - self.num_test_goals
        return goals[first_test:] if self.split == "test" else goals[:first_test]

    def _reward_at(self, d: Any, array_module: Any) -> Any:
        """The reward at distance ``d``, in ``numpy`` or ``jax.numpy``."""
        if self.reward == "dense":
            return -d
        return array_module.where(d <= self.goal_radius, 1 - d, 0)

    def _oracle_return(self) -> float:
        import numpy as np

        from metajax.tasks.plane.base import oracle_distances

        d = oracle_distances(self.goals(), self.episode_length)
        return float(np.mean(np.sum(self._reward_at(d, np), axis=1)))
