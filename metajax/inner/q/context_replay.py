"""Replay whose samples are windows: Q-learning that depends on a context."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from metajax.core.family import Tree
from metajax.core.types import ActorInput, Chunk
from metajax.data.buffer import Replay, Transition, check_streams, uniform_replay
from metajax.inner.q.context import Windows, real, windows_of


class ContextReplay(NamedTuple):
    """Replay of stretches with the steps before them.

    Attributes:
      windows: The windows of the family.
      steps: Replay of single steps ``[F]``, in stretches of C - 1 + n.
    """

    windows: Windows
    steps: Replay

    @property
    def replay(self) -> Replay:
        """The replay of windows, whose buffers begin with a trial.

        Samples have windows ``[n, B, C, F]`` for observations, and a weight of 0 for stretches
        that begin with a blank.
        """
        return self.steps._replace(
            init=lambda: self.open(self.empty()),
            add=self.add,
            sample=lambda noise, buffer: self.in_windows(self.stretches(noise, buffer)),
        )

    @property
    def num_bytes(self) -> int:
        """Size of one buffer in bytes."""
        return self.steps.num_bytes

    def empty(self) -> Tree:
        """A buffer without a trial, to be opened."""
        return self.steps.init()

    def open(self, buffer: Tree) -> Tree:
        """The buffer at the start of a new trial in every stream."""
        stored, last = buffer.experience, newest(buffer)
        cut = stored.truncated[:, last] | (real(stored.observation[:, last]) > 0)
        stored = stored._replace(truncated=stored.truncated.at[:, last].set(cut))
        buffer = buffer.replace(experience=stored)
        shape = num_blanks(self.windows), self.steps.num_streams
        nothing = jnp.zeros((*shape, *self.windows.step_spec.observation_shape))
        zeros, no = jnp.zeros(shape), jnp.zeros(shape, bool)
        blank = Chunk(nothing, zeros, zeros, no, no, no, zeros, next_observation=nothing)
        return self.steps.add(buffer, blank)

    def add(self, buffer: Tree, chunk: Chunk) -> Tree:
        """The buffer with the steps of a chunk, which goes on where the last one stopped."""
        check_streams(chunk, self.steps.num_streams)
        last = jax.tree.map(lambda leaf: leaf[:, newest(buffer)], buffer.experience)
        seen = self.windows.steps(inputs_after(last, chunk))
        reached = self.windows.reached(chunk)
        return self.steps.add(buffer, chunk._replace(observation=seen, next_observation=reached))

    def stretches(self, noise: jax.Array, buffer: Tree) -> Transition:
        """Stored steps as they are, ``[C - 1 + n, B, ...]``.

        Args:
          noise: ``[2, B]`` for any B, uniform in [0, 1).
          buffer: The buffer.
        """
        return self.steps.sample(noise, buffer)

    def in_windows(self, stretches: Transition) -> Transition:
        """Stretches ``[C - 1 + n, B, ...]`` as n transitions between windows."""
        before = self.windows.length - 1
        now, then = windows_of(
            stretches.observation, stretches.next_observation[before:], self.windows.length
        )
        late = jax.tree.map(lambda leaf: leaf[before:], stretches._replace(weight=None))
        return late._replace(
            observation=now, next_observation=then, weight=real(late.observation[0])
        )


def context_replay(
    windows: Windows,
    *,
    num_streams: int,
    capacity: int,
    batch_size: int,
    num_steps: int = 1,
    learning_starts: int = 1,
    num_trials: int = 1,
    name: str = "buffer_size",
) -> ContextReplay:
    """A uniform replay of windows.

    A trial is stored behind C - 1 blanks, but at least one, so that every window, its first
    ones included, is there as the learner had it when it acted; and its last step is stored as
    cut off when the next one begins, so that no stretch reads on into that. Steps are stored
    as float32 vectors, whatever the observations of the family are.

    Args:
      windows: The windows of the family.
      num_streams, batch_size, num_steps, learning_starts, name: See ``uniform_replay``.
      capacity: Number of transitions in a full buffer, all streams together; blanks come on top.
      num_trials: Number of trials of a stream in so many transitions, for their blanks.

    Raises:
      OptionError: for a capacity below what has to be stored.
    """
    blanks = num_blanks(windows) * num_streams
    steps = uniform_replay(
        windows.step_spec,
        num_streams=num_streams,
        capacity=capacity,
        batch_size=batch_size,
        num_steps=windows.length - 1 + num_steps,
        learning_starts=max(learning_starts, num_steps * num_streams) + blanks,
        extra=blanks * num_trials,
        name=name,
    )
    return ContextReplay(windows, steps)


def num_blanks(windows: Windows) -> int:
    """Number of blanks before a trial."""
    return max(windows.length - 1, 1)


def newest(buffer: Tree) -> jax.Array:
    """Place of the newest steps of a buffer."""
    return (buffer.current_index - 1) % buffer.experience.reward.shape[1]


def inputs_after(last: Transition, chunk: Chunk) -> ActorInput:
    """Inputs ``[T, E, ...]`` of the decisions of a chunk.

    Args:
      last: ``[E, ...]``, the steps stored before the chunk, in the form of windows; a blank
        before the first step of a trial.
      chunk: The chunk.
    """
    going_on = real(last.observation) > 0

    def shifted(first, leaf):
        return jnp.concatenate([first[None].astype(leaf.dtype), leaf[:-1]])

    return ActorInput(
        observation=chunk.observation,
        last_action=shifted(jnp.where(going_on, last.action, -1), chunk.action),
        last_reward=shifted(jnp.where(going_on, last.reward, 0), chunk.reward),
        start=shifted(last.terminated | last.truncated | ~going_on, chunk.done),
    )
