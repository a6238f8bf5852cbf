"""SNAIL: a memory of dilated causal convolutions and attention."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from metajax.core.options import AtLeast, check, check_number
from metajax.networks.attention import CausalAttention, Memory

# What a block's numbers are called, by its kind.
_BLOCKS = {"tc": ("filters",), "attention": ("key_size", "value_size")}


class DenseBlock(nn.Module):
    """A gated causal convolution with a kernel of two steps.

    ``y_t = tanh(f_t) * sigmoid(g_t)`` with ``(f_t, g_t) = A x_t + B x_{t - dilation} + c``,
    where x is zero before the start of a trial.

    Args:
      filters: D.
      dilation: steps.
    """

    filters: int
    dilation: int

    def initial_memory(self) -> jax.Array:
        """``[dilation + 1, 2 D]``: what the last steps add to those ``dilation`` later."""
        return jnp.zeros((self.dilation + 1, 2 * self.filters))

    def step(self, memory: jax.Array, time: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """One step of one stream: ``x [F]`` to ``[D]`` and the next cache."""
        now, later = self._products(x)
        # Write first and read from what was written: a read of the old buffer would make
        # the compiler copy all of it at every step.
        num_slots = self.dilation + 1
        memory = jax.lax.dynamic_update_index_in_dim(
            memory, later.astype(memory.dtype), time % num_slots, 0
        )
        before = jax.lax.dynamic_index_in_dim(memory, (time + 1) % num_slots, keepdims=False)
        return _gated(now + before), memory

    def __call__(self, x: jax.Array) -> jax.Array:
        """Whole trials of B streams, ``[T, B, F]`` to ``[T, B, D]``."""
        now, later = self._products(x)
        num_steps = x.shape[0]
        shift = min(self.dilation, num_steps)
        start = jnp.zeros_like(later[:shift])
        return _gated(now + jnp.concatenate([start, later[: num_steps - shift]]))

    @nn.compact
    def _products(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """What ``x`` adds to its own step, bias included, and ``dilation`` steps later."""
        # The two taps of the kernel are one product; its fan-in is that of both.
        initial = nn.initializers.variance_scaling(0.5, "fan_in", "truncated_normal")
        taps = nn.Dense(4 * self.filters, use_bias=False, kernel_init=initial, name="taps")(x)
        bias = self.param("bias", nn.initializers.zeros, (2 * self.filters,))
        now, later = jnp.split(taps, 2, axis=-1)
        return now + bias, later


class SNAIL(nn.Module):
    """The simple neural attentive meta-learner.

    A linear layer, then blocks that each append their output to the features they
    read: a "tc" block is one ``DenseBlock`` after another with dilations 1, 2, 4, ...
    until their receptive field covers the trial; an "attention" block has one head
    and sees the whole trial. What comes out is all features, for linear heads.

    A trial of ``__call__`` has at most ``length`` steps. ``step`` may go on: attention
    then sees the last ``length`` steps, and convolutions reach as far as before.

    Source: Mishra et al. (2018), "A simple neural attentive meta-learner", section 3
    and the appendix on bandits and MDPs, whose policy network is the default.
    Deviations: their value network is a second one, with sizes 16; and their
    pseudocode doubles dilations from 2, where the receptive field described in the
    text needs to begin with 1.

    Args:
      length: T, steps of a trial; sets the number of dilations and the cache.
      input_size: features of the linear layer.
      blocks: each ``("tc", filters)`` or ``("attention", key_size, value_size)``.
    """

    length: int
    input_size: int = 32
    blocks: tuple[tuple[Any, ...], ...] = (("tc", 32), ("tc", 32), ("attention", 32, 32))

    def __post_init__(self) -> None:
        check_number("length", self.length, AtLeast(1))
        check_number("input_size", self.input_size, AtLeast(1))
        allowed = " or ".join(str((kind, *names)) for kind, names in _BLOCKS.items())
        for kind, *sizes in self.blocks:
            fits = kind in _BLOCKS and len(sizes) == len(_BLOCKS[kind])
            fits = fits and all(isinstance(size, int) and size >= 1 for size in sizes)
            check(fits, "blocks", (kind, *sizes), f"{allowed}, sizes at least 1")
        super().__post_init__()

    def setup(self) -> None:
        self.embedding = nn.Dense(self.input_size)
        self.layers = self._unbound_layers()

    def initial_memory(self) -> Memory:
        """The memory of one stream at the start of a trial."""
        caches = tuple(layer.initial_memory() for layer in self._unbound_layers())
        return Memory(jnp.zeros((), jnp.int32), caches)

    def step(self, memory: Memory, x: jax.Array) -> tuple[jax.Array, Memory]:
        """One step of one stream: ``x [F]`` to ``[D]`` and the next memory."""
        features, caches = self.embedding(x), []
        for layer, cache in zip(self.layers, memory.layers, strict=True):
            more, cache = layer.step(cache, memory.time, features)
            features = jnp.concatenate([features, more])
            caches.append(cache)
        return features, Memory(memory.time + 1, tuple(caches))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Whole trials of B streams, ``[T, B, F]`` to ``[T, B, D]``.

        Raises:
          OptionError: for trials longer than ``length``.
        """
        num_steps = x.shape[0]
        allowed = f"at least the {num_steps} steps of a trial"
        check(num_steps <= self.length, "length", self.length, allowed)
        features = self.embedding(x)
        for layer in self.layers:
            features = jnp.concatenate([features, layer(features)], axis=-1)
        return features

    def _unbound_layers(self) -> list[DenseBlock | CausalAttention]:
        layers: list[DenseBlock | CausalAttention] = []
        for kind, *sizes in self.blocks:
            if kind == "tc":
                num_dilations = max(1, (self.length - 1).bit_length())
                dilations = (2**power for power in range(num_dilations))
                layers += [DenseBlock(sizes[0], one, parent=None) for one in dilations]
            else:
                key_size, value_size = sizes
                layers.append(CausalAttention(1, key_size, value_size, self.length, parent=None))
        return layers


def _gated(pre: jax.Array) -> jax.Array:
    candidate, gate = jnp.split(pre, 2, axis=-1)
    return jnp.tanh(candidate) * jax.nn.sigmoid(gate)
