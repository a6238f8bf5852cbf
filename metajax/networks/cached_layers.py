"""Networks of causal layers with caches."""

from typing import Any, NamedTuple

import flax.linen as nn
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


class CachedLayers(nn.Module):
    """A linear embedding and a stack of layers; subclasses say which and how they join."""

    def initial_memory(self) -> Memory:
        """The memory of one stream at the start of a trial."""
        caches = tuple(layer.initial_memory() for layer in self._unbound_layers())
        return Memory(jnp.zeros((), jnp.int32), caches)

    def step(self, memory: Memory, x: jax.Array) -> tuple[jax.Array, Memory]:
        """One step of one stream: ``x [F]`` to ``[D]`` and the next memory."""
        features, caches = self.embedding(x), []
        for layer, cache in zip(self.layers, memory.layers, strict=True):
            output, cache = layer.step(cache, memory.time, features)
            features = self._join(features, output)
            caches.append(cache)
        return self._read(features), Memory(memory.time + 1, tuple(caches))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Whole trials of B streams, ``[T, B, F]`` to ``[T, B, D]``."""
        features = self.embedding(x)
        for layer in self.layers:
            features = self._join(features, layer(features))
        return self._read(features)

    def _unbound_layers(self) -> list[Any]:
        raise NotImplementedError

    def _join(self, features: jax.Array, output: jax.Array) -> jax.Array:
        """Input of the next layer, by default the output of this one."""
        return output

    def _read(self, features: jax.Array) -> jax.Array:
        """Output, by default the features after the last layer."""
        return features
