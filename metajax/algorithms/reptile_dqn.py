"""Reptile over lifetimes of DQN."""

from __future__ import annotations

import dataclasses
from typing import Literal

from metajax.algorithms.optimizers import meta_optimizer
from metajax.algorithms.q_based import QBased
from metajax.options import check_number


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReptileDQN(QBased):
    """Initial action values that a real DQN lifetime starts from, by Reptile.

    ``theta + learning_rate * mean(weights after a lifetime - theta)``.

    Source: Nichol et al. (2018), "On first-order meta-learning algorithms", algorithm 2,
    with a DQN in the place of a supervised learner.

    Attributes:
      learning_rate: the fraction of the way to the adapted weights.
      decay_iterations: meta-iterations over which it falls linearly to 0; none keeps it.
      optimizer: of the meta-update.
    """

    learning_rate: float = 0.1
    decay_iterations: int | None = None
    optimizer: Literal["adam", "sgd", "rmsprop"] = "sgd"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("learning_rate", self.learning_rate, minimum=0)
        check_number("decay_iterations", self.decay_iterations, minimum=1)

    def outer_rule(self, family, learner, source, layout):
        from metajax import outer

        estimator = outer.displacement(
            learner, source, family, layout, num_adaptations=self.num_adaptations
        )
        rule = meta_optimizer(
            self.optimizer, self.learning_rate, decay_iterations=self.decay_iterations
        )
        return outer.once(estimator, rule)
