"""Reptile: move the initial weights towards the adapted ones."""

from __future__ import annotations

import dataclasses

from metajax.algorithms.common.optimizers import Optimizer, Rate
from metajax.algorithms.gradient.base import GradientBased
from metajax.core.options import Count


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reptile(GradientBased):
    """Reptile (Nichol et al. 2018): initial weights that move towards the adapted ones.

    Batched: ``theta + learning_rate * mean(adapted - theta)``.

    Source: Nichol et al. (2018), "On first-order meta-learning algorithms",
    algorithm 2. Each of the ``inner_steps`` adaptations collects fresh episodes;
    the paper is about supervised tasks and leaves reinforcement learning open. There is
    no gradient through trials, so ``gradient_microbatch`` changes nothing.

    Attributes:
      inner_steps: Number of adaptations K in a trial. With one gradient step in all, Reptile is
        joint training.
      learning_rate: Fraction of the way to the adapted weights in a meta-update.
    """

    inner_steps: Count = 3
    learning_rate: Rate = 0.1
    optimizer: Optimizer = "sgd"

    def outer_products(self, each, updates):
        return 0.0

    def outer_rule(self, problem, layout):
        from metajax import outer

        return outer.once(outer.displacement(problem, layout), self.meta_optimizer())
