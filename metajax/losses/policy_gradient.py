"""Surrogate losses whose gradients are policy gradients.

All take ``[T, E]`` arrays of one chunk and return the mean over the transitions
of the mask, negated, so that a gradient step downhill raises the return. At the
parameters that collected the chunk the first derivatives of all of them agree;
they differ in the second derivative, which is what a meta-gradient sees.
"""

import chex
import jax
import jax.numpy as jnp

from metajax.losses.advantages import masked_mean


def score_surrogate(log_prob: jax.Array, advantage: jax.Array, mask: jax.Array) -> jax.Array:
    """``-mean(log_prob * advantage)``: REINFORCE, as in Finn et al. (2017).

    Its Hessian misses the terms that come from the dependence of the sampling
    distribution on the parameters, so it is a biased estimate of the Hessian of
    the expected return.
    """
    chex.assert_equal_shape([log_prob, advantage, mask])
    return -masked_mean(log_prob * advantage, mask)


def likelihood_ratio_surrogate(
    log_prob: jax.Array, behaviour_log_prob: jax.Array, advantage: jax.Array, mask: jax.Array
) -> jax.Array:
    """``-mean(exp(log_prob - behaviour_log_prob) * advantage)``.

    The surrogate of TRPO (Schulman et al. 2015, equation 14) and, inside an
    adaptation, low-variance curvature (Rothfuss et al. 2019, equation 8): its
    Hessian misses only the products of scores at different time steps.
    """
    chex.assert_equal_shape([log_prob, behaviour_log_prob, advantage, mask])
    return -masked_mean(jnp.exp(log_prob - behaviour_log_prob) * advantage, mask)


def dice_surrogate(log_prob: jax.Array, advantage: jax.Array, mask: jax.Array) -> jax.Array:
    """``-mean((box_t - box_{t-1}) * advantage_t)`` of fresh episodes, one a stream.

    ``box_t = exp(w_t - stop_gradient(w_t))``, ``w_t = sum_{s <= t} log_prob_s``.
    Every derivative of its expectation is that of the expected return, for any
    baseline in the advantage that does not depend on the sample. The value is 0.

    Source: Foerster et al. (2018); with advantages, Farquhar et al. (2019),
    "Loaded DiCE", equation 9.
    """
    chex.assert_equal_shape([log_prob, advantage, mask])
    total = jnp.cumsum(jnp.where(mask, log_prob, 0), axis=0)
    before = jnp.concatenate([jnp.zeros_like(total[:1]), total[:-1]])

    def box(exponent):
        return jnp.exp(exponent - jax.lax.stop_gradient(exponent))

    return -masked_mean((box(total) - box(before)) * advantage, mask)


def clipped_surrogate(
    log_prob: jax.Array,
    behaviour_log_prob: jax.Array,
    advantage: jax.Array,
    mask: jax.Array,
    clip: float | jax.Array = 0.2,
) -> jax.Array:
    """The clipped surrogate of PPO (Schulman et al. 2017, equation 7), negated."""
    chex.assert_equal_shape([log_prob, behaviour_log_prob, advantage, mask])
    ratio = jnp.exp(log_prob - behaviour_log_prob)
    clipped = jnp.clip(ratio, 1 - clip, 1 + clip)
    return -masked_mean(jnp.minimum(ratio * advantage, clipped * advantage), mask)
