"""Thompson sampling for bandits."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from metajax.algorithms.classical.base import BanditMethod


@dataclasses.dataclass(frozen=True, kw_only=True)
class ThompsonSampling(BanditMethod):
    """Thompson sampling (Thompson 1933): pulls the best arm of a draw from the posterior.

    A draw has the means of all arms.

    Source: Thompson (1933); Chapelle and Li (2011), "An empirical evaluation of Thompson
    sampling".
    """

    name: ClassVar[str] = "thompson-sampling"

    def draws(self) -> int:
        """How many draws the most probable one is chosen from."""
        return 1

    def bandit_rule(self, num_arms, spec):
        from metajax.inner.classical import bandit

        rule = bandit.most_probable_draw(num_arms, self.draws(), num_pulls=self.num_pulls(spec))
        return bandit.bandit_rule(num_arms, *rule)
