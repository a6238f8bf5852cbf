"""Model-agnostic meta-learning with exact second-order gradients."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from metajax.algorithms.common.layouts import InPasses
from metajax.algorithms.gradient.base import GradientBased
from metajax.core.options import Count, NonNegative, OptionError, Positive

if TYPE_CHECKING:
    from metajax.core.algorithm import Objective, Outer, Terms
    from metajax.core.arithmetic import LayerProducts
    from metajax.core.family import Family
    from metajax.core.layout import Layout
    from metajax.core.problem import Problem
    from metajax.core.types import Loss


@dataclasses.dataclass(frozen=True, kw_only=True)
class MAML(InPasses, GradientBased):
    """MAML (Finn et al. 2017): initial weights from which a few gradient steps adapt.

    Source: Finn et al. (2017), "Model-agnostic meta-learning for fast adaptation of
    deep networks", algorithm 2 for labelled examples and 3 for environments. Deviations: the
    outer step is a choice, and advantages are normalised within each task.

    Attributes:
      outer: Meta-update: "policy-gradient", one optimiser step on fresh trials; "ppo", several
        passes of the clipped surrogate; or "trpo", the trust region of the paper, which leaves
        the optimiser's options unused.
      surrogate: Inner loss, which decides how sampling enters the meta-gradient: "score" as
        derived by Finn et al.; "lvc" and "dice", with a corrected Hessian of the expected
        update; "emaml", with the credit of the pre-adaptation samples.
      credit: Weight of that credit: "mean" over the samples, as in published code, or the
        "sum" that the derivation gives, which is noise beside the rest of the gradient when an
        adaptation has hundreds of samples.
      every_step: Whether to train for the mean return after 0 to K adaptations, not after the
        last alone.
      remat: Whether to recompute each adaptation in the backward pass, so that memory does not
        grow with ``inner_steps``.
      entropy_coefficient: Weight of the adapted policy's entropy.
      clip: Clipping range of the ratio in "ppo".
      max_divergence: Radius of the trust region of "trpo", KL in nats.
      cg_iterations: Number of conjugate-gradient iterations of "trpo".
      fisher_tasks: Number of tasks on which "trpo" estimates its Fisher matrix. Default: all.
    """

    outer: Literal["policy-gradient", "ppo", "trpo"] = "policy-gradient"
    surrogate: Literal["score", "dice", "lvc", "emaml"] = "score"
    credit: Literal["mean", "sum"] = "mean"
    every_step: bool = False
    remat: bool = False
    entropy_coefficient: NonNegative = 0.0
    clip: Positive = 0.2
    num_minibatches: Count = 1
    max_divergence: Positive = 0.01
    cg_iterations: Count = 10
    fisher_tasks: Count | None = None

    first_order: ClassVar[bool] = False
    acting: ClassVar[tuple[str, ...]] = (
        *GradientBased.acting,
        *("outer", "surrogate", "credit", "entropy_coefficient"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.surrogate == "emaml" and self.outer != "policy-gradient":
            raise OptionError(
                "surrogate", '"emaml" is not possible here; it needs outer "policy-gradient"'
            )
        if self.surrogate == "emaml" and self.every_step:
            raise OptionError(
                "every_step",
                'true is not possible with surrogate "emaml", which credits the samples with '
                "the last return alone; allowed: false",
            )
        if self.baseline == "value" and self.outer == "trpo":
            raise OptionError(
                "baseline",
                '"value" is not possible with outer "trpo", whose step is one of the policy; '
                'allowed: "linear", "none"',
            )

    @property
    def minibatches(self) -> int:
        return self.num_minibatches if self.outer == "ppo" else 1

    def inner_surrogate(self) -> str:
        return self.surrogate

    def outer_products(self, each, updates):
        # A trust region, and terms beside the loss after the last adaptation, are not counted.
        if self.outer == "trpo" or self.surrogate == "emaml" or self.every_step:
            return None
        through = 0 if self.first_order else self.derivative_products(each, updates)
        if self.outer == "policy-gradient":
            return each.gradient + through
        # Each pass adapts again, from other weights.
        return self.num_epochs * (updates * self.inner_products(each) + each.gradient + through)

    def derivative_products(self, each: LayerProducts, updates: int) -> float:
        """Operations a sample of going back through so many gradient steps."""
        return updates * each.second_order

    @property
    def derivative(self) -> str:
        """How the meta-gradient goes through the adaptations."""
        if self.first_order:
            return "first-order"
        return "exact-remat" if self.remat else "exact"

    def outer_rule(self, problem, layout):
        self.check_inner(problem)
        return self.meta_update(self.objective(problem), layout)

    def objective(self, problem: Problem, **changes: Any) -> Objective:
        """The meta-objective; ``changes`` are other arguments of ``post_adaptation``."""
        from metajax import outer

        loss, terms = self.meta_loss(problem.family)
        options = {"derivative": self.derivative, "every_step": self.every_step, **changes}
        objective = outer.post_adaptation(problem, loss, terms=terms, **options)
        if self.surrogate == "emaml":
            mean = self.credit == "mean"
            return outer.with_sampling_credit(objective, problem, self.derivative, mean=mean)
        return objective

    def meta_update(self, objective: Objective, layout: Layout) -> Outer:
        """The rule that improves theta by an objective."""
        from metajax import outer

        if self.outer == "ppo":
            return self.passes(objective, layout)
        if self.outer == "trpo":
            return outer.trust_region(
                objective,
                layout,
                max_divergence=self.max_divergence,
                cg_iterations=self.cg_iterations,
                fisher_tasks=self.fisher_tasks,
            )
        credit = self.surrogate == "emaml"
        estimator = outer.backprop(objective, layout, sampling_credit=credit)
        return outer.once(estimator, self.meta_optimizer())

    def meta_loss(self, family: Family) -> tuple[Loss, Terms]:
        """The loss on the query chunk, and further terms of the meta-objective."""
        from metajax import losses
        from metajax.core.family import DataFamily

        if isinstance(family, DataFamily):
            return losses.prediction_loss(family.spec), {}
        loss = {
            "policy-gradient": losses.policy_gradient_loss,
            "ppo": losses.clipped_loss(self.clip),
            "trpo": losses.ratio_loss,
        }[self.outer]
        if self.baseline == "value":
            loss = losses.total_of((1.0, loss), (1.0, losses.value_error))
        entropy = losses.term(losses.entropy)
        return loss, {"entropy": (-1.0 * self.entropy_coefficient, entropy)}

    def check_inner(self, problem: Problem) -> None:
        """Raises OptionError for an inner rule that has no derivative where it needs one."""
        import jax

        from metajax import inner

        if self.inner is not None and not self.first_order:
            learner = problem.learner
            theta = jax.eval_shape(learner.init, jax.random.key(0))
            fast = jax.eval_shape(learner.begin, jax.random.key(0), theta).fast
            inner.check_differentiable(inner.as_rule(self.inner), theta, fast)
