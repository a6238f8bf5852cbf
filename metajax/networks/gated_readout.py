"""A recurrent memory with a readout gated by the input."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp


class GatedReadout(nn.Module):
    """A recurrent memory between two dense layers, with a readout gated by the input.

    The readout layer sees the hidden state h and ``h * 2 sigmoid(W x + b)``, the part of h that the
    input x selects. Experience with each state and action can thus be stored in separate units and
    looked up when the state recurs; a layer on h alone would read the same units at every step.

    The gate is the output gate of Hochreiter and Schmidhuber (1997) without its dependence
    on the hidden state. Both dense layers are rectified; kernels start LeCun-normal.

    Args:
      memory: A ``GRU`` or ``LSTM``.
      size: Units of each dense layer, F.
    """

    memory: nn.Module
    size: int = 128

    def setup(self) -> None:
        self.encoder = nn.Dense(self.size)
        self.gate = nn.Dense(self.memory.size)  # type: ignore[attr-defined]
        self.readout = nn.Dense(self.size)

    def initial_memory(self) -> Any:
        """The initial memory of ``memory``."""
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
        selected = hidden * 2 * nn.sigmoid(self.gate(x))
        return nn.relu(self.readout(jnp.concatenate([hidden, selected], axis=-1)))
