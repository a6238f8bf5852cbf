"""Options of algorithms whose trials are lifetimes."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from metajax.algorithms.common.layouts import InBlocks
from metajax.core.options import Count, check

if TYPE_CHECKING:
    from metajax.core.algorithm import MetaAlgorithm, Outer
    from metajax.core.family import TaskFamily
    from metajax.core.problem import Problem
    from metajax.core.types import Learner


@dataclasses.dataclass(frozen=True, kw_only=True)
class LifetimeOptions(InBlocks):
    """Options of every algorithm whose trials are lifetimes.

    Attributes:
      num_streams: Number of environments E that run side by side in a task.
      num_steps: Number of steps T of each environment between two adaptations.
      lifetime: Length of a trial in transitions, all environments together; a multiple of
        ``num_steps * num_streams``.
      num_points: Number of measurements of a trial after the first, evenly spaced over its
        lifetime.
    """

    num_tasks: Count = 64
    num_streams: Count = 10
    num_steps: Count = 1
    lifetime: Count = 10_000
    num_points: Count = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        chunk = self.num_steps * self.num_streams
        allowed = f"a multiple of num_steps * num_streams ({chunk})"
        check(self.lifetime % chunk == 0, "lifetime", self.lifetime, allowed)

    @property
    def num_adaptations(self) -> int:
        """K, adaptations of a lifetime."""
        return self.lifetime // (self.num_steps * self.num_streams)

    @property
    def schedules(self) -> tuple[str, ...]:
        """Names in ``info`` of learned settings."""
        return ()

    def problem(self, family: TaskFamily, learner: Learner) -> Problem:
        """A learner in its lifetimes."""
        from metajax.data.lifetime import lifetime

        return lifetime(
            family,
            learner,
            num_adaptations=self.num_adaptations,
            num_streams=self.num_streams,
            num_steps=self.num_steps,
            num_points=self.num_points,
        )

    def composed(
        self, problem: Problem, rule: Outer, *, microbatch: int | None = None
    ) -> MetaAlgorithm:
        """The algorithm of a problem and an outer rule.

        Args:
          problem, rule: See ``metajax.compose``.
          microbatch: Largest number of tasks of a meta-test in one block. Default: the option.
        """
        from metajax.composition import compose

        return compose(
            problem, rule, microbatch=microbatch or self.microbatch, schedules=self.schedules
        )
