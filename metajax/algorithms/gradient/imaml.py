"""Implicit MAML: adaptation to a minimum near the initial weights."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Literal

from metajax.algorithms.gradient.maml import MAML
from metajax.core.options import Count, NonNegative, Positive


@dataclasses.dataclass(frozen=True, kw_only=True)
class IMAML(MAML):
    """iMAML (Rajeswaran et al. 2019): MAML with the implicit gradient of a proximal minimum.

    An adaptation descends ``loss + proximal_coefficient / 2 * |weights - theta|^2`` for
    ``updates_per_step`` steps. The meta-gradient takes the weights they end with for the
    minimum, ``(I + Hessian / proximal_coefficient)^-1`` times the gradient there. Its memory
    does not grow with the number of steps, and the inner rule needs no derivative.

    Source: Rajeswaran et al. (2019), "Meta-learning with implicit gradients", algorithms 1 and
    2. The paper is about labelled examples. In an environment the inner objective is a surrogate
    of one chunk, which has a minimum only if the coefficient is large enough.

    Attributes:
      updates_per_step: Number of gradient steps towards the minimum.
      proximal_coefficient: Weight lambda of the proximal term. The smaller it is, the farther
        weights adapt, and the more steps and conjugate-gradient iterations it takes: with too
        few of either the meta-gradient points elsewhere.
      cg_iterations: Number of conjugate-gradient iterations of the meta-gradient.
      cg_damping: Weight added to ``proximal_coefficient`` in the meta-gradient alone. The loss of
        a network has negative curvature; where it exceeds the sum of the two, conjugate gradients
        end early. The larger the damping, the closer the meta-gradient is to FOMAML's. 0 is the
        paper's gradient; the authors' code adds 10.
      outer: Meta-update: "policy-gradient", one optimiser step on fresh trials; or "ppo",
        several passes of the clipped surrogate.
    """

    outer: Literal["policy-gradient", "ppo"] = "policy-gradient"
    surrogate: Literal["score", "dice", "lvc"] = "score"
    inner_lr: NonNegative | tuple[NonNegative, ...] = 0.01
    updates_per_step: Count = 16
    proximal_coefficient: Positive = 2.0
    cg_iterations: Count = 5
    cg_damping: NonNegative = 0.0
    remat: ClassVar[bool] = False  # pyright: ignore[reportIncompatibleVariableOverride]
    max_divergence: ClassVar[None] = None  # pyright: ignore[reportIncompatibleVariableOverride]
    fisher_tasks: ClassVar[None] = None  # pyright: ignore[reportIncompatibleVariableOverride]

    def derivative_products(self, each, updates):
        return self.inner_steps * self.cg_iterations * each.second_order

    def check_inner(self, problem):
        """Any rule will do: none is differentiated."""

    def inner_rule(self):
        from metajax import inner

        return inner.proximal(super().inner_rule(), self.proximal_coefficient)

    def learner(self, family, **changes):
        import jax
        import optax

        from metajax import inner

        learner = super().learner(family, **changes)
        coefficient = self.proximal_coefficient + self.cg_damping
        gradient = inner.proximal(lambda theta: optax.identity(), coefficient)
        single = super().learner(family, **{**changes, "inner": gradient, "updates": 1})

        def slope(theta, fast, data):
            """The step of a learner that adds the gradient."""
            phi = inner.DescentState(fast, gradient(theta).init(fast))
            after = single.adapt(None, theta, phi, data)
            return jax.tree.map(lambda new, old: new - old, after.fast, fast)

        adapt = inner.implicit(learner.adapt, slope, cg_iterations=self.cg_iterations)
        return learner._replace(adapt=adapt)
