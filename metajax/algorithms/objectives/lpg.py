"""Learned policy gradient."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

from metajax.algorithms.common.layouts import InGradientBlocks
from metajax.algorithms.common.lifetimes import LifetimeOptions
from metajax.algorithms.common.optimizers import ADAM_FLOOR, MetaOptimized, Rate, inner_optimizer
from metajax.algorithms.common.torsos import WithTorso
from metajax.core.options import Count, Fraction, NonNegative, Positive, check

if TYPE_CHECKING:
    from metajax.core.algorithm import MetaAlgorithm
    from metajax.core.family import TaskFamily
    from metajax.core.types import Learner


@dataclasses.dataclass(frozen=True, kw_only=True)
class LPG(MetaOptimized, WithTorso, InGradientBlocks, LifetimeOptions):
    """Learned policy gradient (Oh et al. 2020): the objective of an agent is itself learned.

    Theta are the weights of an LSTM that reads the experience of an agent from its end to its
    start and says how much more probable each action should become and what the agent should
    predict in each state. What predictions mean is up to it. Phi is an agent: policy,
    predictions, and a value that only the meta-objective reads. A meta-iteration lets
    ``num_tasks`` agents go on by ``window`` updates and follows the policy gradient on the next
    chunk through them, plus regularisers. An agent that has reached the end of its lifetime gives
    way to a new one in a new task. A trial is the lifetime of a new agent.

    Source: Oh et al. (2020), "Discovering reinforcement learning algorithms", with the numbers in
    the published code of Jackson et al. (2023), "Discovering general reinforcement learning
    algorithms with adversarial environment design", which leaves the curriculum, the bandit over
    agents' rates and lifetimes of different lengths away, as this does.

    Attributes:
      num_tasks: Number of agents N that live side by side.
      window: Number of updates that a meta-gradient goes through.
      derivative: Meta-gradient: "exact", or "exact-remat", the same with updates recomputed in the
        backward pass, so that memory does not grow with ``window``.
      network: Flax module from observations ``[B, O]`` to features ``[B, F]``, one each for policy,
        predictions and value, used instead of the MLP (Python only).
      inner_optimizer: Optimiser of the agent's weights.
      inner_lr: Step size of the agent's optimiser.
      inner_clip: Largest global norm of a gradient of the agent; "none" for no clipping.
      prediction_coefficient: Weight of the divergence of the predictions from their targets.
      num_predictions: Length M of the categorical predictions.
      lstm_size: Units of the LSTM.
      embedding_size: Units of the hidden layer that embeds a prediction.
      discount: Discount per step of the meta-objective, which the LSTM is told.
      gae_lambda: Lambda of the advantages of the meta-objective.
      value_coefficient: Weight of half the squared error of the value in the agent's loss.
      policy_entropy, prediction_entropy: Weights in the meta-objective of the mean entropies of
        policy and predictions, nats.
      policy_square, prediction_square: Weights in it of the mean squares of both targets.
    """

    num_tasks: Count = 64
    num_streams: Count = 64
    num_steps: Count = 20
    lifetime: Count = 320_000
    window: Count = 5
    derivative: Literal["exact", "exact-remat"] = "exact"
    hidden_sizes: tuple[Count, ...] = ()
    inner_optimizer: Literal["adam", "sgd", "rmsprop"] = "sgd"
    inner_lr: NonNegative = 40.0
    inner_clip: Positive | None = 0.5
    prediction_coefficient: NonNegative = 0.05
    num_predictions: Count = 8
    lstm_size: Count = 256
    embedding_size: Count = 16
    discount: Fraction = 0.99
    gae_lambda: Fraction = 0.95
    value_coefficient: NonNegative = 0.02
    policy_entropy: NonNegative = 0.05
    prediction_entropy: NonNegative = 1e-3
    policy_square: NonNegative = 5e-3
    prediction_square: NonNegative = 1e-3
    learning_rate: Rate = 1e-4
    max_grad_norm: Positive | None = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        allowed = f"fewer than the adaptations of a lifetime ({self.num_adaptations})"
        check(self.window < self.num_adaptations, "window", self.window, allowed)

    def build(self, family: TaskFamily) -> MetaAlgorithm:
        """The algorithm on a task family; raises OptionError for sizes that do not fit."""
        from metajax import inner, losses, outer

        problem = self.problem(family, self.learner(family))
        estimator = outer.truncated(
            problem,
            self.layout(whole=True),
            losses.score_loss,
            window=self.window,
            derivative=self.derivative,
            step_loss=inner.objective_regularizer(
                policy_entropy=self.policy_entropy,
                prediction_entropy=self.prediction_entropy,
                policy_target=self.policy_square,
                prediction_target=self.prediction_square,
            ),
        )
        return self.composed(problem, outer.once(estimator, self.meta_optimizer()))

    def learner(self, family: TaskFamily) -> Learner:
        """The agent of these options under its objective."""
        import jax.numpy as jnp
        import optax

        from metajax import inner, networks

        number, no = jnp.zeros((1, 1)), jnp.zeros((1, 1), bool)
        prediction = jnp.zeros((1, 1, self.num_predictions))
        optimizer = inner_optimizer(
            self.inner_optimizer, max_grad_norm=self.inner_clip, adam_floor=ADAM_FLOOR
        )
        return inner.objective_learner(
            networks.policy(family.spec, self.torso(), value_network=self.torso()),
            networks.readout(family.spec, self.torso(), self.num_predictions),
            networks.LearnedTargets(
                self.num_predictions, self.lstm_size, self.embedding_size, self.discount
            ),
            networks.Step(number, no, no, number, prediction, prediction),
            optimizer=optax.chain(optimizer, optax.scale(-1.0 * self.inner_lr)),
            judge=inner.ActorCriticSettings(
                discount=self.discount,
                gae_lambda=self.gae_lambda,
                value_coefficient=self.value_coefficient,
            ),
            prediction_coefficient=self.prediction_coefficient,
        )
