"""CartPole with randomised physics."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Annotated

from metajax.core.options import Above, Below, Count, Options, check

if TYPE_CHECKING:
    from metajax.core.types import TaskFamily


@dataclasses.dataclass(frozen=True, kw_only=True)
class CartPole(Options):
    """Options of ``cartpole``.

    gymnax's CartPole-v1 in which every task scales gravity, the masses of cart
    and pole, the pole's length and the force, each by its own uniform factor. The
    total mass and the pole's moment follow from the scaled ones.

    Attributes:
      scale_range: lowest and highest factor.
      mirrored: whether the force's sign is drawn per task too. Then the two
        actions may be swapped, and no policy is good before it has inferred the
        task.
      episode_length: time limit in steps.
    """

    scale_range: Annotated[tuple[float, float], Above(0), Below(math.inf)] = (0.5, 1.5)
    mirrored: bool = False
    episode_length: Count = 200

    def __post_init__(self) -> None:
        super().__post_init__()
        low, high = self.scale_range
        check(low <= high, "scale_range", self.scale_range, "the lower factor first")

    def build(self) -> TaskFamily:
        """The family; ``task.params`` are gymnax's parameters."""
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
