"""A bandit with one poor arm that tells which of the others is rich."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from metajax.core.options import Count, Options

if TYPE_CHECKING:
    from metajax.core.types import TaskFamily

NUM_TARGETS = 10
TARGET_REWARD = 5.0
OTHER_REWARD = 1.0
HINT_SCALE = 0.1


@dataclasses.dataclass(frozen=True, kw_only=True)
class ElevenArmedBandit(Options):
    """Options of ``eleven-armed-bandit``.

    One of the first ten arms, with equal chances, is the target and pays 5; the other
    nine pay 1. The eleventh pays a tenth of the target's number, 0.1 to 1: no more than
    any other, but then the target is known. Nothing else is random. Whoever pulls the
    eleventh arm first and the target afterwards earns 20.55 in five pulls on average.

    Follows Wang et al. 2016, "Learning to reinforcement learn", section 3.1.3. There
    the last reward is shown one-hot; here it is the number itself.

    Attributes:
      num_pulls: pulls of a trial, each an episode of one step.
    """

    num_pulls: Count = 5

    def build(self) -> TaskFamily:
        """The family; tasks are ``BanditTask(means [11])``, the rewards themselves."""
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
            tabular=None,  # the arms' rewards are neither independent nor random
        )
