"""MAML++: MAML with learned rates, an annealed multi-step loss and an annealed derivative."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from metajax.algorithms.gradient.meta_sgd import MetaSGD
from metajax.core.options import AtLeast, Count

if TYPE_CHECKING:
    import jax


@dataclasses.dataclass(frozen=True, kw_only=True)
class MAMLPlusPlus(MetaSGD):
    """MAML++ (Antoniou et al. 2019): MAML that trains faster and more stably.

    Three changes to MAML. Each array of weights has a learned rate for each gradient step of a
    trial; the last holds for all further steps. The loss is at first the mean over the losses
    after 1 to K adaptations, and its weights move linearly to the last of them. The first
    meta-iterations take gradients of the inner loss for constants, and are cheaper.

    Source: Antoniou et al. (2019), "How to train your MAML", section 4. Deviations: networks
    have no batch normalisation, so there is none for each step; the optimiser's rate falls
    linearly, where it falls at all, and not as a cosine.

    Attributes:
      inner_lr: Initial rate of every array of weights in every step.
      anneal_iterations: Number of meta-iterations after which the last loss alone counts.
      first_order_iterations: Number of meta-iterations of first order at the start.
    """

    surrogate: Literal["score", "dice", "lvc"] = "score"
    inner_steps: Count = 1
    anneal_iterations: Count = 100
    first_order_iterations: Annotated[int, AtLeast(0)] = 50
    every_step: ClassVar[bool] = False  # pyright: ignore[reportIncompatibleVariableOverride]

    def outer_products(self, each, updates):
        # Losses after earlier adaptations are not counted.
        return super().outer_products(each, updates) if self.inner_steps == 1 else None

    def initial_rates(self, weights):
        import jax.numpy as jnp

        return jnp.full(self.inner_steps * self.updates_per_step, self.inner_lr, weights.dtype)

    def inner_rule(self):
        import jax
        import jax.numpy as jnp
        import optax

        from metajax import inner

        def rule(theta):
            def update(updates, state, params=None):
                del params
                rates = jax.tree.map(lambda rates: inner.step_sizes(rates)(state), theta["rates"])
                steps = jax.tree.map(lambda rate, g: -rate * g, rates, updates)
                return steps, state + 1

            return optax.GradientTransformation(lambda params: jnp.zeros((), jnp.int32), update)

        return self.clipped(rule)

    def outer_rule(self, problem, layout):
        import jax

        from metajax import inner, outer

        rule = inner.first_order_rule(self.inner_rule())
        exact, first_order = problem.learner.adapt, self.learner(problem.family, inner=rule).adapt

        def rule_at(iteration):
            early = iteration < self.first_order_iterations

            def adapt(noise, theta, phi, data):
                return jax.lax.cond(early, first_order, exact, noise, theta, phi, data)

            annealed = problem._replace(learner=problem.learner._replace(adapt=adapt))
            objective = self.objective(annealed, every_step=self.loss_weights(iteration))
            return self.meta_update(objective, layout)

        return outer.scheduled(rule_at)

    def loss_weights(self, iteration: jax.Array) -> jax.Array:
        """``[K + 1]``, weights of the losses after 0 to K adaptations."""
        import jax.numpy as jnp

        left = 1 - jnp.minimum(iteration / self.anneal_iterations, 1)
        earlier = jnp.full(self.inner_steps, left / self.inner_steps)
        return jnp.concatenate([jnp.zeros(1), earlier.at[-1].add(1 - left)])
