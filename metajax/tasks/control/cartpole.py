"""CartPole with randomised physics."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from metajax.tasks.control.scaled_physics import ScaledPhysics


@dataclasses.dataclass(frozen=True, kw_only=True)
class CartPole(ScaledPhysics):
    """CartPole (Barto et al. 1983) with randomised physics: masses, length, gravity, force.

    gymnax's CartPole-v1. Each task scales gravity, the masses of cart and pole, the length
    of the pole and the force by independent uniform factors; the total mass and the moment
    of the pole follow from these.

    Attributes:
      mirrored: Also draw the sign of the force per task. The two actions then swap in half
        of the tasks, and no policy is good before it has inferred the task.
    """

    env_id: ClassVar[str] = "CartPole-v1"
    name: ClassVar[str] = "cartpole"

    mirrored: bool = False

    def _sample(self, key: Any, default: Any) -> Any:
        import jax

        key_scale, key_sign = jax.random.split(key)
        scale = self._factors(key_scale, 5)
        sign = jax.random.rademacher(key_sign, (), float) if self.mirrored else 1.0
        masscart, masspole = default.masscart * scale[1], default.masspole * scale[2]
        length = default.length * scale[3]
        return default.replace(
            gravity=default.gravity * scale[0],
            masscart=masscart,
            masspole=masspole,
            total_mass=masscart + masspole,
            length=length,
            polemass_length=masspole * length,
            force_mag=default.force_mag * scale[4] * sign,
        )
