"""Optimisers from the options that algorithms share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal

from metajax.core.options import (
    Count,
    NonNegative,
    OptionError,
    Options,
    OrObject,
    Positive,
)

if TYPE_CHECKING:
    import optax

ADAM_FLOOR = 1e-8
"""Of the optimisers that a meta-gradient goes through."""


if TYPE_CHECKING:
    Rate = float | Callable[[Any], Any]
    Optimizer = Literal["adam", "sgd", "rmsprop"] | optax.GradientTransformation
else:
    Rate = Annotated[
        NonNegative, OrObject("a schedule: a function of the meta-iteration", callable)
    ]
    Optimizer = Annotated[
        Literal["adam", "sgd", "rmsprop"],
        OrObject(
            "an optax.GradientTransformation",
            lambda value: hasattr(value, "init") and hasattr(value, "update"),
        ),
    ]


@dataclasses.dataclass(frozen=True, kw_only=True)
class MetaOptimized(Options):
    """Options of every algorithm whose meta-update is a step of an optimiser.

    Attributes:
      learning_rate: Step size of the meta-update. From Python also a schedule of optax, of the
        meta-iteration.
      decay_iterations: Number of meta-iterations over which the learning rate falls linearly
        to 0. Default: a constant learning rate.
      optimizer: Optimiser of the meta-update. From Python also a transformation of optax, with
        its own step size in place of ``learning_rate``.
      max_grad_norm: Largest global norm of the meta-gradient; "none" for no clipping.
    """

    learning_rate: Rate = 1e-3
    decay_iterations: Count | None = None
    optimizer: Optimizer = "adam"
    max_grad_norm: Positive | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        own = [] if isinstance(self.optimizer, str) else ["learning_rate", "decay_iterations"]
        own += ["decay_iterations"] if callable(self.learning_rate) else []
        for field in dataclasses.fields(self):
            value, unset = getattr(self, field.name), field.default
            if field.name in own and (type(value) is not type(unset) or value != unset):
                problem = "is set; leave it out beside a schedule or an optimizer of optax"
                raise OptionError(field.name, problem)

    def meta_optimizer(self, updates_per_iteration: int = 1) -> optax.GradientTransformation:
        """The optimiser of the meta-update, which takes so many steps an iteration."""
        import optax

        makers = {"adam": optax.adam, "sgd": optax.sgd, "rmsprop": optax.rmsprop}
        rule, rate = self.optimizer, self.learning_rate
        if callable(rate):
            schedule: Any = rate
            rate = lambda count: schedule(count // updates_per_iteration)  # noqa: E731
        elif self.decay_iterations is not None:
            num_updates = self.decay_iterations * updates_per_iteration
            rate = optax.linear_schedule(rate, 0.0, num_updates)
        if isinstance(rule, str):
            rule = makers[rule](rate)
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
