"""UCB1."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from metajax.algorithms.classical.base import BanditMethod
from metajax.core.options import check_number


@dataclasses.dataclass(frozen=True, kw_only=True)
class UCB1(BanditMethod):
    """Pulls the arm of the highest upper confidence bound of its mean.

    Source: Auer et al. (2002), "Finite-time analysis of the multiarmed bandit problem",
    as in Duan et al. (2016): every arm starts with one success and one failure. Arms may
    pay other sums; then both options are to be told what to expect of them.

    Attributes:
      prior_mean: what an arm is expected to pay, with the weight of two pulls.
      exploration: factor of the width of the bound; the theory has 1 and Duan et al. try
        0, 0.1, ... 1, for arms that pay 1 or nothing.
    """

    prior_mean: float = 0.5
    exploration: float = 0.2

    name: ClassVar[str] = "ucb1"
    binary: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("exploration", self.exploration, minimum=0)

    def bandit_rule(self, num_arms, spec):
        from metajax.inner.classical import bandit

        del spec
        score = bandit.upper_confidence(self.exploration, self.prior_mean)
        return bandit.bandit_rule(num_arms, score)
