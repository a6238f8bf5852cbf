"""Actor-critic from scratch in every task."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from metajax.algorithms.actor_critic.base import ActorCriticBased


@dataclasses.dataclass(frozen=True, kw_only=True)
class ActorCritic(ActorCriticBased):
    """Actor-critic (A2C) from scratch in every task: the baseline of meta-learned ones.

    Nothing is learned across tasks. An iteration of training runs ``num_tasks`` lifetimes, each
    from random weights of its own, and reports their returns.

    Source: Mnih et al. (2016), "Asynchronous methods for deep reinforcement learning", in the
    synchronous form.
    """

    learns: ClassVar[bool] = False

    def build(self, family):
        """The algorithm on a task family; raises OptionError for sizes that do not fit."""
        from metajax import outer

        learner = self.learner(family, init=lambda key: ())
        problem = self.problem(family, learner)
        return self.composed(problem, outer.untrained(problem, self.layout()))
