"""Bandits whose arms pay Gaussian rewards."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Annotated

from metajax.core.options import Above, Below, Count, Options

if TYPE_CHECKING:
    from metajax.core.types import TaskFamily


@dataclasses.dataclass(frozen=True, kw_only=True)
class GaussianBandit(Options):
    """Options of ``gaussian-bandit``.

    Each arm pays a Gaussian reward around a mean of its own, and the means are
    Gaussian.

    Attributes:
      num_arms: k, arms to choose from.
      num_pulls: pulls of a trial, each an episode of one step.
      prior_mean, prior_std: of the arms' means.
      reward_std: of a reward around its arm's mean.
    """

    num_arms: Count = 5
    num_pulls: Count = 10
    prior_mean: Annotated[float, Above(-math.inf), Below(math.inf)] = 0.0
    prior_std: Annotated[float, Above(0), Below(math.inf)] = 1.0
    reward_std: Annotated[float, Above(0), Below(math.inf)] = 1.0

    def build(self) -> TaskFamily:
        """The family; tasks are ``BanditTask(means)``."""
        import jax

        from metajax.core.types import Tabular
        from metajax.tasks.bandits.base import bandit_family

        def sample_means(key):
            return self.prior_mean + self.prior_std * jax.random.normal(key, (self.num_arms,))

        return bandit_family(
            name="gaussian-bandit",
            num_arms=self.num_arms,
            num_pulls=self.num_pulls,
            sample_means=sample_means,
            draw=lambda key, mean: mean + self.reward_std * jax.random.normal(key),
            random_return=self.prior_mean,
            oracle_return=self.prior_mean + self.prior_std * _mean_of_largest(self.num_arms),
            tabular=Tabular(num_states=1, rewards="gaussian"),
        )


def _mean_of_largest(count: int) -> float:
    """Expectation of the largest of ``count`` standard Gaussians.

    The integral of ``x count pdf(x) cdf(x)^(count - 1)``. The sum over a grid is
    exact in double precision, as for every smooth integrand that vanishes at both ends.
    """
    import numpy as np

    x = np.linspace(-12, 12, 4801)
    pdf = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    cdf = np.array([math.erfc(-one / math.sqrt(2)) / 2 for one in x])
    return float(np.sum(x * count * pdf * cdf ** (count - 1)) * (x[1] - x[0]))
