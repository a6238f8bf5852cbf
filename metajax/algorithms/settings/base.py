"""Settings of a learner as meta-parameters."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from metajax.algorithms.common.optimizers import MetaOptimized
from metajax.core.options import Above, Below, Count, Fraction, NonNegative, check, check_number

if TYPE_CHECKING:
    from metajax.core.algorithm import Outer

# Learned by their logits; all other settings are positive and learned by their logarithms.
_PROBABILITIES = ("discount", "gae_lambda", "epsilon", "mix", "target_rate")


def raw(name: str, value: float) -> float:
    """The logit or logarithm of a setting: the inverse of ``setting``."""
    return math.log(value / (1 - value)) if name in _PROBABILITIES else math.log(value)


def setting(name: str, raw: Any) -> Any:
    """The setting of a logit (by the sigmoid) or of a logarithm (by the exponential)."""
    import jax
    import jax.numpy as jnp

    return jax.nn.sigmoid(raw) if name in _PROBABILITIES else jnp.exp(raw)


def settings(theta: Mapping[str, Any]) -> dict[str, Any]:
    """All settings of a theta of logits and logarithms, by name."""
    return {name: setting(name, value) for name, value in theta.items()}


@dataclasses.dataclass(frozen=True, kw_only=True)
class MetaGradients(MetaOptimized):
    """Options of algorithms that learn settings online.

    Attributes:
      learned: Names of the learned settings, each of which starts from its option's value. The
        other settings stay at theirs.
      window: Number of adaptations that a meta-gradient goes through.
      derivative: Meta-gradient: "exact", or "exact-remat", the same with adaptations recomputed
        in the backward pass, so that memory does not grow with ``window``.
      reference_discount: Discount per step of the loss that settings are learned for.
      learning_rate: Step size of the meta-update, in logits and logarithms of the settings.
    """

    learnable: ClassVar[tuple[str, ...]] = ()

    learned: tuple[str, ...] = ()
    window: Count = 4
    derivative: Literal["exact", "exact-remat"] = "exact"
    reference_discount: Fraction = 0.99
    learning_rate: NonNegative = 1e-2

    @property
    def schedules(self) -> tuple[str, ...]:
        """Names in ``info`` of the learned settings."""
        return self.learned

    def check_meta(self, starts: Mapping[str, Any], num_adaptations: int) -> None:
        """Raises OptionError for settings that cannot be learned from their values at the start."""
        allowed = f"names among {', '.join(self.learnable)}, each once"
        known = set(self.learned) <= set(self.learnable)
        once = len(set(self.learned)) == len(self.learned) > 0
        check(known and once, "learned", self.learned, allowed)
        for name in self.learned:
            below = (Below(1),) if name in _PROBABILITIES else ()
            check_number(name, starts[name], Above(0), *below)
        allowed = f"fewer than the adaptations of a lifetime ({num_adaptations})"
        check(self.window < num_adaptations, "window", self.window, allowed)


def recorded(rule: Outer, record: Callable[[Any], dict[str, Any]] = settings) -> Outer:
    """The rule with ``record(theta)`` in its ``info``, where a learned setting is a schedule."""

    def update(key, theta, carry):
        theta, carry, info = rule.update(key, theta, carry)
        return theta, carry, {**info, **record(theta)}

    return rule._replace(update=update)
