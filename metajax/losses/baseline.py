"""The linear time-dependent feature baseline."""

import jax
import jax.numpy as jnp


def linear_feature_values(
    observation: jax.Array, target: jax.Array, mask: jax.Array, ridge: float = 1e-5
) -> jax.Array:
    """Fits returns by ridge regression on features of observation and time.

    Features: observation, its square, t/100, its square and cube, and one
    (Duan et al. 2016, "Benchmarking deep reinforcement learning", section 4.1,
    with the scaling of their code). The fit is over the chunk itself.

    Args:
      observation: ``[T, E, O]``, of any shape O, clipped to [-10, 10].
      target: ``[T, E]`` returns to go.
      mask: ``[T, E]``, transitions that count.
      ridge: times the number of transitions: the mean squared error is what is
        regularised, which keeps the fit stable in float32.

    Returns:
      ``[T, E]`` fitted values, 0 where the mask is false.
    """
    num_steps, num_streams = target.shape
    flat = jnp.clip(observation.reshape(num_steps, num_streams, -1), -10, 10)
    flat = flat.astype(target.dtype)
    time = jnp.arange(num_steps, dtype=target.dtype)[:, None, None] / 100
    powers = jnp.concatenate([time, time**2, time**3, jnp.ones_like(time)], axis=-1)
    powers = jnp.broadcast_to(powers, (num_steps, num_streams, 4))
    features = jnp.concatenate([flat, flat**2, powers], axis=-1)
    features = jnp.where(mask[..., None], features, 0).reshape(num_steps * num_streams, -1)
    count = jnp.maximum(jnp.sum(mask), 1).astype(target.dtype)
    gram = features.T @ features / count + ridge * jnp.eye(features.shape[-1], dtype=target.dtype)
    moment = features.T @ jnp.where(mask, target, 0).reshape(-1) / count
    coefficients = jax.scipy.linalg.solve(gram, moment, assume_a="pos")
    return (features @ coefficients).reshape(num_steps, num_streams)
