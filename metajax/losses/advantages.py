"""Returns and advantages over chunks ``[T, E]``, 0 where the mask is false.

``r_t`` are rewards, ``v_tm1`` values of the observations before each action. The discount is that
of a step; ``lambda_`` is the decay of the traces, and 1 gives Monte-Carlo returns less the value.
"""

import chex
import jax
import jax.numpy as jnp

from metajax.losses.recursion import backward_sums


def masked_mean(values: jax.Array, mask: jax.Array) -> jax.Array:
    """Mean of ``values`` over the true entries of ``mask``; 0 if there are none.

    The other entries may be anything, NaN included.
    """
    count = jnp.sum(mask.astype(values.dtype))
    return jnp.sum(jnp.where(mask, values, 0)) / jnp.maximum(count, 1)


def returns_to_go(r_t: jax.Array, mask: jax.Array, discount: float | jax.Array = 1.0) -> jax.Array:
    """Discounted returns from each step to the end of its episode.

    Episodes are fresh, one per stream; the mask is false after their ends.
    """
    return jnp.where(mask, backward_sums(jnp.where(mask, r_t, 0), discount), 0)


def generalized_advantages(
    r_t: jax.Array,
    v_tm1: jax.Array,
    bootstrap: jax.Array,
    mask: jax.Array,
    discount: float | jax.Array = 1.0,
    lambda_: float | jax.Array = 1.0,
) -> jax.Array:
    """Generalised advantage estimates over fresh, padded episodes.

    ``A_t = sum_k (discount lambda)^k (r_{t+k} + discount v_{t+k+1} - v_{t+k})``

    Args:
      r_t, v_tm1: ``[T, E]``, one episode per stream.
      bootstrap: ``[E]``, value after the last step of the episode: 0 after termination, the
        value of the last observation after truncation.
      mask: ``[T, E]``, false after the end of the episode.

    Source: Schulman et al. (2016), equation 16.
    """
    chex.assert_equal_shape([r_t, v_tm1, mask])
    chex.assert_shape(bootstrap, r_t.shape[1:])
    values = jnp.where(mask, v_tm1, bootstrap)
    v_t = jnp.concatenate([values[1:], bootstrap[None]])
    td_error = jnp.where(mask, r_t + discount * v_t - values, 0)
    return jnp.where(mask, backward_sums(td_error, discount * lambda_), 0)


def episodic_advantages(
    r_t: jax.Array,
    v_tm1: jax.Array,
    v_final: jax.Array,
    terminated: jax.Array,
    truncated: jax.Array,
    mask: jax.Array,
    discount: float | jax.Array = 1.0,
    lambda_: float | jax.Array = 1.0,
) -> jax.Array:
    """Generalised advantage estimates over streams of several episodes each.

    Advantages do not extend across the end of an episode. A truncated episode and the last
    step of a stream bootstrap from ``v_final``.

    Args:
      v_final: ``[T, E]``, values of the observations after each step, before any reset.
      terminated, truncated: ``[T, E]``, ends of episodes.
      mask: ``[T, E]``, false after the last episode.

    Source: Schulman et al. (2016), equation 16; Pardo et al. (2018) on time limits.
    """
    chex.assert_equal_shape([r_t, v_tm1, v_final, terminated, truncated, mask])
    v_t = jnp.concatenate([v_tm1[1:], v_final[-1:]])
    v_t = jnp.where(terminated, 0, jnp.where(truncated, v_final, v_t))
    td_error = jnp.where(mask, r_t + discount * v_t - v_tm1, 0)
    goes_on = ~(terminated | truncated)
    return jnp.where(mask, backward_sums(td_error, discount * lambda_ * goes_on), 0)


def normalize(
    advantage: jax.Array, mask: jax.Array, magnitude: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Advantages of one task, shifted and scaled to mean 0 and standard deviation 1.

    A baseline may explain the returns up to rounding. The remainder is then noise, and
    dividing it by its own deviation would give a gradient of full size. The divisor is
    therefore at least 1e-5 of the largest magnitude.

    Args:
      advantage: ``[T, E]``.
      mask: ``[T, E]``, true for transitions that count.
      magnitude: ``[T, E]``, numbers of the order of the returns.

    Returns:
      The normalised advantages, 0 where the mask is false, and the divisor. All-zero
      advantages stay 0.
    """
    mean = masked_mean(advantage, mask)
    centred = jnp.where(mask, advantage - mean, 0)
    deviation = jnp.sqrt(masked_mean(centred**2, mask))
    floor = 1e-5 * jnp.max(jnp.abs(jnp.where(mask, magnitude, 0))) + 1e-8
    scale = jnp.maximum(deviation, floor)
    return centred / scale, scale
