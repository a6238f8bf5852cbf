"""UCB1."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from metajax.algorithms.classical.base import BanditMethod
from metajax.core.options import NonNegative


@dataclasses.dataclass(frozen=True, kw_only=True)
class UCB1(BanditMethod):
    """UCB1 (Auer et al. 2002): pulls the arm of the highest upper confidence bound.

    Source: Auer et al. (2002), "Finite-time analysis of the multiarmed bandit problem",
    as in Duan et al. (2016): every arm starts with one success and one failure. Arms may
    pay other sums; then both options are to be told what to expect of them.

    Attributes:
      prior_mean: Payment expected of an arm before any pull, with the weight of two pulls.
      exploration: Factor of the width of the confidence bound: 1 in the theory; Duan et al. try
        0, 0.1, ... 1, for arms that pay 1 or nothing.
    """

    prior_mean: float = 0.5
    exploration: NonNegative = 0.2

    name: ClassVar[str] = "ucb1"
    binary: ClassVar[bool] = False

    def bandit_rule(self, num_arms, spec):
        from metajax.inner.classical import bandit

        del spec
        score = bandit.upper_confidence(self.exploration, self.prior_mean)
        return bandit.bandit_rule(num_arms, score)
