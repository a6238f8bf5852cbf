"""The bandit with one informative arm."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from metajax.core.options import Count, Options

if TYPE_CHECKING:
    from metajax.core.family import TaskFamily

NUM_TARGETS = 10
TARGET_REWARD = 5.0
OTHER_REWARD = 1.0
HINT_SCALE = 0.1


@dataclasses.dataclass(frozen=True, kw_only=True)
class ElevenArmedBandit(Options):
    """Informative-arm bandit (Wang et al. 2016): a poor arm reveals which of ten arms is rich.

    One of the first ten arms, drawn uniformly, is the target and pays 5; the other nine pay
    1. The eleventh arm pays a tenth of the target's number, 0.1 to 1: never more than
    another arm, but its reward identifies the target. Rewards are deterministic. Pulling
    the eleventh arm once and the target afterwards earns 20.55 in five pulls on average.

    Source: Wang et al. (2016), "Learning to reinforcement learn", section 3.1.3. Deviation:
    the learner sees the last reward as a number instead of one-hot.

    Attributes:
      num_pulls: Pulls per trial, each an episode of one step.
    """

    num_pulls: Count = 5

    def build(self) -> TaskFamily:
        """The family; tasks are ``BanditTask(means [11])``, the means being the rewards."""
        import jax
        import jax.numpy as jnp

        from metajax.tasks.bandits.base import bandit_family

        def sample_means(key):
            target = jax.random.randint(key, (), 0, NUM_TARGETS)
            arms = jnp.where(jnp.arange(NUM_TARGETS) == target, TARGET_REWARD, OTHER_REWARD)
            return jnp.append(arms, HINT_SCALE * (target + 1))

        mean_hint = HINT_SCALE * (NUM_TARGETS + 1) / 2
        total = TARGET_REWARD + (NUM_TARGETS - 1) * OTHER_REWARD + mean_hint
        return bandit_family(
            name="eleven-armed-bandit",
            num_arms=NUM_TARGETS + 1,
            num_pulls=self.num_pulls,
            sample_means=sample_means,
            draw=lambda key, mean: mean,
            random_return=total / (NUM_TARGETS + 1),
            oracle_return=TARGET_REWARD,
            tabular=None,  # the arms are not independent, and their rewards not random
        )
