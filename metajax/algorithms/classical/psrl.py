"""Posterior sampling for reinforcement learning."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from metajax.algorithms.classical.base import TabularMethod


@dataclasses.dataclass(frozen=True, kw_only=True)
class PSRL(TabularMethod):
    """PSRL, posterior sampling (Strens 2000): plans in a model drawn for each episode.

    Source: Strens (2000); Osband et al. (2013), "(More) efficient reinforcement learning
    via posterior sampling".
    """

    name: ClassVar[str] = "psrl"
    random: ClassVar[bool] = True

    def backup(self, key, prior, counts):
        from metajax.inner.classical.planning import expected
        from metajax.inner.classical.tabular import sampled_model

        return expected(sampled_model(key, prior, counts))
