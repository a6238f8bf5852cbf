"""Catch with unknown controls and wind."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, NamedTuple

from metajax.core.options import AtLeast, AtMost, Count, Fraction, Options, check_number

if TYPE_CHECKING:
    import jax

    from metajax.core.family import TaskFamily


class CatchTask(NamedTuple):
    """The unknown controls and wind of a task.

    Attributes:
      meaning: int32 ``[3]``, a permutation: the effect of each action, 0 for left, 1 for
        staying, 2 for right.
      wind: int32 ``[rows - 1]``, shift of the ball in columns as it leaves each row: -1, 0
        or 1.
    """

    meaning: jax.Array
    wind: jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class Catch(Options):
    """Catch (Osband et al. 2020) with unknown controls: catch a falling ball with a paddle.

    gymnax's Catch-bsuite. A ball falls one row per step from the top row, in a column drawn
    per episode; a paddle starts in the middle of the bottom row and moves left, stays or
    moves right. The step in which the ball reaches the bottom row pays 1 if the paddle is
    there and -1 if not, and terminates the episode; all other steps pay 0.

    Two things are drawn per task: a uniform permutation that assigns the three effects to
    the three actions, and the wind of each row. With probability ``wind`` a row shifts the
    ball by one column, left or right with equal probability; the ball wraps around at the
    sides, while the paddle stops there. A shifted ball can be caught reliably only by an
    agent that knows the wind in advance.

    The observation is the board ``[rows, columns]``, 1 at the ball and the paddle. Without
    wind there are just six tasks, and training covers them all.

    Source: Osband et al. (2020), "Behaviour suite for reinforcement learning", with a single
    task and no wind. The number of episodes per trial is our choice.

    Attributes:
      rows: Rows of the board; an episode takes ``rows - 1`` steps.
      columns: Columns of the board.
      wind: Probability that a row shifts the ball.
      num_episodes: Episodes per trial.
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
            # The ball lands exactly at the time limit, which counts as termination.
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

        # Wind permutes columns, so the ball lands uniformly over them in every task; the
        # uniform random policy ignores it and is there with probability 1 / columns.
        spec = dataclasses.replace(
            plain.spec, oracle_return=1.0, random_return=2 / self.columns - 1
        )
        return with_auto_reset(spec, sample, reset, advance)
