"""Action distributions as pure functions of their parameters."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Distribution(NamedTuple):
    """A family of distributions; parameters may have any leading batch axes.

    Attributes:
      noise: ``(key) -> noise``, the randomness of one sample.
      sample: ``(noise, parameters) -> action``.
      mode: ``(parameters) -> action``, the most probable one.
      log_prob: ``(parameters, action) -> log-probability`` or log-density.
      entropy: ``(parameters) -> entropy`` in nats.
      divergence: ``(old, new) -> KL(old || new)`` in nats.
    """

    noise: Callable[[jax.Array], jax.Array]
    sample: Callable[[jax.Array, Any], jax.Array]
    mode: Callable[[Any], jax.Array]
    log_prob: Callable[[Any, jax.Array], jax.Array]
    entropy: Callable[[Any], jax.Array]
    divergence: Callable[[Any, Any], jax.Array]


# A floor keeps log-probabilities finite, so that entropies contain no product of zero and
# infinity. Gumbel noise in float32 never makes a choice of this probability win.
_NEVER = 1e-37


def exploring(probability: jax.Array, epsilon: float | jax.Array) -> jax.Array:
    """Logits ``[..., A]`` of ``probability [..., A]``, with probability epsilon uniform instead."""
    mixed = (1 - epsilon) * probability + epsilon / probability.shape[-1]
    return jnp.log(jnp.maximum(mixed, _NEVER))


def categorical(num_choices: int) -> Distribution:
    """The categorical distribution; its parameters are logits ``[..., A]``."""

    def sample(noise, logits):
        return jnp.argmax(logits + noise, axis=-1).astype(jnp.int32)

    def log_prob(logits, action):
        log_probs = jax.nn.log_softmax(logits)
        return jnp.take_along_axis(log_probs, action[..., None], axis=-1)[..., 0]

    def entropy(logits):
        log_probs = jax.nn.log_softmax(logits)
        return -jnp.sum(jnp.exp(log_probs) * log_probs, axis=-1)

    def divergence(old, new):
        log_old, log_new = jax.nn.log_softmax(old), jax.nn.log_softmax(new)
        return jnp.sum(jnp.exp(log_old) * (log_old - log_new), axis=-1)

    return Distribution(
        noise=lambda key: jax.random.gumbel(key, (num_choices,)),
        sample=sample,
        mode=lambda logits: jnp.argmax(logits, axis=-1).astype(jnp.int32),
        log_prob=log_prob,
        entropy=entropy,
        divergence=divergence,
    )


def diagonal_gaussian(size: int) -> Distribution:
    """The diagonal Gaussian; its parameters are ``(mean [..., A], log_std [..., A])``."""
    half_log_two_pi = 0.5 * math.log(2 * math.pi)

    def log_prob(parameters, action):
        mean, log_std = parameters
        scaled = (action - mean) * jnp.exp(-log_std)
        return jnp.sum(-0.5 * scaled**2 - log_std - half_log_two_pi, axis=-1)

    def entropy(parameters):
        return jnp.sum(parameters[1] + 0.5 + half_log_two_pi, axis=-1)

    def divergence(old, new):
        (old_mean, old_log_std), (new_mean, new_log_std) = old, new
        ratio = jnp.exp(2 * (old_log_std - new_log_std))
        shift = (old_mean - new_mean) * jnp.exp(-new_log_std)
        return jnp.sum(0.5 * (ratio + shift**2 - 1) + new_log_std - old_log_std, axis=-1)

    def sample(noise, parameters):
        mean, log_std = parameters
        return mean + jnp.exp(log_std) * noise

    return Distribution(
        noise=lambda key: jax.random.normal(key, (size,)),
        sample=sample,
        mode=lambda parameters: parameters[0],
        log_prob=log_prob,
        entropy=entropy,
        divergence=divergence,
    )
