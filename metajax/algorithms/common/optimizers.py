"""Optimisers from the options that algorithms share."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

from metajax.core.options import Count, NonNegative, Options, Positive

if TYPE_CHECKING:
    import optax

ADAM_FLOOR = 1e-8
"""Of the optimisers that a meta-gradient goes through."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MetaOptimized(Options):
    """Options of every algorithm whose meta-update is a step of an optimiser.

    Attributes:
      learning_rate: Step size of the meta-update.
      decay_iterations: Number of meta-iterations over which the learning rate falls linearly
        to 0. Default: a constant learning rate.
      optimizer: Optimiser of the meta-update.
      max_grad_norm: Largest global norm of the meta-gradient; "none" for no clipping.
    """

    learning_rate: NonNegative = 1e-3
    decay_iterations: Count | None = None
    optimizer: Literal["adam", "sgd", "rmsprop"] = "adam"
    max_grad_norm: Positive | None = None

    def meta_optimizer(self, updates_per_iteration: int = 1) -> optax.GradientTransformation:
        """The optimiser of the meta-update, which takes so many steps an iteration."""
        import optax

        makers = {"adam": optax.adam, "sgd": optax.sgd, "rmsprop": optax.rmsprop}
        rate: Any = self.learning_rate
        if self.decay_iterations is not None:
            num_updates = self.decay_iterations * updates_per_iteration
            rate = optax.linear_schedule(rate, 0.0, num_updates)
        rule = makers[self.optimizer](rate)
        if self.max_grad_norm is not None:
            rule = optax.chain(optax.clip_by_global_norm(self.max_grad_norm), rule)
        return rule


def inner_optimizer(
    name: str, *, max_grad_norm: Any = None, adam_floor: float = 0.0
) -> optax.GradientTransformation:
    """An optax transformation without its learning rate.

    Args:
      name: "adam", "sgd" or "rmsprop".
      max_grad_norm: clips the gradient before; None for no clipping.
      adam_floor: under the square root of Adam. Without it Adam has no derivative where a
        gradient is zero, as that of a rectifier which is off, and a steep one close by:
        what differentiates through Adam needs one.
    """
    import optax

    from metajax import inner

    makers = {
        "adam": lambda: optax.scale_by_adam(eps_root=adam_floor),
        "sgd": optax.identity,
        "rmsprop": optax.scale_by_rms,
    }
    rule = makers[name]()
    if max_grad_norm is None:
        return rule
    return optax.chain(inner.clip_by_global_norm(max_grad_norm), rule)
