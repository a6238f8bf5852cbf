"""Options of algorithms whose learner is an actor-critic."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

from metajax.algorithms.common.lifetimes import LifetimeOptions
from metajax.algorithms.common.optimizers import ADAM_FLOOR, inner_optimizer
from metajax.algorithms.common.torsos import WithTorso
from metajax.core.options import Count, Fraction, NonNegative, Positive

if TYPE_CHECKING:
    from metajax.core.family import TaskFamily
    from metajax.core.types import Learner
    from metajax.inner import ActorCriticSettings
    from metajax.networks import Policy


@dataclasses.dataclass(frozen=True, kw_only=True)
class ActorCriticBased(WithTorso, LifetimeOptions):
    """Options of every algorithm whose learner adapts by advantage actor-critic (A2C).

    Attributes:
      network: Flax module from observations ``[B, O]`` to features ``[B, F]``, one for the policy
        and one for the value, used instead of the MLP (Python only).
      inner_optimizer: Optimiser of the weights.
      inner_lr: Step size of the weights' optimiser.
      inner_clip: Largest global norm of a gradient of the weights; "none" for no clipping.
      discount: Discount per step.
      gae_lambda: Lambda of the advantages and of the targets of the value.
      value_coefficient: Weight of half the squared error of the value.
      entropy_coefficient: Weight of the policy's entropy, in nats.
    """

    num_tasks: Count = 16
    num_streams: Count = 8
    num_steps: Count = 20
    lifetime: Count = 64_000
    activation: Literal["relu", "tanh", "elu", "gelu", "silu"] = "tanh"
    inner_optimizer: Literal["adam", "sgd", "rmsprop"] = "rmsprop"
    inner_lr: NonNegative = 1e-3
    inner_clip: Positive | None = None
    discount: Fraction = 0.99
    gae_lambda: Fraction = 0.95
    value_coefficient: NonNegative = 0.5
    entropy_coefficient: NonNegative = 0.01

    def policy(self, family: TaskFamily) -> Policy:
        """The policy and its value function."""
        from metajax import networks

        return networks.policy(family.spec, self.torso(), value_network=self.torso())

    def learner(self, family: TaskFamily, **changes: Any) -> Learner:
        """The actor-critic of these options, from random weights in every task.

        Args:
          family: The task family.
          **changes: Other arguments of ``metajax.inner.actor_critic_learner``.
        """
        from metajax import inner

        policy = self.policy(family)
        arguments = {
            "optimizer": self.inner_rule(),
            "settings": self.settings,
            "start": lambda key, theta: policy.init(key),
        }
        return inner.actor_critic_learner(policy, **{**arguments, **changes})

    def inner_rule(self) -> Any:
        """The optimiser of the weights, without its learning rate."""
        return inner_optimizer(
            self.inner_optimizer, max_grad_norm=self.inner_clip, adam_floor=ADAM_FLOOR
        )

    def settings(self, theta: Any) -> ActorCriticSettings:
        """The numbers of actor-critic."""
        from metajax.inner import ActorCriticSettings

        del theta
        return ActorCriticSettings(
            self.inner_lr,
            self.discount,
            self.gae_lambda,
            self.value_coefficient,
            self.entropy_coefficient,
        )
