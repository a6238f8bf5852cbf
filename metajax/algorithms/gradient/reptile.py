"""Reptile: move the initial weights towards the adapted ones."""

from __future__ import annotations

import dataclasses
from typing import Literal

from metajax.algorithms.gradient.base import GradientBased
from metajax.core.options import check_number


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reptile(GradientBased):
    """Reptile, batched: ``theta + learning_rate * mean(adapted - theta)``.

    Source: Nichol et al. (2018), "On first-order meta-learning algorithms",
    algorithm 2. Each of the ``inner_steps`` adaptations collects fresh episodes;
    the paper is about supervised tasks and leaves reinforcement learning open. There is
    no gradient through trials, so ``gradient_microbatch`` changes nothing.

    Attributes:
      inner_steps: K; at least 1. With one step in all, Reptile is joint training.
      learning_rate: the fraction of the way to the adapted weights.
    """

    inner_steps: int = 3
    learning_rate: float = 0.1
    optimizer: Literal["adam", "sgd", "rmsprop"] = "sgd"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("inner_steps", self.inner_steps, minimum=1)

    def outer_rule(self, problem, layout):
        from metajax import outer

        return outer.once(outer.displacement(problem, layout), self.meta_optimizer())
