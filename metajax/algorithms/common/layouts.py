"""Options of how tasks lie on blocks and devices, and of passes over them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from metajax.algorithms.common.optimizers import MetaOptimized
from metajax.core.options import Count, Options

if TYPE_CHECKING:
    from metajax.core.algorithm import Objective, Outer
    from metajax.core.layout import Layout


@dataclasses.dataclass(frozen=True, kw_only=True)
class InBlocks(Options):
    """Options of every algorithm that works on many tasks at a time.

    Attributes:
      num_tasks: Number of tasks N in a meta-batch.
      microbatch: Number of tasks whose rollouts run as one block. Default: chosen
        automatically.
      devices: Number of devices to shard tasks over. Default: the largest count that divides
        ``num_tasks``.
    """

    num_tasks: Count = 100
    microbatch: Count | None = None
    devices: Count | None = None

    @property
    def minibatches(self) -> int:
        """Number of parts of the tasks with separate updates."""
        return 1

    def layout(self, **options: Any) -> Layout:
        """Blocks and devices of the tasks; ``options`` are those of ``Layout.build``."""
        from metajax.core.layout import Layout

        sizes: dict[str, Any] = {"num_tasks": self.num_tasks, "microbatch": self.microbatch}
        sizes |= {"num_devices": self.devices, "num_minibatches": self.minibatches}
        return Layout.build(**{**sizes, **options})


@dataclasses.dataclass(frozen=True, kw_only=True)
class InGradientBlocks(InBlocks):
    """Options of algorithms that differentiate through the trial of each task.

    Attributes:
      gradient_microbatch: Number of tasks whose meta-gradients run as one block. Default:
        chosen automatically.
    """

    gradient_microbatch: Count | None = None

    def layout(self, **options: Any) -> Layout:
        return super().layout(**{"gradient_microbatch": self.gradient_microbatch, **options})


@dataclasses.dataclass(frozen=True, kw_only=True)
class InPasses(MetaOptimized):
    """Options of algorithms that learn from the same trials several times.

    Attributes:
      num_epochs: Number of passes over the trials of a meta-iteration.
      num_minibatches: Number of meta-updates in each pass.
    """

    num_epochs: Count = 4
    num_minibatches: Count = 4

    def passes(self, objective: Objective, layout: Layout, *, once: bool = False) -> Outer:
        """The outer rule of these passes, or of a single update."""
        from metajax import outer

        num_epochs, num_minibatches = (1, 1) if once else (self.num_epochs, self.num_minibatches)
        return outer.epochs(
            objective,
            self.meta_optimizer(num_epochs * num_minibatches),
            layout,
            num_epochs=num_epochs,
            num_minibatches=num_minibatches,
        )
