"""GRU and LSTM memories, with a backward pass made for long trials."""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from metajax.core.layout import platform

# Rows per matrix product in the gradient of the weights on a CPU: enough for full speed,
# few enough for the operands to stay in cache.
_CHUNK_ROWS = 320


class Gates(NamedTuple):
    """A recurrent cell without its weights.

    Attributes:
      names: Names of the pre-activations, each ``[B, H]``.
      from_input: Names of the pre-activations fed by the input.
      from_hidden: Names of the pre-activations fed by the hidden state.
      update: ``(carry, pre-activations) -> carry``, elementwise. A carry is a tuple of
        ``[B, H]`` with the hidden state first.
      carries: Number of arrays in a carry.
    """

    names: tuple[str, ...]
    from_input: tuple[str, ...]
    from_hidden: tuple[str, ...]
    update: Callable[[Any, tuple[jax.Array, ...]], Any]
    carries: int


def _gru(carry, pre):
    (hidden,) = carry
    reset, update, new_input, new_hidden = pre
    candidate = jnp.tanh(new_input + jax.nn.sigmoid(reset) * new_hidden)
    keep = jax.nn.sigmoid(update)
    return ((1 - keep) * candidate + keep * hidden,)


def _lstm(carry, pre):
    _, cell = carry
    enter, forget, candidate, leave = pre
    cell = jax.nn.sigmoid(forget) * cell + jax.nn.sigmoid(enter) * jnp.tanh(candidate)
    return jax.nn.sigmoid(leave) * jnp.tanh(cell), cell


GRU_GATES = Gates(
    names=("reset", "update", "new_input", "new_hidden"),
    from_input=("reset", "update", "new_input"),
    from_hidden=("reset", "update", "new_hidden"),
    update=_gru,
    carries=1,
)
_LSTM_NAMES = ("enter", "forget", "candidate", "leave")
LSTM_GATES = Gates(_LSTM_NAMES, _LSTM_NAMES, _LSTM_NAMES, _lstm, carries=2)


class Weights(NamedTuple):
    """Weights of a cell with G gates, GI fed by the input and GH by the hidden state.

    Attributes:
      input: ``[F, GI H]``.
      hidden: ``[H, GH H]``.
      bias: ``[G H]``.
    """

    input: jax.Array
    hidden: jax.Array
    bias: jax.Array


def cell_step(gates: Gates, weights: Weights, carry: Any, x: jax.Array) -> tuple[Any, Any]:
    """One step of a cell on ``x [..., F]``: the next carry and the pre-activations."""
    return _fed_step(gates, weights, carry, x @ weights.input)


def _fed_step(gates: Gates, weights: Weights, carry: Any, fed: jax.Array) -> tuple[Any, Any]:
    """``cell_step``, given the product of input and weights, ``fed [..., GI H]``."""

    def parts(names, array):
        return dict(zip(names, jnp.split(array, len(names), axis=-1), strict=True))

    of_input = parts(gates.from_input, fed)
    of_hidden = parts(gates.from_hidden, carry[0] @ weights.hidden)
    biases = parts(gates.names, weights.bias)
    pre = tuple(
        sum((fed[name] for fed in (of_input, of_hidden) if name in fed), start=biases[name])
        for name in gates.names
    )
    return gates.update(carry, pre), pre


def unroll(gates: Gates, weights: Weights, start: Any, xs: jax.Array) -> jax.Array:
    """The hidden states of a cell over whole trials.

    Automatic differentiation of the loop would add a product of thin matrices to the
    gradient of the weights at every step. Here the backward loop carries only the gradient
    of the carry, and the gradient of the weights over several steps is one product, computed
    while its operands are still in cache.

    Args:
      gates, weights: The cell.
      start: Carry before the first step, a tuple of ``[B, H]``.
      xs: Inputs ``[T, B, F]``; the result is ``[T, B, H]``.
    """
    return _unroll(gates, weights, start, xs)


class _Recurrent(nn.Module):
    """A recurrent memory; see ``GRU`` and ``LSTM``."""

    size: int = 128

    gates: ClassVar[Gates]

    def initial_memory(self) -> tuple[jax.Array, ...]:
        """The carry of one stream at the start of a trial, each ``[H]``: zeros."""
        return (jnp.zeros(self.size),) * self.gates.carries

    def step(self, memory: Any, x: jax.Array) -> tuple[jax.Array, Any]:
        """One step of one stream: ``x [F]`` to ``[H]`` and the next memory."""
        after, _ = cell_step(self.gates, self.weights(x.shape[-1]), memory, x)
        return after[0], after

    def __call__(self, xs: jax.Array) -> jax.Array:
        """Whole trials of B streams, ``[T, B, F]`` to ``[T, B, H]``."""
        start = tuple(
            jnp.broadcast_to(leaf, (xs.shape[1], self.size)) for leaf in self.initial_memory()
        )
        return unroll(self.gates, self.weights(xs.shape[-1]), start, xs)

    @nn.compact
    def weights(self, num_inputs: int) -> Weights:
        """The weights of the cell, for inputs ``[F]``."""

        def stacked(initializer, names, rows):
            def init(key):
                keys = jax.random.split(key, len(names))
                parts = [initializer(one, (rows, self.size)) for one in keys]
                return jnp.concatenate(parts, axis=-1)

            return init

        gates = self.gates
        lecun, orthogonal = nn.initializers.lecun_normal(), nn.initializers.orthogonal()
        return Weights(
            input=self.param("input", stacked(lecun, gates.from_input, num_inputs)),
            hidden=self.param("hidden", stacked(orthogonal, gates.from_hidden, self.size)),
            bias=self.param("bias", nn.initializers.zeros, (len(gates.names) * self.size,)),
        )


class GRU(_Recurrent):
    """Gated recurrent unit, the memory of RL2.

    The cell of Cho et al. (2014) in the variant of cuDNN and flax: the reset gate acts on the
    product of hidden state and weights. Input kernels start LeCun-normal and hidden kernels
    orthogonal, as in flax.

    Args:
      size: Size of the hidden state, H.
    """

    gates: ClassVar[Gates] = GRU_GATES


class LSTM(_Recurrent):
    """Long short-term memory (Hochreiter and Schmidhuber 1997), with forget gates.

    Args:
      size: Size of the hidden state and of the cell state, H.
    """

    gates: ClassVar[Gates] = LSTM_GATES


def _stay_in_cache() -> bool:
    """Whether to multiply a few steps at a time, with operands in cache.

    On a CPU this is faster than one product over all steps; accelerators need few, large products.
    """
    return platform() == "cpu"


def _run(gates, weights, start, xs):
    together = not _stay_in_cache()

    def step(carry, x):
        fed = x if together else x @ weights.input
        after, pre = _fed_step(gates, weights, carry, fed)
        return after, (after[0], carry, pre)

    return jax.lax.scan(step, start, xs @ weights.input if together else xs)[1]


def _forward(gates, weights, start, xs):
    hidden, before, pre = _run(gates, weights, start, xs)
    return hidden, (weights, xs, before, pre)


def _backward(gates, residuals, hidden_bar):
    weights, xs, before, pre = residuals
    transposed = weights.hidden.T

    def feeding(names, bars):
        return jnp.concatenate([bars[gates.names.index(name)] for name in names], axis=-1)

    def step(carry_bar, now):
        carry, pre, bar = now
        carry_bar = (carry_bar[0] + bar, *carry_bar[1:])
        carry_bar, pre_bar = jax.vjp(gates.update, carry, pre)[1](carry_bar)
        back = feeding(gates.from_hidden, pre_bar) @ transposed
        return (carry_bar[0] + back, *carry_bar[1:]), pre_bar

    def chunk(state, now):
        carry_bar, sums = state
        xs, *rest = now
        carry_bar, bars = jax.lax.scan(step, carry_bar, tuple(rest), reverse=True)
        into_input, into_hidden = (
            _rows(feeding(names, bars)) for names in (gates.from_input, gates.from_hidden)
        )
        parts = Weights(
            input=_rows(xs).T @ into_input,
            hidden=_rows(rest[0][0]).T @ into_hidden,
            bias=jnp.concatenate([jnp.sum(bar, axis=(0, 1)) for bar in bars]),
        )
        xs_bar = (into_input @ weights.input.T).reshape(xs.shape)
        return (carry_bar, jax.tree.map(jnp.add, sums, parts)), xs_bar

    num_steps, batch_size = xs.shape[:2]
    limit = max(1, min(num_steps, _CHUNK_ROWS // batch_size)) if _stay_in_cache() else num_steps
    size = max(one for one in range(1, limit + 1) if num_steps % one == 0)
    chunks = jax.tree.map(
        lambda leaf: leaf.reshape(num_steps // size, size, *leaf.shape[1:]),
        (xs, before, pre, hidden_bar),
    )
    zeros = jax.tree.map(lambda leaf: jnp.zeros_like(leaf[0]), before)
    sums = jax.tree.map(jnp.zeros_like, weights)
    (start_bar, weights_bar), xs_bar = jax.lax.scan(chunk, (zeros, sums), chunks, reverse=True)
    return weights_bar, start_bar, xs_bar.reshape(xs.shape)


def _rows(leaf: jax.Array) -> jax.Array:
    return leaf.reshape(-1, leaf.shape[-1])


_unroll = jax.custom_vjp(lambda gates, *arguments: _run(gates, *arguments)[0], nondiff_argnums=(0,))
_unroll.defvjp(_forward, _backward)
