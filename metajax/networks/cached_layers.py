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
    """One step of one stream: ``features [F]`` through all layers, and the next memory.

    ``join(features, output)`` gives the features for the next layer.
    """
    caches = []
    for layer, cache in zip(layers, memory.layers, strict=True):
        output, cache = layer.step(cache, memory.time, features)
        features = join(features, output)
        caches.append(cache)
    return features, Memory(memory.time + 1, tuple(caches))
