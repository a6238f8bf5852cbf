"""Meta-maze."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from metajax.core.options import Count, Options

if TYPE_CHECKING:
    from metajax.core.family import TaskFamily


@dataclasses.dataclass(frozen=True, kw_only=True)
class MetaMaze(Options):
    """Meta-maze (Miconi et al. 2019): revisit a hidden goal, each time from a random cell.

    gymnax's MetaMaze-misc with a goal that is drawn once per task, uniformly over all open
    cells, and not observed. The maze has 9x9 cells with pillars at regular distances. An
    episode starts in the centre and ends by the time limit. A step that ends on the goal
    pays 10 and moves the agent to a random open cell.

    The observation is the walls among the 3x3 cells around the agent, the last action
    one-hot, the last reward, and the fraction of the time limit that has passed (the number
    of steps in gymnax). Actions are up, right, down, left.

    Source: Miconi et al. (2019), "Backpropamine: training self-modifying neural networks
    with differentiable neuromodulated plasticity".

    Attributes:
      episode_length: Time limit in steps.
      num_episodes: Episodes per trial. The published task has one, with many visits to the
        goal.
    """

    episode_length: Count = 200
    num_episodes: Count = 1

    def build(self) -> TaskFamily:
        """The family; ``task.fields["goal"]`` is the row and column of the goal."""
        import numpy as np

        from metajax.tasks.adapters.gymnax import from_gymnax
        from metajax.tasks.adapters.gymnax_environment import environment
        from metajax.tasks.tabular.arrivals import with_exact_returns

        env = environment("MetaMaze-misc")
        is_open = np.asarray(env.env_map)
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
            moves=env.directions,
            start=env.center_position,
            reward=(env.default_params.reward, 0.0),
            respawn=is_open.ravel() / is_open.sum(),
        )
        return family._replace(spec=spec)
