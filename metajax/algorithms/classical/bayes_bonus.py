"""A bonus of posterior standard deviations."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from metajax.algorithms.classical.base import TabularMethod
from metajax.core.options import check_number


@dataclasses.dataclass(frozen=True, kw_only=True)
class BayesBonus(TabularMethod):
    """Acts optimally in the mean of the posterior with a bonus for what is uncertain.

    The bonus is ``bonus_scale`` posterior standard deviations of the expected reward: an
    upper quantile of it, as in Bayes-UCB (Kaufmann et al. 2012).

    Attributes:
      bonus_scale: standard deviations.
    """

    bonus_scale: float = 0.5

    name: ClassVar[str] = "bayes-bonus"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("bonus_scale", self.bonus_scale, minimum=0)

    def backup(self, key, prior, counts):
        import jax

        from metajax.inner.classical.planning import expected
        from metajax.inner.classical.tabular import mean_model, reward_belief

        del key
        model = mean_model(prior, counts)
        bonus = self.bonus_scale * jax.lax.rsqrt(reward_belief(prior, counts)[1])
        return expected(model._replace(reward=model.reward + bonus))
