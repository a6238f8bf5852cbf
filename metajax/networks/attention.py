"""Causal attention over a window of a trial, with a cache of keys and values."""

import math
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from metajax.core.options import AtLeast, check, check_number

POSITIONS = ("none", "rotary", "relative")


class KeysAndValues(NamedTuple):
    """Cache of one stream: ring buffers with slot ``t mod S`` for step t.

    Attributes:
      keys, values: ``[H, S, K]`` and ``[H, S, V]``, without the axis H for a single head.
    """

    keys: jax.Array
    values: jax.Array


class CausalAttention(nn.Module):
    """Multi-head causal attention over the last ``context`` steps.

    ``y_t = sum_s softmax_s(q_t . k_s / sqrt(K) + bias(t - s)) v_s`` over the steps s with
    ``0 <= t - s < context``; the outputs of the heads are concatenated.

    Args:
      num_heads: Number of heads, H.
      key_size: Size of keys and queries of one head, K.
      value_size: Size of values of one head, V.
      context: Window length S in steps, the current one included.
      positions: ``"none"``; ``"rotary"`` rotates queries and keys by angles proportional to
        time (Su et al. 2021, section 3.2.2); ``"relative"`` adds a learned bias per head
        and distance (Raffel et al. 2020, section 2.1; deviation: one bias per distance
        instead of per logarithmic bucket, and none shared between layers).
      max_distance: First distance that shares one bias with all larger ones, for ``"relative"``.

    Raises:
      OptionError: For a size below 1, unknown positions, or an odd ``key_size`` with ``"rotary"``.
    """

    num_heads: int
    key_size: int
    value_size: int
    context: int
    positions: str = "none"
    max_distance: int = 128

    def __post_init__(self) -> None:
        for name in ("num_heads", "key_size", "value_size", "context", "max_distance"):
            check_number(name, getattr(self, name), AtLeast(1))
        check(self.positions in POSITIONS, "positions", self.positions, ", ".join(POSITIONS))
        if self.positions == "rotary":
            check(self.key_size % 2 == 0, "key_size", self.key_size, "an even number, for rotary")
        super().__post_init__()

    def setup(self) -> None:
        self.projection = nn.Dense(self.num_heads * (2 * self.key_size + self.value_size))
        if self.positions == "relative":
            shape = (self.num_heads, min(self.max_distance + 1, self.context))
            self.distance_bias = self.param("distance_bias", nn.initializers.zeros, shape)

    def initial_memory(self) -> KeysAndValues:
        """The empty cache of one stream."""
        # An axis of length 1 would make the compiler copy the cache at every step.
        heads = (self.num_heads,) if self.num_heads > 1 else ()
        return KeysAndValues(
            keys=jnp.zeros((*heads, self.context, self.key_size)),
            values=jnp.zeros((*heads, self.context, self.value_size)),
        )

    def step(
        self, memory: KeysAndValues, time: jax.Array, x: jax.Array
    ) -> tuple[jax.Array, KeysAndValues]:
        """One step of one stream: ``x [F]`` to ``[H V]`` and the next cache."""
        query, key, value = self._project(x, time)
        if self.num_heads == 1:
            query, key, value = query[0], key[0], value[0]
        slot = time % self.context

        def write(ring, row):
            row = row[..., None, :].astype(ring.dtype)
            return jax.lax.dynamic_update_slice_in_dim(ring, row, slot, axis=-2)

        memory = KeysAndValues(write(memory.keys, key), write(memory.values, value))
        distance = (time - jnp.arange(self.context)) % self.context
        scores = jnp.einsum("...k,...sk->...s", query, memory.keys)
        if self.positions == "relative":
            scores += self._bias(distance).reshape(scores.shape)
        weights = _softmax(scores, distance <= time)
        return jnp.einsum("...s,...sv->...v", weights, memory.values).reshape(-1), memory

    def __call__(self, x: jax.Array) -> jax.Array:
        """Whole trials of B streams, ``[T, B, F]`` to ``[T, B, H V]``."""
        num_steps, batch_size = x.shape[:2]
        time = jnp.arange(num_steps)
        query, key, value = self._project(jnp.swapaxes(x, 0, 1), time)
        distance = time[:, None] - time
        scores = jnp.einsum("bhtk,bhsk->bhts", query, key)
        if self.positions == "relative":
            scores += toeplitz(self._bias(time))
        weights = _softmax(scores, (distance >= 0) & (distance < self.context))
        out = jnp.einsum("bhts,bhsv->bhtv", weights, value)
        return out.transpose(2, 0, 1, 3).reshape(num_steps, batch_size, -1)

    def _project(self, x: jax.Array, time: jax.Array) -> tuple[jax.Array, ...]:
        """Scaled queries, keys and values of the heads.

        ``x [F]`` gives ``[H, K]`` (values ``[H, V]``), ``x [B, T, F]`` gives ``[B, H, T, K]``.
        """
        heads = self.projection(x).reshape(*x.shape[:-1], self.num_heads, -1)
        if x.ndim > 1:
            heads = jnp.swapaxes(heads, -3, -2)
        query, key, value = jnp.split(heads, (self.key_size, 2 * self.key_size), axis=-1)
        if self.positions == "rotary":
            query, key = rotate(query, time), rotate(key, time)
        return query / math.sqrt(self.key_size), key, value

    def _bias(self, distance: jax.Array) -> jax.Array:
        """Bias ``[H, *distance.shape]``; distances outside the window are masked elsewhere."""
        return jnp.take(self.distance_bias, distance, axis=1, mode="clip")


def rotate(x: jax.Array, position: jax.Array) -> jax.Array:
    """Rotary embedding: pairs ``(x_i, x_{i+K/2})`` rotated by ``position * 10000^(-2i/K)``.

    The product of a query and a key then depends on their positions only through the distance.

    Source: Su et al. (2021), "RoFormer", section 3.2.2. Deviation: pairs take one element
    from each half instead of neighbours.

    Args:
      x: ``[..., K]``, K even.
      position: Array that broadcasts to the shape of ``x`` without its last axis.
    """
    half = x.shape[-1] // 2
    frequency = 10000.0 ** (-jnp.arange(half, dtype=x.dtype) / half)
    angle = position[..., None] * frequency
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    first, second = x[..., :half], x[..., half:]
    return jnp.concatenate([first * cos - second * sin, first * sin + second * cos], axis=-1)


def toeplitz(by_distance: jax.Array) -> jax.Array:
    """Toeplitz matrices ``[H, T, T]`` with ``[h, t, s] = by_distance[h, t - s]`` for s <= t.

    Entries with s > t are arbitrary; ``by_distance`` is ``[H, T]``. The matrices are built by
    reshaping, which makes the gradient a sum instead of a scatter.
    """
    heads, num_steps = by_distance.shape
    head, tail = by_distance[:, :1], by_distance[:, :0:-1]
    # Rows are one shorter than the period, so each row begins one entry earlier in it.
    period = jnp.concatenate([head, jnp.zeros_like(head), tail], axis=1)
    rows = jnp.tile(period, (1, num_steps)).reshape(heads, num_steps + 1, num_steps)
    return rows[:, :num_steps]


def _softmax(scores: jax.Array, seen: jax.Array) -> jax.Array:
    return jax.nn.softmax(jnp.where(seen, scores, -jnp.inf), axis=-1)
