"""Settings of a learner as meta-parameters."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from metajax.algorithms.common.optimizers import MetaOptimized, Rate
from metajax.core.options import Above, Below, Count, Fraction, check, check_number

if TYPE_CHECKING:
    import jax

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


def initial(learned: Iterable[str], starts: Mapping[str, float]) -> dict[str, jax.Array]:
    """Theta at the start: logits and logarithms of the learned settings, float32."""
    import jax.numpy as jnp

    return {name: jnp.asarray(raw(name, starts[name]), jnp.float32) for name in learned}


def check_learned(
    learned: tuple[str, ...], learnable: tuple[str, ...], starts: Mapping[str, float]
) -> None:
    """Raises OptionError for settings that cannot be learned from their values at the start."""
    allowed = f"names among {', '.join(learnable)}, each once"
    each_once = len(set(learned)) == len(learned)
    check(set(learned) <= set(learnable) and each_once, "learned", learned, allowed)
    for name in learned:
        below = (Below(1),) if name in _PROBABILITIES else ()
        check_number(name, starts[name], Above(0), *below)


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
    learning_rate: Rate = 1e-2

    @property
    def schedules(self) -> tuple[str, ...]:
        """Names in ``info`` of the learned settings."""
        return self.learned

    def check_meta(self, starts: Mapping[str, Any], num_adaptations: int) -> None:
        """Raises OptionError for settings and windows that cannot be learned by meta-gradients."""
        check(self.learned, "learned", (), f"names among {', '.join(self.learnable)}")
        check_learned(self.learned, self.learnable, starts)
        allowed = f"fewer than the adaptations of a lifetime ({num_adaptations})"
        check(self.window < num_adaptations, "window", self.window, allowed)


def recorded(
    rule: Outer, record: Callable[[Any, Any], dict[str, Any]] = lambda theta, carry: settings(theta)
) -> Outer:
    """The rule with ``record(theta, carry)`` in its ``info``: a learned setting is a schedule."""

    def update(key, theta, carry):
        theta, carry, info = rule.update(key, theta, carry)
        return theta, carry, {**info, **record(theta, carry)}

    return rule._replace(update=update)
