"""CartPole with randomised physics."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Annotated

from metajax.core.options import Above, Below, Count, Options, check

if TYPE_CHECKING:
    from metajax.core.family import TaskFamily


@dataclasses.dataclass(frozen=True, kw_only=True)
class CartPole(Options):
    """CartPole (Barto et al. 1983) with randomised physics: masses, length, gravity, force.

    gymnax's CartPole-v1. Each task scales gravity, the masses of cart and pole, the length
    of the pole and the force by independent uniform factors; the total mass and the moment
    of the pole follow from these.

    Attributes:
      scale_range: Lowest and highest factor.
      mirrored: Also draw the sign of the force per task. The two actions then swap in half
        of the tasks, and no policy is good before it has inferred the task.
      episode_length: Time limit in steps.
    """

    scale_range: Annotated[tuple[float, float], Above(0), Below(math.inf)] = (0.5, 1.5)
    mirrored: bool = False
    episode_length: Count = 200

    def __post_init__(self) -> None:
        super().__post_init__()
        low, high = self.scale_range
        check(low <= high, "scale_range", self.scale_range, "the lower factor first")

    def build(self) -> TaskFamily:
        """The family; ``task.params`` are the ``EnvParams`` of gymnax."""
        import jax

        from metajax.tasks.adapters.gymnax import default_params, from_gymnax

        default = default_params("CartPole-v1")
        low, high = self.scale_range

        def sample_params(key):
            key_scale, key_sign = jax.random.split(key)
            scale = jax.random.uniform(key_scale, (5,), minval=low, maxval=high)
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

        return from_gymnax(
            "CartPole-v1",
            sample_params=sample_params,
            episode_length=self.episode_length,
            name="cartpole",
        )
