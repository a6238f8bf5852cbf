"""The replay buffer of one task."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import flashbax
import jax
import jax.numpy as jnp

from metajax.core.family import Key, Spec, Tree
from metajax.core.options import OptionError
from metajax.core.types import Chunk


class Transition(NamedTuple):
    """What is kept of a step.

    Attributes:
      observation: ``[O]``, in its own dtype.
      action: int32 scalar.
      reward: float32 scalar.
      terminated, truncated: bool, how the episode ended with it.
      next_observation: ``[O]``, where it led before any reset.
      weight: of its error in a loss, which not every replay gives; ``()`` counts all alike.
    """

    observation: Any
    action: Any
    reward: Any
    terminated: Any
    truncated: Any
    next_observation: Any
    weight: Any = ()


class Replay(NamedTuple):
    """Uniform replay of stretches of experience, as pure functions.

    Attributes:
      init: ``() -> buffer``.
      add: ``(buffer, chunk) -> buffer``; the oldest transitions give way.
      draw: ``(key) ->`` the randomness of one sample.
      sample: ``(draws, buffer) -> Transition`` with leaves ``[n, B, ...]``, B stretches of
        n steps in a row of one stream.
      ready: ``(buffer) ->`` whether there is enough to learn from.
      num_bytes: of one buffer.
      num_streams: E of the chunks it takes.
    """

    init: Callable[[], Tree]
    add: Callable[[Tree, Chunk], Tree]
    draw: Callable[[Key], jax.Array]
    sample: Callable[[jax.Array, Tree], Transition]
    ready: Callable[[Tree], jax.Array]
    num_bytes: int
    num_streams: int


def uniform_replay(
    spec: Spec,
    *,
    num_streams: int,
    capacity: int,
    batch_size: int,
    num_steps: int = 1,
    learning_starts: int = 1,
    extra: int = 0,
    name: str = "buffer_size",
) -> Replay:
    """A buffer of flashbax.

    Args:
      spec: of a family with ``Discrete`` actions.
      num_streams: E.
      capacity: transitions it holds, over all streams.
      batch_size: B.
      num_steps: n.
      learning_starts: transitions before the first sample.
      extra: what it holds besides, for a use of the caller's own.
      name: of the option that is the capacity, for errors.

    Raises:
      OptionError: for a capacity that cannot hold what has to be in it.
    """
    length = (capacity + extra) // num_streams
    needed = max(num_steps, math.ceil(learning_starts / num_streams))
    if length < needed:
        raise OptionError(
            name,
            f"{capacity} holds {capacity // num_streams} steps of each of {num_streams} streams, "
            f"too few to learn from; allowed: at least {needed * num_streams - extra}",
        )
    buffer = flashbax.make_trajectory_buffer(
        add_batch_size=num_streams,
        max_length_time_axis=length,
        min_length_time_axis=needed,
        sample_batch_size=batch_size,
        sample_sequence_length=num_steps,
        period=1,
    )
    observation = jnp.zeros(spec.observation_shape, spec.observation_dtype)
    no = jnp.zeros((), bool)
    example = Transition(
        observation, jnp.zeros((), jnp.int32), jnp.zeros((), jnp.float32), no, no, observation
    )

    def add(state, chunk):
        check_streams(chunk, num_streams)
        if chunk.mask.shape[0] > length:
            raise OptionError(
                name,
                f"{capacity} holds {capacity // num_streams} steps of each of {num_streams} "
                f"streams, fewer than the {chunk.mask.shape[0]} between two adaptations "
                f"(num_steps); allowed: at least {chunk.mask.shape[0] * num_streams - extra}",
            )
        steps = Transition(*(getattr(chunk, name) for name in Transition._fields[:-1]))
        steps = jax.tree.map(
            lambda leaf, kept: jnp.swapaxes(leaf, 0, 1).astype(kept.dtype), steps, example
        )
        return buffer.add(state, jax.lax.stop_gradient(steps))

    def draw(key):
        return jax.random.uniform(key, (2, batch_size), jnp.float32)

    # As flashbax samples, but from numbers that were drawn before the loop.
    def sample(draws, state):
        filled = jnp.where(state.is_full, length, state.current_index)
        oldest = jnp.where(state.is_full, state.current_index, 0)
        starts = filled - num_steps + 1
        row = jnp.minimum((draws[0] * num_streams).astype(jnp.int32), num_streams - 1)
        start = jnp.minimum((draws[1] * starts).astype(jnp.int32), starts - 1)
        times = (oldest + start + jnp.arange(num_steps)[:, None]) % length
        return jax.tree.map(lambda leaf: leaf[row, times], state.experience)

    each = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(example))
    return Replay(
        init=lambda: buffer.init(example),
        add=add,
        draw=draw,
        sample=sample,
        ready=buffer.can_sample,
        num_bytes=each * length * num_streams,
        num_streams=num_streams,
    )


def check_streams(chunk: Chunk, num_streams: int) -> None:
    """Raises OptionError for a chunk whose streams are not the rows of a buffer."""
    streams = chunk.mask.shape[1]
    if streams != num_streams:
        raise OptionError(
            "num_streams",
            f"{streams} is not possible; allowed: {num_streams}, the rows of the replay buffer",
        )
