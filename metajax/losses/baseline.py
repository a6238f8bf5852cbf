"""The linear feature baseline."""

import jax
import jax.numpy as jnp


def linear_feature_values(
    observation: jax.Array, target: jax.Array, mask: jax.Array, ridge: float = 1e-5
) -> jax.Array:
    """Values fitted to returns by ridge regression on features of observation and time.

    The features are the observation and its square, t/100, its square and cube, and 1. The
    fit is in-sample: values are for the chunk that was fitted.

    Args:
      observation: ``[T, E, O]`` with any shape O; clipped to [-10, 10].
      target: ``[T, E]``, returns to go.
      mask: ``[T, E]``, true for transitions that count.
      ridge: Regularisation relative to the mean square of each feature, increased in
        proportion to the number of features above ten. A relative ridge keeps the fit
        stable in float32 for observations of any size.

    Returns:
      ``[T, E]``, 0 where the mask is false.

    Source: Duan et al. (2016), "Benchmarking deep reinforcement learning", section 4.1, with
    the scaling of its code. Deviation: the ridge is relative.
    """
    num_steps, num_streams = target.shape
    flat = observation.reshape(num_steps, num_streams, -1).astype(target.dtype)
    flat = jnp.clip(flat, -10, 10)
    time = jnp.arange(num_steps, dtype=target.dtype)[:, None, None] / 100
    powers = jnp.concatenate([time, time**2, time**3, jnp.ones_like(time)], axis=-1)
    powers = jnp.broadcast_to(powers, (num_steps, num_streams, 4))
    features = jnp.concatenate([flat, flat**2, powers], axis=-1)
    features = jnp.where(mask[..., None], features, 0).reshape(num_steps * num_streams, -1)
    count = jnp.maximum(jnp.sum(mask), 1).astype(target.dtype)
    size = jnp.sqrt(jnp.sum(features**2, axis=0) / count)
    features = features / jnp.where(size > 0, size, 1)
    # Rounding errors grow with the number of features; the ridge must stay above them.
    num_features = features.shape[-1]
    strength = ridge * max(1.0, num_features / 10)
    # The ridge is chosen for float32; accelerators multiply at lower precision by default.
    with jax.default_matmul_precision("float32"):
        gram = features.T @ features / count + strength * jnp.eye(num_features, dtype=target.dtype)
        moment = features.T @ jnp.where(mask, target, 0).reshape(-1) / count
        coefficients = jax.scipy.linalg.solve(gram, moment, assume_a="pos")
        return (features @ coefficients).reshape(num_steps, num_streams)
