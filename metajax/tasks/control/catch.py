"""Catch: a ball falls, and which action moves the paddle where has to be found out."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, NamedTuple

from metajax.core.options import AtLeast, AtMost, Count, Fraction, Options, check_number

if TYPE_CHECKING:
    import jax

    from metajax.core.types import TaskFamily


class CatchTask(NamedTuple):
    """What is unknown of a task.

    Attributes:
      meaning: int32 ``[3]``, a permutation: what each action does, 0 to the left, 1 nothing,
        2 to the right.
      wind: int32 ``[rows - 1]``, columns that the ball is blown aside as it leaves a row: -1,
        0 or 1.
    """

    meaning: jax.Array
    wind: jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class Catch(Options):
    """Options of ``catch``.

    gymnax's Catch-bsuite with unknown physics. A ball falls a row a step, from the upper row
    of a board, in a column that is drawn in every episode; a paddle in the lowest row begins in
    the middle and moves to the left, not at all or to the right. The step with which the ball
    arrives in the lowest row pays 1 if the paddle is there and -1 if not, and terminates the
    episode; the others pay nothing. Which of the three actions does what is a permutation that
    is drawn once a task, uniformly, and so is the wind of each row: with probability ``wind``
    it blows the ball a column aside, to the left as likely as to the right. Walls hold the
    paddle; a ball that is blown out on one side comes in on the other. To be where such a ball
    arrives one has to know the wind before.

    The observation is the board ``[rows, columns]``, 1 where ball or paddle are. Without wind
    there are six tasks, the permutations, and training meets them all; ``wind`` makes them
    many.

    Source: Osband et al. (2020), "Behaviour suite for reinforcement learning", where there is
    one task, without wind. How many episodes a trial has is our choice.

    Attributes:
      rows: of the board; an episode takes one step less.
      columns: of the board.
      wind: probability that a row is windy.
      num_episodes: episodes of a trial.
    """

    rows: Annotated[int, AtLeast(2)] = 10
    columns: Annotated[int, AtLeast(2)] = 5
    wind: Fraction = 0.0
    num_episodes: Count = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        # From the middle the paddle gets to every column in time.
        check_number("columns", self.columns, AtLeast(2), AtMost(2 * self.rows - 1))

    def build(self) -> TaskFamily:
        """The family; tasks are ``CatchTask(meaning, wind)``."""
        import jax
        import jax.numpy as jnp
        from gymnax.environments.bsuite import catch

        from metajax.tasks.adapters.gymnax import from_gymnax
        from metajax.tasks.auto_reset import with_auto_reset

        with jax.ensure_compile_time_eval():
            env = catch.Catch(self.rows, self.columns)
            length = self.rows - 1
            # The ball arrives at the time limit; the episode counts as terminated.
            plain = from_gymnax(
                env, episode_length=length, episodes_per_trial=self.num_episodes, name="catch"
            )
            board = plain.sample(jax.random.key(0))

        def sample(key):
            key_meaning, key_windy, key_side = jax.random.split(key, 3)
            windy = jax.random.bernoulli(key_windy, self.wind, (length,))
            side = jax.random.rademacher(key_side, (length,), jnp.int32)
            return CatchTask(
                jax.random.permutation(key_meaning, jnp.arange(3, dtype=jnp.int32)), windy * side
            )

        def reset(key, task):
            del task
            return plain.reset(key, board)

        def advance(key, task, state, action):
            aside = (state.ball_x + task.wind[state.ball_y]) % self.columns
            return plain.advance(key, board, state.replace(ball_x=aside), task.meaning[action])

        # Winds exchange columns, so that the ball stays uniform over them whatever the task is,
        # and the uniform random policy does not look where it falls.
        spec = dataclasses.replace(
            plain.spec, oracle_return=1.0, random_return=2 / self.columns - 1
        )
        return with_auto_reset(spec, sample, reset, advance)
