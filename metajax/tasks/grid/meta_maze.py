"""Meta-maze: find the goal of a maze again and again from where it throws one."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from metajax.core.options import Count, Options

if TYPE_CHECKING:
    from metajax.core.types import TaskFamily


@dataclasses.dataclass(frozen=True, kw_only=True)
class MetaMaze(Options):
    """Options of ``meta-maze``.

    gymnax's MetaMaze-misc with a goal that is drawn once a task, uniformly over all
    open cells, and is not shown. A maze of 9x9 cells has pillars at regular distances.
    An episode starts in its middle, a step that ends on the goal pays 10 and throws
    the agent to a random open cell, and only the time limit ends the episode.

    The observation is which of the 3x3 cells around the agent are walls, the last
    action one-hot, the last reward, and the fraction of the time that has passed; gymnax
    shows the number of steps in its place. Actions are up, right, down, left.

    The task is that of Miconi et al. 2019, "Backpropamine: training self-modifying
    neural networks with differentiable neuromodulated plasticity".

    Attributes:
      episode_length: time limit in steps.
      num_episodes: episodes of a trial. One, as published, has many visits of the goal.
    """

    episode_length: Count = 200
    num_episodes: Count = 1

    def build(self) -> TaskFamily:
        """The family; ``task.fields["goal"]`` is the goal's row and column."""
        import jax
        import numpy as np

        from metajax.tasks.adapters.gymnax import from_gymnax
        from metajax.tasks.adapters.gymnax_environment import environment
        from metajax.tasks.tabular.arrivals import with_exact_returns

        with jax.ensure_compile_time_eval():
            env = environment("MetaMaze-misc")
            is_open, moves, start = (
                np.asarray(one) for one in (env.env_map, env.directions, env.center_position)
            )

        family = from_gymnax(
            env,
            episode_length=self.episode_length,
            episodes_per_trial=self.num_episodes,
            transform_observation=lambda raw: raw.at[-1].divide(self.episode_length),
            name="meta-maze",
        )
        spec = with_exact_returns(
            family.spec,
            lambda task: task.fields["goal"],
            is_open=is_open,
            moves=moves,
            start=(int(start[0]), int(start[1])),
            is_goal=is_open,
            reward=(env.default_params.reward, 0.0),
            respawn=is_open.ravel() / is_open.sum(),
        )
        return family._replace(spec=spec)
