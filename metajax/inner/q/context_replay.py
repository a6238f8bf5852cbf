"""Replay whose samples are windows: Q-learning that depends on a context."""

from collections.abc import Callable
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
      replay: whose ``sample`` gives windows, ``[n, B, C, F]`` where there were observations,
        and a weight of 0 for what never happened.
        Its buffers begin with a trial.
      empty: ``() -> buffer`` without one, to be opened.
      open: ``(buffer) -> buffer`` in which a new trial begins in every stream.
      stretches: ``(draws, buffer) ->`` stored steps as they are, ``[C - 1 + n, B, ...]``, for
        draws ``[2, B]`` of any B, uniform in [0, 1).
      windows: ``(stretches) ->`` what ``replay.sample`` makes of them.
    """

    replay: Replay
    empty: Callable[[], Tree]
    open: Callable[[Tree], Tree]
    stretches: Callable[[jax.Array, Tree], Transition]
    windows: Callable[[Transition], Transition]

    @property
    def num_bytes(self) -> int:
        """Of one buffer."""
        return self.replay.num_bytes


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
    """A uniform replay of steps, as ``metajax.inner.q.context`` has them.

    A trial is stored behind C - 1 blanks, but at least one, so that every window, its first
    ones included, is there as the learner had it when it acted; and its last step is stored as
    cut off when the next one begins, so that no stretch reads on into that. Steps are stored
    as float32 vectors, whatever the observations of the family are.

    Args:
      windows: of the family.
      num_streams, batch_size, num_steps, learning_starts, name: see ``uniform_replay``.
      capacity: transitions it holds, over all streams; blanks come on top.
      num_trials: that a stream goes through in those, for their blanks.

    Raises:
      OptionError: for a capacity that cannot hold what has to be in it.
    """
    before = windows.length - 1
    num_blanks = max(before, 1)
    blanks = num_blanks * num_streams
    steps = uniform_replay(
        windows.step_spec,
        num_streams=num_streams,
        capacity=capacity,
        batch_size=batch_size,
        num_steps=before + num_steps,
        learning_starts=max(learning_starts, num_steps * num_streams) + blanks,
        extra=blanks * num_trials,
        name=name,
    )

    def newest(buffer):
        return (buffer.current_index - 1) % buffer.experience.reward.shape[1]

    def opened(buffer):
        stored, last = buffer.experience, newest(buffer)
        cut = stored.truncated[:, last] | (real(stored.observation[:, last]) > 0)
        stored = stored._replace(truncated=stored.truncated.at[:, last].set(cut))
        buffer = buffer.replace(experience=stored)
        shape = num_blanks, num_streams
        nothing = jnp.zeros((*shape, *windows.step_spec.observation_shape))
        zeros, no = jnp.zeros(shape), jnp.zeros(shape, bool)
        blank = Chunk(nothing, zeros, zeros, no, no, no, zeros, (), next_observation=nothing)
        return steps.add(buffer, blank)

    def add(buffer, chunk):
        check_streams(chunk, num_streams)
        last = jax.tree.map(lambda leaf: leaf[:, newest(buffer)], buffer.experience)
        going_on = real(last.observation) > 0

        def shifted(first, leaf):
            return jnp.concatenate([first[None].astype(leaf.dtype), leaf[:-1]])

        seen = ActorInput(
            observation=chunk.observation,
            last_action=shifted(jnp.where(going_on, last.action, -1), chunk.action),
            last_reward=shifted(jnp.where(going_on, last.reward, 0), chunk.reward),
            start=shifted(last.terminated | last.truncated | ~going_on, chunk.done),
        )
        return steps.add(
            buffer,
            chunk._replace(
                observation=windows.steps(seen), next_observation=windows.reached(chunk)
            ),
        )

    def of_stretches(stretches):
        now, then = windows_of(
            stretches.observation, stretches.next_observation[before:], windows.length
        )
        late = jax.tree.map(lambda leaf: leaf[before:], stretches)
        return late._replace(
            observation=now, next_observation=then, weight=real(late.observation[0])
        )

    replay = steps._replace(
        init=lambda: opened(steps.init()),
        add=add,
        sample=lambda draws, buffer: of_stretches(steps.sample(draws, buffer)),
    )
    return ContextReplay(replay, steps.init, opened, steps.sample, of_stretches)
