"""Optimisers from the options that algorithms share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import optax

ADAM_FLOOR = 1e-8
"""Of the optimisers that a meta-gradient goes through."""


def meta_optimizer(
    name: str,
    learning_rate: Any,
    *,
    decay_iterations: int | None = None,
    updates_per_iteration: int = 1,
    max_grad_norm: Any = None,
) -> optax.GradientTransformation:
    """An optax transformation.

    Args:
      name: "adam", "sgd" or "rmsprop".
      learning_rate: at the start.
      decay_iterations: meta-iterations over which it falls linearly to 0, or None.
      updates_per_iteration: optimiser steps of a meta-iteration.
      max_grad_norm: clips the gradient before; None for no clipping.
    """
    import optax

    makers = {"adam": optax.adam, "sgd": optax.sgd, "rmsprop": optax.rmsprop}
    rate = learning_rate
    if decay_iterations is not None:
        rate = optax.linear_schedule(rate, 0.0, decay_iterations * updates_per_iteration)
    rule = makers[name](rate)
    if max_grad_norm is not None:
        rule = optax.chain(optax.clip_by_global_norm(max_grad_norm), rule)
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
