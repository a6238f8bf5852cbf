"""Gamma, beta and Dirichlet samples from noise drawn before the parameters are known.

A rejection sampler with a fixed number of proposals and no loop, so that it runs under
``vmap`` and on noise drawn ahead for a whole rollout.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from metajax.core.family import Key

_PROPOSALS = 3


class GammaNoise(NamedTuple):
    """The randomness of gamma samples.

    Attributes:
      normal: ``[3, ...]``, one standard normal per proposal.
      exponential: ``[4, ...]``, exponentials (minus the logarithms of uniforms): one per
        proposal for its acceptance, and one for the correction of the shape parameter.
    """

    normal: jax.Array
    exponential: jax.Array


def gamma_noise(key: Key, shape: tuple[int, ...]) -> GammaNoise:
    """Noise of independent gamma samples of the given shape."""
    key_normal, key_exponential = jax.random.split(key)
    return GammaNoise(
        jax.random.normal(key_normal, (_PROPOSALS, *shape)),
        jax.random.exponential(key_exponential, (_PROPOSALS + 1, *shape)),
    )


def log_gamma(noise: GammaNoise, concentration: jax.Array) -> jax.Array:
    """Logarithms ``[...]`` of samples from Gamma(concentration, 1).

    Samples themselves would underflow for small concentrations.

    Source: Marsaglia and Tsang (2000), "A simple method for generating gamma variables",
    at concentration + 1, with the correction of their section 6. Deviation: at most three
    proposals. If all are rejected, with probability below 1.2e-4 (2e-5 for concentrations
    of at least 0.5), the approximate median of Gamma(concentration + 1) is used instead.

    Args:
      noise: Noise with leaves ``[3, ...]`` and ``[4, ...]``.
      concentration: ``[...]``, positive.
    """
    center = concentration + 2 / 3
    width = jax.lax.rsqrt(9 * center)
    value = center * jnp.ones_like(noise.normal[0])
    for normal, exponential in zip(noise.normal, noise.exponential[:-1], strict=True):
        root = 1 + width * normal
        cube = root**3
        log_cube = 3 * jnp.log(jnp.maximum(root, 1e-9))
        bound = 0.5 * normal**2 + center * (1 - cube + log_cube)
        value = jnp.where((root > 0) & (-exponential < bound), center * cube, value)
    return jnp.log(value) - noise.exponential[-1] / concentration


def log_beta(
    noise: GammaNoise, successes: jax.Array, failures: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Logarithms ``[..., A]`` of x and of 1 - x for samples x from Beta(successes, failures).

    Args:
      noise: Noise with leaves ``[3, ..., A, 2]`` and ``[4, ..., A, 2]``.
      successes, failures: ``[A]``, positive.
    """
    gammas = log_gamma(noise, jnp.stack([successes, failures], axis=-1))
    logs = jax.nn.log_softmax(gammas, axis=-1)
    return logs[..., 0], logs[..., 1]


def dirichlet(noise: GammaNoise, concentration: jax.Array) -> jax.Array:
    """Samples from Dirichlet distributions over the last axis of ``concentration``."""
    return jax.nn.softmax(log_gamma(noise, concentration), axis=-1)
