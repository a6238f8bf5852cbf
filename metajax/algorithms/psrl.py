"""Posterior sampling for reinforcement learning."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from metajax.algorithms.classical import TabularMethod


@dataclasses.dataclass(frozen=True, kw_only=True)
class PSRL(TabularMethod):
    """Draws a model from the posterior for each episode and acts optimally in it.

    Source: Strens (2000); Osband et al. (2013), "(More) efficient reinforcement learning
    via posterior sampling".
    """

    name: ClassVar[str] = "psrl"
    random: ClassVar[bool] = True

    def backup(self, key, prior, counts):
        from metajax.inner.planning import expected
        from metajax.inner.tabular import sampled_model

        return expected(sampled_model(key, prior, counts))
