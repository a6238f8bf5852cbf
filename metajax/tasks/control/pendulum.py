"""Pendulum with randomised physics."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from metajax.tasks.control.scaled_physics import ScaledPhysics


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pendulum(ScaledPhysics):
    """Pendulum swing-up with randomised physics: gravity, mass, length, largest torque.

    gymnax's Pendulum-v1. Each task scales these four by independent uniform factors.
    """

    env_id: ClassVar[str] = "Pendulum-v1"
    name: ClassVar[str] = "pendulum"

    def _sample(self, key: Any, default: Any) -> Any:
        scale = self._factors(key, 4)
        return default.replace(
            g=default.g * scale[0],
            m=default.m * scale[1],
            l=default.l * scale[2],
            max_torque=default.max_torque * scale[3],
        )
