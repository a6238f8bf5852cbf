"""Behaviour cloning from scratch."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from metajax.algorithms.imitation.base import FromDemonstrations
from metajax.core.options import Count, NonNegative

if TYPE_CHECKING:
    from metajax.core.algorithm import MetaAlgorithm
    from metajax.core.family import TaskFamily


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cloning(FromDemonstrations):
    """Behaviour cloning of each task's demonstrations alone, from random initial weights.

    One adaptation is many steps of Adam on minus the log-probability of the demonstrated
    actions. Nothing is learned across tasks; ``metajax.train`` leaves the weights as they are
    and reports returns of fresh tasks.

    Source: Pomerleau (1991), "Efficient training of artificial neural networks for autonomous
    navigation".

    Attributes:
      num_tasks: Number of fresh tasks N that an iteration of ``train`` reports on.
      inner_lr: Step size of Adam.
      updates_per_step: Number of gradient steps on the demonstrations.
    """

    num_tasks: Count = 32
    inner_lr: NonNegative = 0.01
    updates_per_step: Count = 200

    learns: ClassVar[bool] = False

    def build(self, family: TaskFamily) -> MetaAlgorithm:
        """The algorithm on a family with an oracle; raises OptionError for another one."""
        import optax

        from metajax import inner, losses, networks, outer
        from metajax.composition import compose

        policy = networks.policy(
            family.spec, self.torso(), initial_std=self.initial_std, min_std=self.min_std
        )
        learner = inner.descent(
            policy.init,
            inner.policy_outputs(policy),
            losses.term(losses.cloning_loss),
            inner.as_rule(optax.adam(self.inner_lr)),
            updates=self.updates_per_step,
            actor=lambda weights_of: inner.policy_actor(policy, weights_of),
        )
        problem = self.problem(family, learner)
        return compose(problem, outer.untrained(problem, self.layout()), microbatch=self.microbatch)
