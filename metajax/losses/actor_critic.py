"""The actor-critic loss."""

import jax
import jax.numpy as jnp

from metajax.losses.advantages import masked_mean
from metajax.losses.policy_gradient import score_surrogate


def actor_critic_loss(
    log_prob: jax.Array,
    entropy: jax.Array,
    value: jax.Array,
    advantage: jax.Array,
    target: jax.Array,
    mask: jax.Array,
    value_coefficient: float | jax.Array = 0.5,
    entropy_coefficient: float | jax.Array = 0.0,
) -> jax.Array:
    """The loss of advantage actor-critic (A2C).

    ``-mean(log_prob advantage) + c_v mean((target - value)^2) / 2 - c_e mean(entropy)``

    Args:
      log_prob, entropy: ``[T, E]``, log-probabilities of the actions, entropies of the policy.
      value, target: ``[T, E]``, values of the observations, and their targets.
      advantage: ``[T, E]``, weights of the log-probabilities.
      mask: ``[T, E]``, true for transitions that count.
      value_coefficient: Weight of the value loss, c_v.
      entropy_coefficient: Weight of the entropy bonus, c_e.

    Source: Mnih et al. (2016), "Asynchronous methods for deep reinforcement learning",
    section 4, in the synchronous form.
    """
    policy_loss = score_surrogate(log_prob, advantage, mask)
    value_loss = 0.5 * masked_mean(jnp.square(target - value), mask)
    bonus = entropy_coefficient * masked_mean(entropy, mask)
    return policy_loss + value_coefficient * value_loss - bonus
