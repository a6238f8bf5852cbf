"""What the algorithms have in common that learn from experience of another policy."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any, Literal

from metajax.algorithms.common.lifetimes import Lifetimes
from metajax.algorithms.common.optimizers import ADAM_FLOOR, MetaOptimized, inner_optimizer
from metajax.algorithms.common.torsos import WithTorso
from metajax.core.options import OptionError, check_number

if TYPE_CHECKING:
    import optax

    from metajax.core.algorithm import MetaAlgorithm
    from metajax.core.family import TaskFamily
    from metajax.core.types import Learner
    from metajax.inner.q.value_learner import Correction
    from metajax.networks import ValueNetwork


@dataclasses.dataclass(frozen=True, kw_only=True)
class OffPolicyBased(MetaOptimized, WithTorso, Lifetimes):
    """Options of every algorithm whose inner targets are corrected for another policy.

    Attributes:
      num_steps: T, steps of each between two adaptations: the longest targets.
      updates: gradient steps on each chunk.
      correction: "per-decision" importance-sampled returns and "vtrace" are targets of
        state values, "retrace" of action values.
      trace: lambda of the targets; 0 gives one-step ones.
      clip_rho: largest ratio with which a step counts; none does not clip. Per-decision
        returns are unbiased without it alone.
      clip_c: largest ratio with which V-trace and Retrace pass on later steps, likewise.
      discount: per step.
      epsilon: probability with which a uniformly random action is taken.
      inner_optimizer: of the adaptation.
      inner_lr: its learning rate.
      inner_clip: largest norm of an inner gradient; none for no clipping.
      derivative: "exact" is second order, "first-order" leaves the Hessian out.
      every_step: train for the mean loss after 0..K adaptations, not after the last alone.
      gradient_microbatch: tasks whose meta-gradients are one block; chosen by itself.
    """

    num_tasks: int = 32
    num_steps: int = 20
    lifetime: int = 600
    num_points: int = 1
    updates: int = 5
    correction: Literal["per-decision", "vtrace", "retrace"] = "vtrace"
    trace: float = 1.0
    clip_rho: float | None = 1.0
    clip_c: float | None = 1.0
    discount: float = 0.99
    epsilon: float = 0.1
    activation: Literal["relu", "tanh", "elu", "gelu", "silu"] = "tanh"
    inner_optimizer: Literal["adam", "sgd", "rmsprop"] = "sgd"
    inner_lr: float = 0.01
    inner_clip: float | None = 10.0
    derivative: Literal["exact", "exact-remat", "first-order"] = "exact"
    every_step: bool = False
    max_grad_norm: float | None = 10.0
    gradient_microbatch: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_meta_optimizer()
        self.check_torso()
        for name in ("updates", "gradient_microbatch"):
            check_number(name, getattr(self, name), minimum=1)
        check_number("inner_lr", self.inner_lr, minimum=0)
        for name in ("clip_rho", "clip_c", "inner_clip"):
            check_number(name, getattr(self, name), above=0)
        for name in ("trace", "discount", "epsilon"):
            check_number(name, getattr(self, name), minimum=0, maximum=1)

    def build(self, family: TaskFamily) -> MetaAlgorithm:
        """The algorithm on a task family.

        Raises:
          OptionError: for sizes that do not fit the devices, or continuous actions.
        """
        from metajax import outer
        from metajax.core.family import Discrete
        from metajax.core.layout import TaskMap

        space = family.spec.action_space
        if not isinstance(space, Discrete):
            allowed = "a family with Discrete actions, one of which is taken at random"
            raise OptionError("family", f"{family.spec.name} has {space}; allowed: {allowed}")
        layout = TaskMap.build(
            self.num_tasks, self.microbatch, self.gradient_microbatch, self.devices
        )
        learner = self.learner(family)
        objective = outer.post_adaptation(
            learner,
            self.source(family, learner),
            family,
            num_adaptations=self.num_adaptations,
            loss=self.query_loss,
            derivative=self.derivative,
            every_step=self.every_step,
        )
        rule = outer.once(outer.backprop(objective, layout), self.meta_optimizer())
        return self.composed(learner, rule, family)

    def learner(self, family: TaskFamily) -> Learner:
        """What adapts; each algorithm has its own."""
        raise NotImplementedError

    def query_loss(self, outputs: Any, chunk: Any) -> Any:
        """Of the adapted learner on query transitions, ``(Outputs, Chunk) -> scalar``."""
        raise NotImplementedError

    def values(self, family: TaskFamily) -> ValueNetwork:
        """Of states, or of actions where the correction needs those."""
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
        """How targets are made."""
        from metajax.inner import Correction

        return Correction(
            name=self.correction,
            discount=self.discount,
            lambda_=self.trace,
            clip_rho=math.inf if self.clip_rho is None else self.clip_rho,
            clip_c=math.inf if self.clip_c is None else self.clip_c,
        )
