"""Four rooms."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

from metajax.core.options import AtLeast, AtMost, Count, Options

if TYPE_CHECKING:
    from metajax.core.family import TaskFamily


@dataclasses.dataclass(frozen=True, kw_only=True)
class FourRooms(Options):
    """Four rooms (Sutton et al. 1999): find a hidden goal in a known map, on slippery floors.

    gymnax's FourRooms-misc with a goal that is drawn once per task, uniformly over all open
    cells, and not observed: the observation is the position, scaled to [-1, 1]. Every
    episode starts in the same cell of the upper left room. The step that arrives at the
    goal pays 1 and terminates the episode. Actions are up, right, down, left.

    Source: the map of Sutton et al. (1999), "Between MDPs and semi-MDPs: a framework for
    temporal abstraction in reinforcement learning". The number of episodes per trial is
    our choice.

    Attributes:
      fail_prob: Probability that a move goes in one of the three other directions, each
        equally likely.
      episode_length: Time limit in steps.
      num_episodes: Episodes per trial.
    """

    fail_prob: Annotated[float, AtLeast(0), AtMost(0.75)] = 1 / 3
    episode_length: Count = 500
    num_episodes: Count = 2

    def build(self) -> TaskFamily:
        """The family; ``task.fields["goal"]`` is the row and column of the goal."""
        import jax.numpy as jnp
        import numpy as np

        from metajax.core.family import Grid
        from metajax.tasks.adapters.gymnax import from_gymnax
        from metajax.tasks.adapters.gymnax_environment import environment
        from metajax.tasks.tabular.arrivals import with_exact_returns

        env = environment("FourRooms-misc")
        middle = (len(env.env_map) - 1) / 2
        family = from_gymnax(
            env,
            params=env.default_params.replace(fail_prob=self.fail_prob, resample_goal_pos=True),
            episode_length=self.episode_length,
            episodes_per_trial=self.num_episodes,
            # The raw observation is position and goal, two numbers each.
            transform_observation=lambda raw: (raw[:2] - middle) / (middle - 1),
            name="four-rooms",
        )
        spec = with_exact_returns(
            family.spec,
            lambda task: task.fields["goal"],
            is_open=env.env_map,
            moves=env.directions,
            start=env.pos_fixed,
            reward=(1.0, 0.0),
            respawn=np.zeros(env.env_map.size),
            # A uniform random move is the intended one in a quarter of the cases.
            slip=self.fail_prob * 4 / 3,
        )
        side = len(env.env_map)

        def cell(place):
            row, column = place
            return jnp.stack([column, side - 1 - row]).astype(jnp.int32)

        walls = np.argwhere(~np.asarray(env.env_map, bool))
        grid = Grid(
            side,
            lambda seen: cell(jnp.round(seen[:2] * (middle - 1) + middle)),
            lambda task: {"goal": cell(task.fields["goal"])},
            tuple((int(column), side - 1 - int(row)) for row, column in walls),
        )
        return family._replace(spec=dataclasses.replace(spec, grid=grid))
