"""MAML through temporal-difference updates."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Literal

from metajax.algorithms.common.optimizers import ADAM_FLOOR, MetaOptimized
from metajax.algorithms.q.base import QBased
from metajax.core.options import check_number


@dataclasses.dataclass(frozen=True, kw_only=True)
class MAMLDQN(MetaOptimized, QBased):
    """Initial action values that a few Q-learning updates adapt, by gradients through those.

    A trial collects K chunks of support transitions, with updates from replay after each,
    then a chunk of query transitions. Theta descends the squared temporal-difference error
    of the adapted values on the query, differentiated through every update.

    Source: Finn et al. (2017), algorithm 1, with the loss of Mnih et al. (2015). As in
    Q-learning itself the targets are not differentiated in the loss; through the updates
    before, they are. Being off-policy, the loss may be descended several times on the same
    trials: the replay of the outer side.

    Attributes:
      derivative: "exact" is second order, "first-order" leaves the Hessian out.
      every_step: train for the mean error after 0..K adaptations, not after the last alone.
      num_epochs, num_minibatches: passes over the trials, and meta-updates in each.
    """

    adam_floor: ClassVar[float] = ADAM_FLOOR

    num_tasks: int = 32
    num_steps: int = 50
    lifetime: int = 1000
    updates: int = 5
    num_points: int = 1
    batch_size: int = 128
    buffer_size: int = 2000
    learning_starts: int = 0
    inner_optimizer: Literal["adam", "sgd", "rmsprop"] = "sgd"
    inner_lr: float = 0.01
    target_period: int = 1
    epsilon: tuple[float, float] = (0.2, 0.2)
    derivative: Literal["exact", "exact-remat", "first-order"] = "exact"
    every_step: bool = False
    num_epochs: int = 4
    num_minibatches: int = 4
    max_grad_norm: float | None = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_meta_optimizer()
        for name in ("num_epochs", "num_minibatches"):
            check_number(name, getattr(self, name), minimum=1)

    @property
    def minibatches(self) -> int:
        return self.num_minibatches

    def outer_rule(self, family, learner, source, layout):
        from metajax import outer
        from metajax.outer.gradient import objectives

        objective = outer.post_adaptation(
            learner,
            source,
            family,
            num_adaptations=self.num_adaptations,
            loss=objectives.temporal_difference_loss,
            derivative=self.derivative,
            every_step=self.every_step,
        )
        return outer.epochs(
            objective,
            self.meta_optimizer(self.num_epochs * self.num_minibatches),
            layout,
            num_epochs=self.num_epochs,
            num_minibatches=self.num_minibatches,
        )
