"""SNAIL: dilated causal convolutions and attention."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from metajax.core.options import AtLeast, check, check_number
from metajax.networks.attention import CausalAttention
from metajax.networks.cached_layers import CachedLayers

# Names of the sizes of a block, by kind.
_BLOCKS = {"tc": ("filters",), "attention": ("key_size", "value_size")}


class DenseBlock(nn.Module):
    """A gated causal convolution with a kernel of two steps.

    ``y_t = tanh(f_t) * sigmoid(g_t)`` with ``(f_t, g_t) = A x_t + B x_{t - dilation} + c``,
    where x is zero before the start of a trial.

    Args:
      filters: Output features, D.
      dilation: Distance between the two steps of the kernel.
    """

    filters: int
    dilation: int

    def initial_memory(self) -> jax.Array:
        """The empty cache of one stream: ``[dilation + 1, 2 D]``, ``B x`` of recent steps."""
        return jnp.zeros((self.dilation + 1, 2 * self.filters))

    def step(self, memory: jax.Array, time: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """One step of one stream: ``x [F]`` to ``[D]`` and the next cache."""
        now, later = self._products(x)
        # Write first, then read the new buffer: a read of the old one would make the compiler
        # copy the whole buffer at every step.
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
        """``A x + c``, for the step of ``x``, and ``B x``, for the one ``dilation`` steps later."""
        # One product for both taps of the kernel, scaled by their common fan-in.
        initial = nn.initializers.variance_scaling(0.5, "fan_in", "truncated_normal")
        taps = nn.Dense(4 * self.filters, use_bias=False, kernel_init=initial, name="taps")(x)
        bias = self.param("bias", nn.initializers.zeros, (2 * self.filters,))
        now, later = jnp.split(taps, 2, axis=-1)
        return now + bias, later


class SNAIL(CachedLayers):
    """The simple neural attentive meta-learner (SNAIL).

    A linear layer, followed by blocks that each append their output to the features they
    read. A "tc" block is a sequence of ``DenseBlock`` with dilations 1, 2, 4, ... until the
    receptive field covers the trial; an "attention" block is one head over the whole trial.
    The output is all features, to be read by linear heads.

    ``__call__`` takes trials of at most ``length`` steps. ``step`` may continue past
    ``length``: attention then covers the last ``length`` steps, and the receptive field of
    the convolutions stays the same.

    Source: Mishra et al. (2018), "A simple neural attentive meta-learner", section 3 and the
    appendix on bandits and MDPs; the default is the policy network given there. Deviations: the
    paper has a separate value network with sizes 16; and its pseudocode doubles dilations from 2,
    whereas the receptive field described in its text requires starting from 1.

    Args:
      length: Steps of a trial, T; sets the number of dilations and the cache size.
      input_size: Features of the linear layer.
      blocks: Each ``("tc", filters)`` or ``("attention", key_size, value_size)``.

    Raises:
      OptionError: For a size below 1 or a malformed block.
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

    def __call__(self, x: jax.Array) -> jax.Array:
        """Whole trials of B streams, ``[T, B, F]`` to ``[T, B, D]``.

        Raises:
          OptionError: For trials longer than ``length``.
        """
        allowed = f"at least the {len(x)} steps of a trial"
        check(len(x) <= self.length, "length", self.length, allowed)
        return super().__call__(x)

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

    def _join(self, features: jax.Array, output: jax.Array) -> jax.Array:
        return jnp.concatenate([features, output], axis=-1)


def _gated(pre: jax.Array) -> jax.Array:
    candidate, gate = jnp.split(pre, 2, axis=-1)
    return jnp.tanh(candidate) * jax.nn.sigmoid(gate)
