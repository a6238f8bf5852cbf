"""Actor-critic from scratch in every task."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from metajax.algorithms.common.lifetimes import LifetimeOptions
from metajax.algorithms.common.optimizers import ADAM_FLOOR, inner_optimizer
from metajax.algorithms.common.torsos import WithTorso
from metajax.core.options import Count, Fraction, NonNegative, Positive

if TYPE_CHECKING:
    from metajax.core.algorithm import MetaAlgorithm
    from metajax.core.family import TaskFamily
    from metajax.core.types import Learner
    from metajax.inner.actor_critic import ActorCriticSettings


@dataclasses.dataclass(frozen=True, kw_only=True)
class ActorCriticOptions(WithTorso, LifetimeOptions):
    """Options of every advantage actor-critic whose trials are lifetimes.

    Attributes:
      num_tasks: Number of lifetimes N that go on side by side.
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

    settable: ClassVar[tuple[str, ...]] = (
        *("inner_lr", "discount", "gae_lambda"),
        *("value_coefficient", "entropy_coefficient"),
    )

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

    def starts(self) -> dict[str, Any]:
        """The settings of the options, by name."""
        return {name: getattr(self, name) for name in self.settable}

    def learner(
        self, family: TaskFamily, now: Callable[[Any], ActorCriticSettings], **changes: Any
    ) -> Learner:
        """The actor-critic of these options with settings of its own, ``theta -> settings``.

        ``changes`` are further arguments of ``metajax.inner.actor_critic_learner``.
        """
        from metajax import inner, networks

        policy = networks.policy(family.spec, self.torso(), value_network=self.torso())
        return inner.actor_critic_learner(
            policy,
            optimizer=inner_optimizer(
                self.inner_optimizer, max_grad_norm=self.inner_clip, adam_floor=ADAM_FLOOR
            ),
            settings=now,
            **{"start": lambda key, theta: policy.init(key), **changes},
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ActorCritic(ActorCriticOptions):
    """Advantage actor-critic (Mnih et al. 2016) from scratch in every task: a baseline.

    Nothing is learned across tasks. An iteration of training runs ``num_tasks`` lifetimes, each
    from random weights of its own, and reports their returns. Theta is empty.

    Source: Mnih et al. (2016), "Asynchronous methods for deep reinforcement learning", in the
    synchronous form (A2C).
    """

    learns: ClassVar[bool] = False

    def build(self, family: TaskFamily) -> MetaAlgorithm:
        """The algorithm on a task family; raises OptionError for sizes that do not fit."""
        from metajax import inner, outer

        numbers = self.starts()
        now = inner.ActorCriticSettings(learning_rate=numbers.pop("inner_lr"), **numbers)
        learner = self.learner(family, lambda theta: now, init=lambda key: ())
        problem = self.problem(family, learner)
        return self.composed(problem, outer.untrained(problem, self.layout()))
