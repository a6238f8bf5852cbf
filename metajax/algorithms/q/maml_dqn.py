"""MAML through temporal-difference updates."""

from __future__ import annotations

import dataclasses
from typing import Annotated, ClassVar, Literal

from metajax.algorithms.common.layouts import InPasses
from metajax.algorithms.common.optimizers import ADAM_FLOOR
from metajax.algorithms.q.base import QBased
from metajax.core.options import AtLeast, Count, Fraction, NonNegative, Positive


@dataclasses.dataclass(frozen=True, kw_only=True)
class MAMLDQN(InPasses, QBased):
    """MAML (Finn et al. 2017) through Q-learning updates: initial weights of action values.

    A trial collects K chunks of support transitions, with updates from replay after each,
    then a chunk of query transitions. Theta descends the squared temporal-difference error
    of the adapted values on the query, differentiated through every update.

    Source: Finn et al. (2017), algorithm 1, with the loss of Mnih et al. (2015). As in
    Q-learning itself the targets are not differentiated in the loss; through the updates
    before, they are. Being off-policy, the loss may be descended several times on the same
    trials: the replay of the outer side.

    Attributes:
      derivative: Meta-gradient: "exact", of second order; "exact-remat", the same with
        adaptations recomputed in the backward pass; or "first-order", without the Hessian.
      every_step: Whether to train for the mean error after 0 to K adaptations, not after the
        last alone.
    """

    adam_floor: ClassVar[float] = ADAM_FLOOR

    num_tasks: Count = 32
    num_steps: Count = 50
    lifetime: Count = 1000
    updates: Count = 5
    num_points: Count = 1
    batch_size: Count = 128
    buffer_size: Count = 2000
    learning_starts: Annotated[int, AtLeast(0)] = 0
    inner_optimizer: Literal["adam", "sgd", "rmsprop"] = "sgd"
    inner_lr: NonNegative = 0.01
    target_period: Count = 1
    epsilon: tuple[Fraction, Fraction] = (0.2, 0.2)
    derivative: Literal["exact", "exact-remat", "first-order"] = "exact"
    every_step: bool = False
    max_grad_norm: Positive | None = 10.0

    @property
    def minibatches(self) -> int:
        return self.num_minibatches

    def outer_rule(self, problem, layout):
        from metajax import losses, outer

        objective = outer.post_adaptation(
            problem,
            losses.temporal_difference_loss,
            derivative=self.derivative,
            every_step=self.every_step,
        )
        return self.passes(objective, layout)
