"""The Bernoulli bandit."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from metajax.core.options import Count, Options

if TYPE_CHECKING:
    from metajax.core.family import TaskFamily


@dataclasses.dataclass(frozen=True, kw_only=True)
class BernoulliBandit(Options):
    """Bernoulli bandit (Duan et al. 2016): each arm pays 1 with its own unknown probability.

    The probabilities are independent and uniform in [0, 1]; a pull that does not pay 1 pays
    0. The largest of k such probabilities is k / (k + 1) on average.

    Source: Duan et al. (2016), "RL2: fast reinforcement learning via slow reinforcement
    learning", section 3.1.

    Attributes:
      num_arms: Number of arms, k.
      num_pulls: Pulls per trial, each an episode of one step.
    """

    num_arms: Count = 5
    num_pulls: Count = 10

    def build(self) -> TaskFamily:
        """The family; tasks are ``BanditTask(means)``."""
        import jax

        from metajax.core.family import Tabular
        from metajax.tasks.bandits.base import bandit_family, bernoulli

        return bandit_family(
            name="bernoulli-bandit",
            num_arms=self.num_arms,
            num_pulls=self.num_pulls,
            sample_means=lambda key: jax.random.uniform(key, (self.num_arms,)),
            draw=bernoulli,
            random_return=0.5,
            oracle_return=self.num_arms / (self.num_arms + 1),
            tabular=Tabular(num_states=1, rewards="bernoulli"),
        )
