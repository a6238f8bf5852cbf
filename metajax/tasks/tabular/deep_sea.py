"""Deep sea: one treasure, as many right decisions in a row as the sea is deep."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

from metajax.core.options import AtLeast, Count, Options

if TYPE_CHECKING:
    from metajax.core.types import TaskFamily


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeepSea(Options):
    """Options of ``deep-sea``.

    gymnax's DeepSea-bsuite, deterministic, with the meaning of the two actions drawn once a
    task, in every cell by itself. One begins in the upper left cell of a square and falls
    a row a step, to the left or to the right. Going right costs 0.01 / size; going right in
    the lower right corner pays 1. A uniform random policy gets there once in 2^size
    episodes, and small rewards point the other way.

    The observation is the cell, one-hot, ``[size, size]``; after the last step it is zero.
    Episodes take ``size`` steps and terminate.

    Source: Osband et al. (2020), "Behaviour suite for reinforcement learning", section 2.2.
    How many episodes a trial has is our choice.

    Attributes:
      size: rows, columns, and steps of an episode.
      num_episodes: episodes of a trial.
    """

    size: Annotated[int, AtLeast(2)] = 10
    num_episodes: Count = 10

    def build(self) -> TaskFamily:
        """The family; ``task.fields["action_mapping"]`` are the actions that go right."""
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
