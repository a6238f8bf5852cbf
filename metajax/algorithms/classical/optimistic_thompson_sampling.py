"""Optimistic Thompson sampling for bandits, as in the RL2 paper."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from metajax.algorithms.classical.thompson_sampling import ThompsonSampling
from metajax.core.options import Count


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimisticThompsonSampling(ThompsonSampling):
    """Optimistic Thompson sampling (Duan et al. 2016): the most probable of several draws.

    A draw has the means of all arms together.

    Source: Duan et al. (2016), appendix; ``metajax.inner.classical.bandit.most_probable_draw`` says
    how their words are read.

    Attributes:
      num_samples: Number of draws; Duan et al. (2016) try 1 to 20.
    """

    num_samples: Count = 10

    name: ClassVar[str] = "optimistic-thompson-sampling"

    def draws(self):
        return self.num_samples
