"""Reptile over lifetimes of DQN."""

from __future__ import annotations

import dataclasses

from metajax.algorithms.common.optimizers import MetaOptimized, Optimizer, Rate
from metajax.algorithms.q.base import QBased


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReptileDQN(MetaOptimized, QBased):
    """Reptile (Nichol et al. 2018) over DQN lifetimes: initial weights of action values.

    ``theta + learning_rate * mean(weights after a lifetime - theta)``.

    Source: Nichol et al. (2018), "On first-order meta-learning algorithms", algorithm 2,
    with a DQN in the place of a supervised learner.

    Attributes:
      learning_rate: Fraction of the way to the adapted weights in a meta-update.
    """

    learning_rate: Rate = 0.1
    optimizer: Optimizer = "sgd"

    def arithmetic(self, spec):
        return self.lifetime_arithmetic(spec)

    def outer_rule(self, problem, layout):
        from metajax import outer

        return outer.once(outer.displacement(problem, layout), self.meta_optimizer())
