"""A bonus of posterior standard deviations."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from metajax.algorithms.classical.base import TabularMethod
from metajax.core.options import NonNegative


@dataclasses.dataclass(frozen=True, kw_only=True)
class BayesBonus(TabularMethod):
    """Bayesian bonus: plans in the posterior mean plus standard deviations of the reward.

    The bonus is ``bonus_scale`` posterior standard deviations of the expected reward, an upper
    quantile of it.

    Source: Kaufmann et al. (2012), "On Bayesian upper confidence bounds for bandit problems".
    Deviations: a fixed number of standard deviations, where their quantile rises with time, and
    plans in tabular processes.

    Attributes:
      bonus_scale: Size of the bonus in posterior standard deviations.
    """

    bonus_scale: NonNegative = 0.5

    name: ClassVar[str] = "bayes-bonus"

    def backup(self, key, prior, counts):
        import jax

        from metajax.inner.classical.planning import expected
        from metajax.inner.classical.tabular import mean_model, reward_belief

        del key
        model = mean_model(prior, counts)
        bonus = self.bonus_scale * jax.lax.rsqrt(reward_belief(prior, counts)[1])
        return expected(model._replace(reward=model.reward + bonus))
