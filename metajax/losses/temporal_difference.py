"""On-policy lambda targets."""

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
    """Lambda returns over sequences that may span episodes.

    ``G_t = r_t + discount ((1 - lambda) v_t + lambda G_{t+1})``; ``r_t + discount v_t`` at
    truncations and at the last step of the sequence; ``r_t`` at termination.

    Args:
      r_t: ``[T, ...]``, rewards.
      terminated, truncated: ``[T, ...]``, ends of episodes.
      v_t: ``[T, ...]``, values of the states after each step, before any reset.
      discount: Discount per step.
      lambda_: 0 gives one-step targets, 1 the longest available n-step targets.

    Returns:
      ``[T, ...]``, differentiable in all real arguments.

    Source: Sutton and Barto (2018), section 12.1. Deviation: traces are not cut at
    exploratory actions (Watkins), as usual in deep Q-learning.
    """
    on_policy = jnp.ones_like(r_t)
    return per_decision_returns(r_t, terminated, truncated, v_t, on_policy, discount, lambda_)
