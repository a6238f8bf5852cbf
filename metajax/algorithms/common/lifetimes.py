"""What the algorithms have in common whose trials are lifetimes."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from metajax.core.options import check, check_number

if TYPE_CHECKING:
    from metajax.core.algorithm import MetaAlgorithm, Outer
    from metajax.core.family import TaskFamily
    from metajax.core.types import Learner, Source


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lifetimes:
    """Options of every algorithm whose trials are lifetimes.

    Attributes:
      num_tasks: N, tasks of a meta-batch.
      num_streams: E, environments that run side by side in a task.
      num_steps: T, steps of each between two adaptations.
      lifetime: transitions of a trial, over all streams.
      num_points: measurements of a trial, evenly over its lifetime after the first.
      microbatch: tasks that one block of the program works on; chosen by itself.
      devices: that share the tasks; all that divide their number by default.
    """

    num_tasks: int = 64
    num_streams: int = 10
    num_steps: int = 1
    lifetime: int = 10_000
    num_points: int = 10
    microbatch: int | None = None
    devices: int | None = None

    def __post_init__(self) -> None:
        for field in dataclasses.fields(Lifetimes):
            check_number(field.name, getattr(self, field.name), minimum=1)
        chunk = self.num_steps * self.num_streams
        check(
            self.lifetime % chunk == 0,
            "lifetime",
            self.lifetime,
            f"a multiple of num_steps * num_streams ({chunk})",
        )

    @property
    def num_adaptations(self) -> int:
        """K, of a lifetime."""
        return self.lifetime // (self.num_steps * self.num_streams)

    @property
    def schedules(self) -> tuple[str, ...]:
        """Names in ``info`` of settings that are learned."""
        return ()

    def source(self, family: TaskFamily, learner: Learner) -> Source:
        """Where the chunks of a lifetime come from."""
        from metajax.composition import lifetimes

        return lifetimes(self.num_steps, self.num_points).source(family, learner, self.num_streams)

    def composed(
        self, learner: Learner, rule: Outer, family: TaskFamily, *, microbatch: int | None = None
    ) -> MetaAlgorithm:
        """The algorithm of a learner and an outer rule.

        Args:
          learner, rule, family: of ``metajax.compose``.
          microbatch: tasks of a meta-test that may be one block; the option by default.
        """
        from metajax.composition import compose, lifetimes

        return compose(
            learner,
            rule,
            family,
            num_adaptations=self.num_adaptations,
            num_streams=self.num_streams,
            trials=lifetimes(self.num_steps, self.num_points),
            microbatch=microbatch or self.microbatch,
            schedules=self.schedules,
        )
