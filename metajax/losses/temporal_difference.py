"""Targets of action values."""

import jax
import jax.numpy as jnp

from metajax.losses.off_policy import per_decision_returns


def lambda_targets(
    r_t: jax.Array,
    terminated: jax.Array,
    truncated: jax.Array,
    v_t: jax.Array,
    discount: float | jax.Array,
    lambda_: float | jax.Array = 1.0,
) -> jax.Array:
    """Mixed n-step returns of stretches of experience, which may span episodes.

    ``G_t = r_t + discount ((1 - lambda) v_t + lambda G_{t+1})``, with ``v_t`` alone after
    the last step of the stretch and where a time limit cut the episode, and ``r_t`` alone
    where it terminated.

    Args:
      r_t: ``[T, ...]`` rewards.
      terminated, truncated: ``[T, ...]``, how an episode ended with that step.
      v_t: ``[T, ...]``, value of where each step led before any reset.
      discount: per step.
      lambda_: 0 gives one-step targets, 1 those of as many steps as there are.

    Returns:
      ``[T, ...]``, differentiable in all that is real.

    Source: Sutton and Barto (2018), section 12.1; Watkins' cut at exploratory actions is
    left out, as usual in deep Q-learning.
    """
    on_policy = jnp.ones_like(r_t)
    return per_decision_returns(r_t, terminated, truncated, v_t, on_policy, discount, lambda_)
