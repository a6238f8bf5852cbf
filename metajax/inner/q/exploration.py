"""A learned strategy of exploration: how random each decision is."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from metajax.core.family import Key, Spec, Tree
from metajax.core.types import Chunk


class Exploration(NamedTuple):
    """How random a learner of action values is, from its experience of the task.

    Attributes:
      init: ``() -> visits``, at the start of a trial.
      add: ``(visits, chunk) -> visits``.
      rates: ``(theta, visits, env_steps, observation [B, O], values [B, A]) ->
        (epsilon [B], temperature [B])``, as in ``QSettings``.
    """

    init: Callable[[], Tree]
    add: Callable[[Tree, Chunk], Tree]
    rates: Callable[[Tree, Tree, jax.Array, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]


def visit_hash(observation_shape: tuple[int, ...], num_bits: int) -> Callable[[Any], Any]:
    """A SimHash: ``observation [B, O] -> int32 [B]``, below ``2**num_bits``.

    Bit i is the sign of a fixed random projection, so like observations share buckets.

    Source: Tang et al. (2017), "#Exploration: a study of count-based exploration for deep
    reinforcement learning", section 2.2, without a preprocessor.
    """
    size = int(np.prod(observation_shape))
    projections = np.random.default_rng(0).normal(size=(size, num_bits)).astype(np.float32)
    powers = 2 ** np.arange(num_bits, dtype=np.int32)

    def hashed(observation):
        flat = observation.reshape(observation.shape[0], -1).astype(jnp.float32)
        return jnp.sum((flat @ projections > 0) * powers, axis=-1, dtype=jnp.int32)

    return hashed


class _Rates(nn.Module):
    hidden_sizes: tuple[int, ...]
    num_rates: int

    @nn.compact
    def __call__(self, features):
        for size in self.hidden_sizes:
            features = nn.tanh(nn.Dense(size)(features))
        # Whatever it sees, the first strategy does the same.
        return nn.Dense(self.num_rates, kernel_init=nn.initializers.zeros)(features)


def learned_exploration(
    spec: Spec,
    lifetime: int,
    *,
    hidden_sizes: tuple[int, ...] = (8,),
    num_bits: int = 10,
    parameters: Callable[[Tree], Tree] = lambda theta: theta,
) -> tuple[Callable[[Key], Tree], Exploration]:
    """A small network that gives the randomness of each decision.

    It reads the 2 + A ``rate_features`` of the time, the visits and the action values. Epsilon
    is the sigmoid of its first output. The temperature is the exponential of its second, in
    units of the largest absolute value.

    Args:
      spec: Spec of a family with ``Discrete`` actions.
      lifetime: Transitions of a trial.
      hidden_sizes: Units of its tanh layers.
      num_bits: Bits of the ``visit_hash``; a task keeps ``2**num_bits`` counts.
      parameters: ``(theta) -> parameters`` of the network.

    Returns:
      ``(init, exploration)``: ``init(key)`` gives parameters of the network. The counts are
      those of all chunks so far, from all streams; they do not grow within a chunk.
    """
    hashed = visit_hash(spec.observation_shape, num_bits)
    network = _Rates(hidden_sizes, 2)
    num_actions = spec.action_space.num_actions  # pyright: ignore[reportAttributeAccessIssue]

    def init(key):
        return network.init(key, jnp.zeros((1, 2 + num_actions)))["params"]

    def add(visits, chunk):
        flat = chunk.observation.reshape(-1, *chunk.observation.shape[2:])
        return visits.at[hashed(flat)].add(chunk.mask.reshape(-1).astype(visits.dtype))

    def rates(theta, visits, env_steps, observation, values):
        scale = largest(values)
        features = rate_features(env_steps, visits[hashed(observation)], values, scale, lifetime)
        output: Any = network.apply({"params": parameters(theta)}, features)
        return jax.nn.sigmoid(output[:, 0]), jnp.exp(output[:, 1]) * scale[:, 0]

    return init, Exploration(lambda: jnp.zeros(2**num_bits, jnp.int32), add, rates)


def largest(values: jax.Array) -> jax.Array:
    """``[B, 1]``, the largest absolute value of ``[B, A]``, at least 1e-6."""
    return jnp.maximum(jnp.max(jnp.abs(values), axis=-1, keepdims=True), 1e-6)


def rate_features(
    env_steps: jax.Array, count: jax.Array, values: jax.Array, scale: jax.Array, lifetime: int
) -> jax.Array:
    """``[B, 2 + A]``, numbers between -2 and 2 to choose the randomness of decisions by.

    The part of the lifetime that has passed, the logarithm of the visits of the observation's
    bucket divided by that of the lifetime, and the action values in falling order, less their mean
    and divided by ``scale``: neither the names of the actions nor the scale of the rewards matter.

    Args:
      env_steps, lifetime: Transitions so far and in a trial.
      count: ``[B]``, visits of the buckets.
      values, scale: ``[B, A]``, and ``largest`` of them, ``[B, 1]``.
    """
    centred = (values - jnp.mean(values, axis=-1, keepdims=True)) / scale
    familiar = jnp.log1p(count) / np.log1p(lifetime)
    time = jnp.broadcast_to(env_steps / lifetime, familiar.shape)
    return jnp.concatenate(
        [jnp.stack([time, familiar], axis=-1), -jnp.sort(-centred, axis=-1)], axis=-1
    )
