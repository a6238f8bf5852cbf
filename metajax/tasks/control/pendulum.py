"""Pendulum with randomised physics."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Annotated

from metajax.core.options import Above, Below, Count, Options, check

if TYPE_CHECKING:
    from metajax.core.family import TaskFamily


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pendulum(Options):
    """Pendulum swing-up with randomised physics: gravity, mass, length, largest torque.

    gymnax's Pendulum-v1. Each task scales these four by independent uniform factors.

    Attributes:
      scale_range: Lowest and highest factor.
      episode_length: Time limit in steps.
    """

    scale_range: Annotated[tuple[float, float], Above(0), Below(math.inf)] = (0.5, 1.5)
    episode_length: Count = 200

    def __post_init__(self) -> None:
        super().__post_init__()
        low, high = self.scale_range
        check(low <= high, "scale_range", self.scale_range, "the lower factor first")

    def build(self) -> TaskFamily:
        """The family; ``task.params`` are the ``EnvParams`` of gymnax."""
        import jax

        from metajax.tasks.adapters.gymnax import default_params, from_gymnax

        default = default_params("Pendulum-v1")
        low, high = self.scale_range

        def sample_params(key):
            scale = jax.random.uniform(key, (4,), minval=low, maxval=high)
            return default.replace(
                g=default.g * scale[0],
                m=default.m * scale[1],
                l=default.l * scale[2],
                max_torque=default.max_torque * scale[3],
            )

        return from_gymnax(
            "Pendulum-v1",
            sample_params=sample_params,
            episode_length=self.episode_length,
            name="pendulum",
        )
