"""Stacks of causal layers with caches: their memory and one step of them."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Memory(NamedTuple):
    """Memory of one stream.

    Attributes:
      time: int32 scalar, steps since the start of the trial. The time is the same in all
        streams, so ``vmap`` leaves it unbatched and a write to a cache stays a slice.
      layers: Cache of each layer.
    """

    time: jax.Array
    layers: tuple[Any, ...]


def empty_memory(layers: Sequence[Any]) -> Memory:
    """The memory of one stream at the start of a trial."""
    return Memory(jnp.zeros((), jnp.int32), tuple(layer.initial_memory() for layer in layers))


def step_layers(
    layers: Sequence[Any],
    memory: Memory,
    features: jax.Array,
    join: Callable[[jax.Array, jax.Array], jax.Array],
) -> tuple[jax.Array, Memory]:
    """One step of one stream through all layers.

    Args:
      layers: Bound modules with ``step(cache, time, features) -> (output, cache)``.
      memory: Memory before the step.
      features: ``[F]``, input of the first layer.
      join: ``(features, output) -> features``, input of the next layer.

    Returns:
      The last features and the next memory.
    """
    caches = []
    for layer, cache in zip(layers, memory.layers, strict=True):
        output, cache = layer.step(cache, memory.time, features)
        features = join(features, output)
        caches.append(cache)
    return features, Memory(memory.time + 1, tuple(caches))
