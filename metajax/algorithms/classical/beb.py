"""Bayesian exploration bonus."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from metajax.algorithms.classical.base import TabularMethod, Ties
from metajax.core.options import NonNegative


@dataclasses.dataclass(frozen=True, kw_only=True)
class BEB(TabularMethod):
    """BEB (Kolter and Ng 2009): plans in the posterior mean plus a bonus for what was rarely seen.

    The bonus is ``bonus_scale / (1 + n)``, where n counts the visits of a state and action.

    Source: Kolter and Ng (2009), "Near-Bayesian exploration in polynomial time". Deviation: in
    the place of n they have all counts of the Dirichlet belief, those of the prior as well.

    Attributes:
      bonus_scale: Size of the bonus, beta; Duan et al. (2016) try 21 values from 1e-4 to 1.
    """

    bonus_scale: NonNegative = 1.0

    name: ClassVar[str] = "beb"
    usual_ties: ClassVar[Ties] = "first"

    def backup(self, key, prior, counts):
        from metajax.inner.classical.planning import expected
        from metajax.inner.classical.tabular import mean_model

        del key
        model = mean_model(prior, counts)
        bonus = self.bonus_scale / (1 + counts.visits)
        return expected(model._replace(reward=model.reward + bonus))
