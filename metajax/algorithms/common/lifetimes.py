"""What the algorithms have in common whose trials are lifetimes."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from metajax.core.options import Count, Options, check

if TYPE_CHECKING:
    from metajax.core.types import Learner, MetaAlgorithm, Outer, Source, TaskFamily


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lifetimes(Options):
    """Options of every algorithm whose trials are lifetimes.

    Attributes:
      num_tasks: Number of tasks N in a meta-batch.
      num_streams: Number of environments E that run side by side in a task.
      num_steps: Number of steps T of each environment between two adaptations.
      lifetime: Length of a trial in transitions, all environments together; a multiple of
        ``num_steps * num_streams``.
      num_points: Number of measurements of a trial after the first, evenly spaced over its
        lifetime.
      microbatch: Number of tasks in one block of the program. Default: chosen automatically.
      devices: Number of devices to shard tasks over. Default: the largest count that divides
        ``num_tasks``.
    """

    num_tasks: Count = 64
    num_streams: Count = 10
    num_steps: Count = 1
    lifetime: Count = 10_000
    num_points: Count = 10
    microbatch: Count | None = None
    devices: Count | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
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
