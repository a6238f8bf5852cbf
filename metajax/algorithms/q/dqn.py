"""DQN from scratch in every task."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from metajax.algorithms.q.base import QBased


@dataclasses.dataclass(frozen=True, kw_only=True)
class DQN(QBased):
    """DQN (Mnih et al. 2015) from scratch in every task: the baseline of meta-learned ones.

    Nothing is learned across tasks. An iteration of training runs ``num_tasks`` lifetimes and
    reports their returns. Theta is where the weights start in all of them: random, or what
    another algorithm has learned.

    Source: Mnih et al. (2015); double Q-learning as in van Hasselt et al. (2016).

    Attributes:
      fresh_weights: Whether every task starts from random weights of its own instead of theta.
    """

    learns: ClassVar[bool] = False

    fresh_weights: bool = False

    def learner(self, family, replay, **changes):
        values = self.values(family)
        fresh = {"start": lambda key, theta: values.init(key)} if self.fresh_weights else {}
        return super().learner(family, replay, **{**fresh, **changes})

    def arithmetic(self, spec):
        return self.lifetime_arithmetic(spec)

    def outer_rule(self, problem, layout):
        from metajax import outer

        return outer.untrained(problem, layout)
