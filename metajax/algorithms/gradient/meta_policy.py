"""An actor and its values that adapt together, from a noisier policy's experience."""

from __future__ import annotations

import dataclasses

from metajax.algorithms.gradient.off_policy_based import OffPolicyBased
from metajax.core.options import Fraction, NonNegative, Positive


@dataclasses.dataclass(frozen=True, kw_only=True)
class MetaPolicy(OffPolicyBased):
    """Off-policy MAML (Finn et al. 2017) of an actor-critic (IMPALA, Espeholt et al. 2018).

    The actor of ``meta-value``: theta are the initial weights of a policy and of its values.
    In a task the policy acts with random actions among its own; gradient steps on each
    chunk move the values to importance-sampled targets of the policy without the random
    actions, and the policy along the advantages by these targets. Theta descends the same
    two losses on a chunk of query transitions, the advantages in units of reward.

    Source: Finn et al. (2017), algorithm 1, with the actor-critic of Espeholt et al.
    (2018), "IMPALA", inside.

    Attributes:
      head_scale: Scale of the policy's last kernel at initialisation, relative to Glorot's.
      value_coefficient: Weight of half the squared error of the values, in the inner and the
        outer loss.
      entropy_coefficient: Weight of the policy's entropy, in nats, in the inner loss.
      normalize_advantages: Whether the inner loss normalises the advantages of each chunk.
    """

    inner_lr: NonNegative = 0.05
    epsilon: Fraction = 0.1
    head_scale: Positive = 1.0
    value_coefficient: NonNegative = 0.5
    entropy_coefficient: NonNegative = 0.0
    normalize_advantages: bool = True

    def learner(self, family):
        from metajax import inner, networks

        return inner.off_policy_actor(
            networks.policy(family.spec, self.torso(), head_scale=self.head_scale),
            self.values(family),
            inner=self.inner_rule(),
            correction=self.inner_correction(),
            epsilon=self.epsilon,
            updates=self.updates,
            value_coefficient=self.value_coefficient,
            entropy_coefficient=self.entropy_coefficient,
            normalize_advantages=self.normalize_advantages,
        )

    def query_loss(self):
        from metajax import losses

        return losses.total_of(
            (1.0, losses.policy_gradient_loss), (self.value_coefficient, losses.value_error)
        )
