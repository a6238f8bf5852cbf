"""The two-armed bandit with dependent arms."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

from metajax.core.options import Count, Options

if TYPE_CHECKING:
    from metajax.core.family import TaskFamily

# Success probability of the better arm in the distributions with two tasks.
BETTER_ARM = {"easy": 0.9, "medium": 0.75, "hard": 0.6}
# Its expectation: E max(p, q) for "independent", E max(p, 1 - p) for "uniform".
EXPECTED_BEST = {"independent": 2 / 3, "uniform": 3 / 4, **BETTER_ARM}


@dataclasses.dataclass(frozen=True, kw_only=True)
class DependentBandit(Options):
    """Dependent bandit (Wang et al. 2016): two arms, where one can tell about the other.

    The arms pay 1 with probabilities p and q, else 0. With ``dependence="independent"`` p
    and q are independent and uniform in [0, 1]. Otherwise q = 1 - p, and p is uniform in
    [0, 1] ("uniform") or one of two equally likely values: 0.1 and 0.9 ("easy"), 0.25 and
    0.75 ("medium"), 0.4 and 0.6 ("hard").

    Source: Wang et al. (2016), "Learning to reinforcement learn", sections 3.1.1 and 3.1.2.

    Attributes:
      dependence: Joint distribution of (p, q).
      num_pulls: Pulls per trial, each an episode of one step.
    """

    dependence: Literal["independent", "uniform", "easy", "medium", "hard"] = "uniform"
    num_pulls: Count = 100

    def build(self) -> TaskFamily:
        """The family; tasks are ``BanditTask(means [2])``."""
        import jax
        import jax.numpy as jnp

        from metajax.core.family import Tabular
        from metajax.tasks.bandits.base import bandit_family, bernoulli

        def sample_means(key):
            if self.dependence == "independent":
                return jax.random.uniform(key, (2,))
            p = jax.random.uniform(key)
            if self.dependence in BETTER_ARM:
                better = BETTER_ARM[self.dependence]
                p = jnp.where(p < 0.5, better, 1 - better)
            return jnp.stack([p, 1 - p])

        return bandit_family(
            name="dependent-bandit",
            num_arms=2,
            num_pulls=self.num_pulls,
            sample_means=sample_means,
            draw=bernoulli,
            random_return=0.5,
            oracle_return=EXPECTED_BEST[self.dependence],
            tabular=Tabular(num_states=1, rewards="bernoulli"),
        )
