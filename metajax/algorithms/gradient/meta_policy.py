"""An actor and its values that adapt together, from a noisier policy's experience."""

from __future__ import annotations

import dataclasses

from metajax.algorithms.gradient.off_policy_based import OffPolicyBased
from metajax.core.options import check_number


@dataclasses.dataclass(frozen=True, kw_only=True)
class MetaPolicy(OffPolicyBased):
    """The actor of ``meta-value``: initial weights of a policy and of its values.

    In a task the policy acts with random actions among its own; gradient steps on each
    chunk move the values to importance-sampled targets of the policy without the random
    actions, and the policy along the advantages by these targets. Theta descends the same
    two losses on a chunk of query transitions, the advantages in units of reward.

    Source: Finn et al. (2017), algorithm 1, with the actor-critic of Espeholt et al.
    (2018), "IMPALA", inside.

    Attributes:
      head_scale: of the policy's last kernel at the start, relative to Glorot's.
      value_coefficient: weight of half the squared error of the values, inside and outside.
      entropy_coefficient: weight of the policy's entropy inside, nats.
      normalize_advantages: of each chunk inside.
    """

    inner_lr: float = 0.05
    epsilon: float = 0.1
    head_scale: float = 1.0
    value_coefficient: float = 0.5
    entropy_coefficient: float = 0.0
    normalize_advantages: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("head_scale", self.head_scale, above=0)
        for name in ("value_coefficient", "entropy_coefficient"):
            check_number(name, getattr(self, name), minimum=0)

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

    def query_loss(self, outputs, chunk):
        import jax.numpy as jnp

        from metajax import losses
        from metajax.outer.gradient import objectives

        error = losses.masked_mean(jnp.square(outputs.value - chunk.target), chunk.mask)
        policy_loss = objectives.policy_gradient_loss(outputs, chunk)
        return policy_loss + 0.5 * self.value_coefficient * error
