"""Deep sea."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

from metajax.core.options import AtLeast, Count, Options

if TYPE_CHECKING:
    from metajax.core.family import TaskFamily


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeepSea(Options):
    """Deep sea (Osband et al. 2020): exploration that needs a run of right moves.

    gymnax's DeepSea-bsuite, deterministic, with the meaning of the two actions drawn once
    per task and independently for every cell. The agent starts in the upper left cell of a
    square and descends one row per step, to the left or to the right. A move to the right
    costs 0.01 / size; a move to the right in the lower right corner pays 1. The uniform
    random policy succeeds once in 2^size episodes, and the small costs lead away from there.

    The observation is the cell, one-hot, ``[size, size]``, and zero after the last step. An
    episode terminates after ``size`` steps.

    Source: Osband et al. (2020), "Behaviour suite for reinforcement learning", section 2.2.
    The number of episodes per trial is our choice.

    Attributes:
      size: Number of rows, of columns, and of steps per episode.
      num_episodes: Episodes per trial.
    """

    size: Annotated[int, AtLeast(2)] = 10
    num_episodes: Count = 10

    def build(self) -> TaskFamily:
        """The family; ``task.fields["action_mapping"]`` is the action that goes right."""
        import jax
        from gymnax.environments.bsuite import deep_sea

        from metajax.tasks.adapters.casts import replace
        from metajax.tasks.adapters.gymnax import from_gymnax

        with jax.ensure_compile_time_eval():
            env = deep_sea.DeepSea(self.size)
        params = replace(env.default_params, sample_action_map=True)
        family = from_gymnax(
            env, params=params, episodes_per_trial=self.num_episodes, name="deep-sea"
        )
        cost = params.unscaled_move_cost
        spec = dataclasses.replace(
            family.spec, oracle_return=1 - cost, random_return=0.5**self.size - cost / 2
        )
        return family._replace(spec=spec)
