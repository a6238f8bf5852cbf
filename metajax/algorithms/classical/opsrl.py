"""Optimistic posterior sampling for reinforcement learning."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from metajax.algorithms.classical.base import TabularMethod
from metajax.core.options import check_number


@dataclasses.dataclass(frozen=True, kw_only=True)
class OPSRL(TabularMethod):
    """Draws several models for each episode and takes the best of them at every step.

    Attributes:
      num_samples: draws; Duan et al. (2016) try 1 to 20.
    """

    num_samples: int = 3

    name: ClassVar[str] = "opsrl"
    random: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("num_samples", self.num_samples, minimum=1)

    def backup(self, key, prior, counts):
        import jax

        from metajax.inner.classical.planning import most_hopeful
        from metajax.inner.classical.tabular import sampled_model

        keys = jax.random.split(key, self.num_samples)
        return most_hopeful(jax.vmap(lambda key: sampled_model(key, prior, counts))(keys))
