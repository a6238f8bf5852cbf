"""The backward recursion behind returns, advantages and targets."""

import jax
import jax.numpy as jnp


def backward_sums(terms: jax.Array, weights: float | jax.Array) -> jax.Array:
    """The solution of ``x_t = terms_t + weights_t x_{t+1}``, with 0 after the last step.

    A weight of 0 cuts the sum, as at the end of an episode inside a sequence.

    Args:
      terms: ``[T, ...]``, finite; integers are converted to floats.
      weights: ``[T, ...]`` or a scalar, for example a discount.

    Returns:
      ``[T, ...]``, differentiable in both arguments.
    """
    terms = jnp.asarray(terms, jnp.result_type(terms, jnp.float32))
    weights = jnp.asarray(weights, terms.dtype)
    varies = weights.ndim > 0

    def backwards(following, now):
        term, weight = now if varies else (now, weights)
        total = term + weight * following
        return total, total

    inputs = (terms, weights) if varies else terms
    return jax.lax.scan(backwards, jnp.zeros_like(terms[0]), inputs, reverse=True)[1]
