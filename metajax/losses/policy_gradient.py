"""Surrogate losses of the policy gradient.

Arguments are ``[T, E]`` arrays of one chunk: log-probabilities of the actions now and at
collection, advantages, and a mask that is true for transitions that count. A loss is the negated
mean over these, so that gradient descent raises the return. At the parameters that collected the
chunk, all first derivatives agree; second derivatives, which enter the meta-gradient, differ.
"""

import chex
import jax
import jax.numpy as jnp

from metajax.losses.advantages import masked_mean


def score_surrogate(log_prob: jax.Array, advantage: jax.Array, mask: jax.Array) -> jax.Array:
    """The score-function surrogate ``-mean(log_prob * advantage)``: REINFORCE.

    The Hessian is a biased estimate of that of the expected return: the dependence of the
    sampling distribution on the parameters is missing.

    Source: Finn et al. (2017).
    """
    chex.assert_equal_shape([log_prob, advantage, mask])
    return -masked_mean(log_prob * advantage, mask)


def likelihood_ratio_surrogate(
    log_prob: jax.Array, behaviour_log_prob: jax.Array, advantage: jax.Array, mask: jax.Array
) -> jax.Array:
    """The likelihood-ratio surrogate ``-mean(exp(log_prob - behaviour_log_prob) * advantage)``.

    The surrogate of TRPO (Schulman et al. 2015, equation 14). Inside an adaptation it is
    low-variance curvature (Rothfuss et al. 2019, equation 8): the Hessian lacks only the
    products of scores at different time steps.
    """
    chex.assert_equal_shape([log_prob, behaviour_log_prob, advantage, mask])
    log_ratio = jnp.where(mask, log_prob - behaviour_log_prob, 0)
    return -masked_mean(jnp.exp(log_ratio) * advantage, mask)


def dice_surrogate(log_prob: jax.Array, advantage: jax.Array, mask: jax.Array) -> jax.Array:
    """The DiCE surrogate of fresh episodes, one per stream; its value is 0.

    ``-mean((box_t - box_{t-1}) * advantage_t)`` with ``box_t = exp(w_t - stop_gradient(w_t))`` and
    ``w_t = sum_{s <= t} log_prob_s``. All derivatives of the expectation equal those of the negated
    expected return, for any baseline in the advantage that does not depend on the sample.

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
    """The clipped surrogate of PPO (Schulman et al. 2017, equation 7), negated.

    ``clip`` bounds the ratio of probabilities to ``[1 - clip, 1 + clip]``.
    """
    chex.assert_equal_shape([log_prob, behaviour_log_prob, advantage, mask])
    # Far above the bound, where the clipped ratio is the one that counts, the exponential of the
    # other would overflow, and the gradient be 0 times infinity.
    largest = jnp.where(advantage < 0, jnp.inf, jnp.log1p(clip) + 1)
    log_ratio = jnp.where(mask, log_prob - behaviour_log_prob, 0)
    ratio = jnp.exp(jnp.minimum(log_ratio, largest))
    clipped = jnp.clip(ratio, 1 - clip, 1 + clip)
    return -masked_mean(jnp.minimum(ratio * advantage, clipped * advantage), mask)
