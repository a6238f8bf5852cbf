"""Optimistic Thompson sampling for bandits, as in the RL2 paper."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from metajax.algorithms.classical.thompson_sampling import ThompsonSampling
from metajax.core.options import check_number


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimisticThompsonSampling(ThompsonSampling):
    """Thompson sampling with the most probable of several draws of all means together.

    Source: Duan et al. (2016), appendix; ``metajax.inner.classical.bandit.most_probable_draw`` says
    how their words are read.

    Attributes:
      num_samples: draws; they try 1 to 20.
    """

    num_samples: int = 10

    name: ClassVar[str] = "optimistic-thompson-sampling"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("num_samples", self.num_samples, minimum=1)

    def draws(self):
        return self.num_samples
