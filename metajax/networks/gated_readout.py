"""A recurrent memory that is asked about the step at hand."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp


class GatedReadout(nn.Module):
    """A recurrent memory between two layers, the second of which the input can ask.

    A layer on the hidden state h alone says the same whatever the step is about. Here it
    reads h and ``h * 2 sigmoid(W x + b)``: the part of h that the input x selects. What was
    seen of each state and action can then be kept in units of its own and looked up when
    the state comes again.

    The gate is the output gate of Hochreiter and Schmidhuber (1997) without the hidden
    state. Both layers are rectified, and kernels start LeCun-normal as flax's do.

    Args:
      memory: a ``GRU`` or ``LSTM``.
      size: F, units of each of the two layers.
    """

    memory: nn.Module
    size: int = 128

    def setup(self) -> None:
        self.encoder = nn.Dense(self.size)
        self.gate = nn.Dense(self.memory.size)  # type: ignore[attr-defined]
        self.readout = nn.Dense(self.size)

    def initial_memory(self) -> Any:
        """That of the memory."""
        return self.memory.initial_memory()  # type: ignore[attr-defined]

    def step(self, memory: Any, x: jax.Array) -> tuple[jax.Array, Any]:
        """One step of one stream: ``x [I]`` to ``[F]`` and the next memory."""
        hidden, memory = self.memory.step(memory, self._encoded(x))  # type: ignore[attr-defined]
        return self._read(hidden, x), memory

    def __call__(self, xs: jax.Array) -> jax.Array:
        """Whole trials of B streams, ``[T, B, I]`` to ``[T, B, F]``."""
        return self._read(self.memory(self._encoded(xs)), xs)

    def _encoded(self, x):
        return nn.relu(self.encoder(x))

    def _read(self, hidden, x):
        asked = hidden * 2 * nn.sigmoid(self.gate(x))
        return nn.relu(self.readout(jnp.concatenate([hidden, asked], axis=-1)))
