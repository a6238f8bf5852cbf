"""Four rooms: find the goal of a known building, with slippery floors."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

from metajax.core.options import AtLeast, AtMost, Count, Options

if TYPE_CHECKING:
    from metajax.core.types import TaskFamily


@dataclasses.dataclass(frozen=True, kw_only=True)
class FourRooms(Options):
    """Options of ``four-rooms``.

    gymnax's FourRooms-misc with a goal that is drawn once a task, uniformly over all
    cells, and is not shown: the observation is the position, scaled to [-1, 1].
    Actions are up, right, down, left, and every episode starts in the same cell of the
    upper left room. The step that arrives at the goal pays 1 and terminates the
    episode.

    The building is that of Sutton et al. 1999, "Between MDPs and semi-MDPs: a framework
    for temporal abstraction in reinforcement learning". How many episodes a trial has is
    our choice.

    Attributes:
      fail_prob: probability that a move goes another way than asked for, each of the
        three others alike.
      episode_length: time limit in steps.
      num_episodes: episodes of a trial.
    """

    fail_prob: Annotated[float, AtLeast(0), AtMost(0.75)] = 1 / 3
    episode_length: Count = 500
    num_episodes: Count = 2

    def build(self) -> TaskFamily:
        """The family; ``task.fields["goal"]`` is the goal's row and column."""
        import jax
        import numpy as np

        from metajax.tasks.adapters.gymnax import from_gymnax
        from metajax.tasks.adapters.gymnax_environment import environment
        from metajax.tasks.tabular.arrivals import with_exact_returns

        with jax.ensure_compile_time_eval():
            env = environment("FourRooms-misc")
            is_open, moves, start = (
                np.asarray(one) for one in (env.env_map, env.directions, env.pos_fixed)
            )
        middle = (len(is_open) - 1) / 2

        family = from_gymnax(
            env,
            params=env.default_params.replace(fail_prob=self.fail_prob, resample_goal_pos=True),
            episode_length=self.episode_length,
            episodes_per_trial=self.num_episodes,
            # The last two of the four numbers are the goal.
            transform_observation=lambda raw: (raw[:2] - middle) / (middle - 1),
            name="four-rooms",
        )
        spec = with_exact_returns(
            family.spec,
            lambda task: task.fields["goal"],
            is_open=is_open,
            moves=moves,
            start=(int(start[0]), int(start[1])),
            is_goal=is_open,
            reward=(1.0, 0.0),
            # A failure is a move drawn from all four, that asked for included.
            slip=self.fail_prob * 4 / 3,
            respawn=np.zeros(is_open.size),
        )
        return family._replace(spec=spec)
