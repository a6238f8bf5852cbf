"""Control problems of gymnax with randomised physics."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from metajax.core.options import Above, Below, Count, Options, check

if TYPE_CHECKING:
    import jax

    from metajax.core.family import Key, TaskFamily


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScaledPhysics(Options):
    """Options of families that scale physical constants of a gymnax environment.

    Attributes:
      scale_range: Lowest and highest factor.
      episode_length: Time limit in steps.
    """

    env_id: ClassVar[str]
    name: ClassVar[str]

    scale_range: Annotated[tuple[float, float], Above(0), Below(math.inf)] = (0.5, 1.5)
    episode_length: Count = 200

    def __post_init__(self) -> None:
        super().__post_init__()
        low, high = self.scale_range
        check(low <= high, "scale_range", self.scale_range, "the lower factor first")

    def build(self) -> TaskFamily:
        """The family; ``task.params`` are the ``EnvParams`` of gymnax."""
        from metajax.tasks.adapters.gymnax import default_params, from_gymnax

        default = default_params(self.env_id)
        return from_gymnax(
            self.env_id,
            sample_params=lambda key: self._sample(key, default),
            episode_length=self.episode_length,
            name=self.name,
        )

    def _factors(self, key: Key, count: int) -> jax.Array:
        """Independent uniform factors, ``[count]``."""
        import jax

        low, high = self.scale_range
        return jax.random.uniform(key, (count,), minval=low, maxval=high)

    def _sample(self, key: Key, default: Any) -> Any:
        """Parameters of a new task, from the default parameters."""
        raise NotImplementedError
