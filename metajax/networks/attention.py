"""Causal attention to the last steps of a trial, with a cache of keys and values."""

import math
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from metajax.core.options import AtLeast, check, check_number

POSITIONS = ("none", "rotary", "relative")


class Memory(NamedTuple):
    """Memory of one stream of a network of layers with caches.

    Attributes:
      time: int32 scalar, steps since the start of the trial. The same in all streams,
        so that ``vmap`` leaves it alone and a write to a cache stays a slice.
      layers: the cache of each layer.
    """

    time: jax.Array
    layers: tuple[Any, ...]


class KeysAndValues(NamedTuple):
    """Ring buffers of S slots, keys ``[H, S, K]`` and values ``[H, S, V]``, without the
    first axis for a single head; step t is in slot ``t mod S`` until step ``t + S``
    takes its place."""

    keys: jax.Array
    values: jax.Array


class CausalAttention(nn.Module):
    """Multi-head attention of every step to itself and the steps before.

    ``y_t = sum_s softmax_s(q_t . k_s / sqrt(K) + bias(t - s)) v_s`` over the steps s
    with ``0 <= t - s < context``, for each head, the heads side by side.

    Args:
      num_heads: H.
      key_size: K, of the keys and queries of one head.
      value_size: V, of the values of one head.
      context: S, how many steps it sees, the present one included.
      positions: "none"; "rotary" turns queries and keys by angles that grow with
        time (Su et al. 2021, section 3.2.2); "relative" adds a learned bias for each
        head and distance (Raffel et al. 2020, section 2.1, but each distance on its
        own instead of in logarithmic buckets, and not shared between layers).
      max_distance: distances from here on share one bias, for "relative".
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
        # With an axis of length 1 the compiler copies the cache at every step.
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
        """Scaled queries, keys and values: ``[F]`` to ``[H, K]`` each, and ``[B, T, F]`` to
        ``[B, H, T, K]``."""
        heads = self.projection(x).reshape(*x.shape[:-1], self.num_heads, -1)
        if x.ndim > 1:
            heads = jnp.swapaxes(heads, -3, -2)
        query, key, value = jnp.split(heads, (self.key_size, 2 * self.key_size), axis=-1)
        if self.positions == "rotary":
            query, key = rotate(query, time), rotate(key, time)
        return query / math.sqrt(self.key_size), key, value

    def _bias(self, distance: jax.Array) -> jax.Array:
        """``[H, *distance.shape]``; what lies outside the context is masked elsewhere."""
        return jnp.take(self.distance_bias, distance, axis=1, mode="clip")


def rotate(x: jax.Array, position: jax.Array) -> jax.Array:
    """Rotary positions: turns the pairs ``(x_i, x_{i + K/2})`` by ``position * 10000^(-2i/K)``.

    The product of a query and a key then depends on their distance only. Source: Su et
    al. (2021), "RoFormer", section 3.2.2, with halves instead of neighbours paired.

    Args:
      x: ``[..., K]``, K even.
      position: broadcastable to ``x`` without its last axis.
    """
    half = x.shape[-1] // 2
    frequency = 10000.0 ** (-jnp.arange(half, dtype=x.dtype) / half)
    angle = position[..., None] * frequency
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    first, second = x[..., :half], x[..., half:]
    return jnp.concatenate([first * cos - second * sin, first * sin + second * cos], axis=-1)


def toeplitz(by_distance: jax.Array) -> jax.Array:
    """``[H, T]`` to ``[H, T, T]`` with ``[h, t, s] = by_distance[h, t - s]`` where s <= t.

    Entries with s > t have no meaning. Laid out by reshaping, so that the gradient is
    a sum instead of a scatter.
    """
    heads, num_steps = by_distance.shape
    head, tail = by_distance[:, :1], by_distance[:, :0:-1]
    # Rows one shorter than the period: every row begins one entry earlier in it.
    period = jnp.concatenate([head, jnp.zeros_like(head), tail], axis=1)
    rows = jnp.tile(period, (1, num_steps)).reshape(heads, num_steps + 1, num_steps)
    return rows[:, :num_steps]


def _softmax(scores: jax.Array, seen: jax.Array) -> jax.Array:
    return jax.nn.softmax(jnp.where(seen, scores, -jnp.inf), axis=-1)
