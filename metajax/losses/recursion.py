"""The one recursion of returns, advantages and targets."""

import jax
import jax.numpy as jnp


def backward_sums(terms: jax.Array, weights: float | jax.Array) -> jax.Array:
    """``x_t = terms_t + weights_t x_{t+1}`` from the last step to the first, 0 after it.

    A weight of 0 keeps what follows out: the end of an episode inside a stretch.

    Args:
      terms: ``[T, ...]``, finite; integers are taken for floating-point numbers.
      weights: ``[T, ...]``, or a scalar, for example a discount.

    Returns:
      ``[T, ...]``, differentiable in both.
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
