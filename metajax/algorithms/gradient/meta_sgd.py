"""Meta-SGD: MAML with a learned rate for every weight."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from metajax.algorithms.gradient.maml import MAML
from metajax.core.options import NonNegative

if TYPE_CHECKING:
    import jax


@dataclasses.dataclass(frozen=True, kw_only=True)
class MetaSGD(MAML):
    """Meta-SGD (Li et al. 2017): initial weights, and the rate of each, learned together.

    Theta has the entries "weights" and "rates", of the same structure. An adaptation takes the
    steps ``-rates * gradient``; a rate may become negative.

    Source: Li et al. (2017), "Meta-SGD: learning to learn quickly for few-shot learning",
    equation 2 and algorithm 2. Deviation: all rates start at ``inner_lr``, where the paper
    draws them at random, so that the first meta-iteration is that of MAML.

    Attributes:
      inner_lr: Initial rate of every weight.
    """

    inner_lr: NonNegative = 0.1
    inner: ClassVar[None] = None  # pyright: ignore[reportIncompatibleVariableOverride]

    def inner_rule(self):
        import jax
        import optax

        def rule(theta):
            def steps(gradients, _):
                return jax.tree.map(lambda rate, g: -rate * g, theta["rates"], gradients)

            return optax.stateless(steps)

        return self.clipped(rule)

    def initial_rates(self, weights: jax.Array) -> jax.Array:
        """The rates of one array of weights."""
        import jax.numpy as jnp

        return jnp.full_like(weights, self.inner_lr)

    def learner(self, family, **changes):
        import jax

        from metajax import inner

        model = self.model(family)

        def init(key):
            weights = model.init(key)
            return {"weights": weights, "rates": jax.tree.map(self.initial_rates, weights)}

        return super().learner(family, init=init, partition=inner.part("weights"), **changes)
