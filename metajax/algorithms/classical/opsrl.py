"""Optimistic posterior sampling for reinforcement learning."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from metajax.algorithms.classical.base import TabularMethod
from metajax.core.options import Count


@dataclasses.dataclass(frozen=True, kw_only=True)
class OPSRL(TabularMethod):
    """OPSRL, optimistic PSRL: plans in the best of several sampled models at every step.

    The models are drawn from the posterior for each episode.

    Source: as in Duan et al. (2016), one of whose baselines it is.

    Attributes:
      num_samples: Number of models drawn; Duan et al. (2016) try 1 to 20.
    """

    num_samples: Count = 3

    name: ClassVar[str] = "opsrl"
    random: ClassVar[bool] = True

    def backup(self, key, prior, counts):
        import jax

        from metajax.inner.classical.planning import most_hopeful
        from metajax.inner.classical.tabular import sampled_model

        keys = jax.random.split(key, self.num_samples)
        return most_hopeful(jax.vmap(lambda key: sampled_model(key, prior, counts))(keys))
