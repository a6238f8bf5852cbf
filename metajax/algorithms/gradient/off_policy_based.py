"""Options of algorithms that learn from experience of another policy."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Literal

from metajax.algorithms.common.layouts import InGradientBlocks
from metajax.algorithms.common.lifetimes import LifetimeOptions
from metajax.algorithms.common.optimizers import ADAM_FLOOR, MetaOptimized, inner_optimizer
from metajax.algorithms.common.torsos import WithTorso
from metajax.core.options import Count, Fraction, NonNegative, OptionError, Positive

if TYPE_CHECKING:
    import optax

    from metajax.core.algorithm import MetaAlgorithm
    from metajax.core.family import TaskFamily
    from metajax.core.types import Learner, Loss
    from metajax.inner.q.value_learner import Correction
    from metajax.networks import ValueNetwork


@dataclasses.dataclass(frozen=True, kw_only=True)
class OffPolicyBased(MetaOptimized, WithTorso, InGradientBlocks, LifetimeOptions):
    """Options of every algorithm whose inner targets are corrected for another policy.

    Attributes:
      num_steps: Number of steps T of each environment between two adaptations, the length of
        the longest targets.
      updates: Number of gradient steps on each chunk.
      correction: Kind of targets: "per-decision", importance-sampled returns of states;
        "vtrace", of states; or "retrace", of state-action pairs.
      trace: Lambda of the targets; 0 gives one-step targets.
      clip_rho: Largest importance ratio of a step; "none" for no clipping, without which alone
        per-decision returns are unbiased.
      clip_c: Largest importance ratio with which V-trace and Retrace pass on later steps;
        "none" for no clipping.
      discount: Discount per step.
      epsilon: Probability of a uniformly random action.
      inner_optimizer: Optimiser of the adaptation.
      inner_lr: Step size of the adaptation.
      inner_clip: Largest global norm of an inner gradient; "none" for no clipping.
      derivative: Meta-gradient: "exact", of second order; "exact-remat", the same with
        adaptations recomputed in the backward pass; or "first-order", without the Hessian.
      every_step: Whether to train for the mean loss after 0 to K adaptations, not after the
        last alone.
    """

    num_tasks: Count = 32
    num_steps: Count = 20
    lifetime: Count = 600
    num_points: Count = 1
    updates: Count = 5
    correction: Literal["per-decision", "vtrace", "retrace"] = "vtrace"
    trace: Fraction = 1.0
    clip_rho: Positive | None = 1.0
    clip_c: Positive | None = 1.0
    discount: Fraction = 0.99
    epsilon: Fraction = 0.1
    activation: Literal["relu", "tanh", "elu", "gelu", "silu"] = "tanh"
    inner_optimizer: Literal["adam", "sgd", "rmsprop"] = "sgd"
    inner_lr: NonNegative = 0.01
    inner_clip: Positive | None = 10.0
    derivative: Literal["exact", "exact-remat", "first-order"] = "exact"
    every_step: bool = False
    max_grad_norm: Positive | None = 10.0

    def build(self, family: TaskFamily) -> MetaAlgorithm:
        """The algorithm on a task family; raises OptionError for continuous actions."""
        from metajax import outer
        from metajax.core.family import Discrete

        space = family.spec.action_space
        if not isinstance(space, Discrete):
            allowed = "a family with Discrete actions, one of which is taken at random"
            raise OptionError("family", f"{family.spec.name} has {space}; allowed: {allowed}")
        problem = self.problem(family, self.learner(family))
        objective = outer.post_adaptation(
            problem, self.query_loss(), derivative=self.derivative, every_step=self.every_step
        )
        rule = outer.once(outer.backprop(objective, self.layout()), self.meta_optimizer())
        return self.composed(problem, rule)

    def learner(self, family: TaskFamily) -> Learner:
        """The learner that adapts; each algorithm has its own."""
        raise NotImplementedError

    def query_loss(self) -> Loss:
        """Loss of the adapted learner on query transitions; each algorithm has its own."""
        raise NotImplementedError

    def values(self, family: TaskFamily) -> ValueNetwork:
        """Values of states, or of actions where the correction needs those."""
        from metajax import networks

        make = networks.action_values if self.correction == "retrace" else networks.state_values
        return make(family.spec, self.torso())

    def inner_rule(self) -> optax.GradientTransformation:
        """The optimiser of the adaptation."""
        import optax

        rule = inner_optimizer(
            self.inner_optimizer, max_grad_norm=self.inner_clip, adam_floor=ADAM_FLOOR
        )
        return optax.chain(rule, optax.scale(-1.0 * self.inner_lr))

    def inner_correction(self) -> Correction:
        """The kind of targets."""
        from metajax.inner import Correction

        return Correction(
            name=self.correction,
            discount=self.discount,
            lambda_=self.trace,
            clip_rho=math.inf if self.clip_rho is None else self.clip_rho,
            clip_c=math.inf if self.clip_c is None else self.clip_c,
        )
