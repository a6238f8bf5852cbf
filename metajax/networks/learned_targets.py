"""The network of a learned objective."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from metajax.networks.recurrent import LSTM, LSTM_GATES, Weights, cell_step


class Step(NamedTuple):
    """Input of a learned objective, for each transition.

    Attributes:
      reward: ``[T, B]``.
      terminated: Bool ``[T, B]``, true where nothing follows.
      ended: Bool ``[T, B]``, true where the next transition is of another episode.
      probability: ``[T, B]``, of the action.
      prediction, next_prediction: ``[T, B, M]``, categorical predictions of the agent in the state
        and in the one that the step led to.
    """

    reward: jax.Array
    terminated: jax.Array
    ended: jax.Array
    probability: jax.Array
    prediction: jax.Array
    next_prediction: jax.Array


class LearnedTargets(nn.Module):
    """The targets of a policy and of predictions from an LSTM that runs back in time.

    It reads reward, termination, discount, the probability of the action, and an embedding of the
    predictions before and after each step.

    Source: Oh et al. (2020), "Discovering reinforcement learning algorithms", section 3.

    Args:
      num_predictions: Length M of the agent's categorical predictions.
      size: Units of the LSTM.
      embedding_size: Units of the hidden layer that embeds a prediction as a number.
      discount: The discount that it is told.
    """

    num_predictions: int
    size: int = 256
    embedding_size: int = 16
    discount: float = 0.99

    @nn.compact
    def __call__(self, step: Step) -> tuple[jax.Array, jax.Array]:
        """Targets of the policy ``[T, B]``, logits of those of the predictions ``[T, B, M]``."""
        embed = nn.Sequential([nn.Dense(self.embedding_size), nn.relu, nn.Dense(1)])
        after = jnp.where(step.terminated, 0, embed(step.next_prediction)[..., 0])
        before = embed(step.prediction)[..., 0]
        known = step.reward, step.terminated, jnp.full_like(step.reward, self.discount)
        inputs = jnp.stack([*known, step.probability, before, after], axis=-1)
        weights = LSTM(self.size).weights(inputs.shape[-1])
        hidden = nn.relu(unroll_back(weights, inputs, step.ended))
        return nn.Dense(1)(hidden)[..., 0], nn.Dense(self.num_predictions)(hidden)


def unroll_back(weights: Weights, xs: jax.Array, ended: jax.Array) -> jax.Array:
    """Hidden states ``[T, B, H]`` of an LSTM that reads ``xs [T, B, F]`` back in time.

    It begins anew before each step of ``ended [T, B]``, with the episode whose last step that is.
    """

    def step(carry, now):
        x, ended = now
        carry = jax.tree.map(lambda leaf: jnp.where(ended[:, None], 0, leaf), carry)
        carry, _ = cell_step(LSTM_GATES, weights, carry, x)
        return carry, carry[0]

    dtype = jnp.result_type(xs, *weights)
    zeros = jnp.zeros((xs.shape[1], weights.hidden.shape[0]), dtype)
    return jax.lax.scan(step, (zeros, zeros), (xs, ended), reverse=True)[1]
