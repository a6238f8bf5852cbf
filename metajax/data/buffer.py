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
    """A stored step, or a batch of them.

    Attributes:
      observation: ``[O]``, in the family's dtype.
      action: Int32 scalar.
      reward: Float32 scalar.
      terminated, truncated: Bool; how the episode ended with the step.
      next_observation: ``[O]``, the observation that the step led to before any reset.
      weight: Weight of the step's error in a loss. None: all steps count the same.
    """

    observation: jax.Array
    action: jax.Array
    reward: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    next_observation: jax.Array
    weight: Any = None


class Replay(NamedTuple):
    """Uniform replay of stretches of experience.

    Attributes:
      init: ``() -> buffer``.
      add: ``(buffer, chunk) -> buffer``; the newest transitions replace the oldest.
      noise: ``(key) -> noise`` of one sample.
      sample: ``(noise, buffer) -> Transition`` with leaves ``[n, B, ...]``: B stretches of n
        successive steps of one stream.
      ready: ``(buffer) -> bool``, whether there is enough to learn from.
      num_bytes: Size of one buffer in bytes.
      num_streams: E of the chunks to store.
    """

    init: Callable[[], Tree]
    add: Callable[[Tree, Chunk], Tree]
    noise: Callable[[Key], jax.Array]
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
      spec: Spec of a family with ``Discrete`` actions.
      num_streams: E.
      capacity: Number of transitions in a full buffer, all streams together.
      batch_size: B.
      num_steps: n.
      learning_starts: Number of transitions before the first sample.
      extra: Number of further transitions to make room for, not counted in ``capacity``.
      name: Option that sets the capacity, for error messages.

    Raises:
      OptionError: for a capacity below what has to be stored.
    """
    length = (capacity + extra) // num_streams
    needed = max(num_steps, math.ceil(learning_starts / num_streams))

    def check_length(needed: int, problem: str) -> None:
        if length < needed:
            raise OptionError(
                name,
                f"{capacity} holds {capacity // num_streams} steps of each of {num_streams} "
                f"streams, {problem}; allowed: at least {needed * num_streams - extra}",
            )

    check_length(needed, "too few to learn from")
    buffer = flashbax.make_trajectory_buffer(
        add_batch_size=num_streams,
        max_length_time_axis=length,
        min_length_time_axis=needed,
        sample_batch_size=batch_size,
        sample_sequence_length=num_steps,
        period=1,
    )
    example = blank_step(spec)

    def add(state, chunk):
        check_streams(chunk, num_streams)
        between = chunk.mask.shape[0]
        check_length(between, f"fewer than the {between} between two adaptations (num_steps)")
        return buffer.add(state, jax.lax.stop_gradient(rows_of(chunk, example)))

    return Replay(
        init=lambda: buffer.init(example),
        add=add,
        noise=lambda key: jax.random.uniform(key, (2, batch_size), jnp.float32),
        sample=lambda noise, state: stretches(noise, state, num_steps),
        ready=buffer.can_sample,
        num_bytes=length * num_streams * sum(leaf.nbytes for leaf in jax.tree.leaves(example)),
        num_streams=num_streams,
    )


def blank_step(spec: Spec) -> Transition:
    """Zeros with the shapes and dtypes of a stored step."""
    observation = jnp.zeros(spec.observation_shape, spec.observation_dtype)
    no = jnp.zeros((), bool)
    return Transition(
        observation, jnp.zeros((), jnp.int32), jnp.zeros((), jnp.float32), no, no, observation
    )


def rows_of(chunk: Chunk, example: Transition) -> Transition:
    """The steps of a chunk as rows of a buffer, ``[E, T, ...]``, in the dtypes of ``example``."""
    steps = Transition(*(getattr(chunk, name) for name in Transition._fields[:-1]))
    return jax.tree.map(
        lambda leaf, stored: jnp.swapaxes(leaf, 0, 1).astype(stored.dtype), steps, example
    )


def stretches(noise: jax.Array, state: Tree, num_steps: int) -> Transition:
    """Stretches of a buffer, ``[n, B, ...]``, as flashbax samples them but from drawn noise.

    Args:
      noise: ``[2, B]``, uniform in [0, 1): the stream of each stretch, and its start.
      state: Buffer of flashbax, leaves ``[E, length, ...]``.
      num_steps: n.
    """
    num_streams, length = state.experience.reward.shape
    filled = jnp.where(state.is_full, length, state.current_index)
    oldest = jnp.where(state.is_full, state.current_index, 0)
    starts = filled - num_steps + 1
    row = jnp.minimum((noise[0] * num_streams).astype(jnp.int32), num_streams - 1)
    start = jnp.minimum((noise[1] * starts).astype(jnp.int32), starts - 1)
    times = (oldest + start + jnp.arange(num_steps)[:, None]) % length
    return jax.tree.map(lambda leaf: leaf[row, times], state.experience)


def check_streams(chunk: Chunk, num_streams: int) -> None:
    """Raises OptionError for a chunk whose streams are not the rows of a buffer."""
    streams = chunk.mask.shape[1]
    if streams != num_streams:
        raise OptionError(
            "num_streams",
            f"{streams} is not possible; allowed: {num_streams}, the rows of the replay buffer",
        )
