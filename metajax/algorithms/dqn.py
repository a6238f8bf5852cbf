"""DQN from scratch in every task."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from metajax.algorithms.q_based import QBased


@dataclasses.dataclass(frozen=True, kw_only=True)
class DQN(QBased):
    """DQN from random weights in every task: what the meta-learned ones are compared with.

    Nothing is learned across tasks. An iteration of training runs ``num_tasks`` lifetimes and
    reports their returns.

    Source: Mnih et al. (2015); double Q-learning as in van Hasselt et al. (2016).
    """

    learns: ClassVar[bool] = False

    def outer_rule(self, family, learner, source, layout):
        from metajax import outer

        return outer.untrained(
            learner, source, family, layout, num_adaptations=self.num_adaptations
        )
