"""The Gaussian bandit."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Annotated

from metajax.core.options import Above, Below, Count, Options

if TYPE_CHECKING:
    from metajax.core.family import TaskFamily


@dataclasses.dataclass(frozen=True, kw_only=True)
class GaussianBandit(Options):
    """Gaussian bandit: each arm pays Gaussian rewards around its own unknown mean.

    The means of the arms are independent draws from one Gaussian prior.

    Attributes:
      num_arms: Number of arms, k.
      num_pulls: Pulls per trial, each an episode of one step.
      prior_mean: Mean of the prior over arm means, in reward units.
      prior_std: Standard deviation of the prior over arm means, in reward units.
      reward_std: Standard deviation of a reward around the mean of its arm.
    """

    num_arms: Count = 5
    num_pulls: Count = 10
    prior_mean: Annotated[float, Above(-math.inf), Below(math.inf)] = 0.0
    prior_std: Annotated[float, Above(0), Below(math.inf)] = 1.0
    reward_std: Annotated[float, Above(0), Below(math.inf)] = 1.0

    def build(self) -> TaskFamily:
        """The family; tasks are ``BanditTask(means)``."""
        import jax

        from metajax.core.family import Tabular
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
    """Expected maximum of ``count`` independent standard Gaussians.

    The integral of ``x count pdf(x) cdf(x)^(count - 1)``, as a sum over a grid. For a smooth
    integrand that vanishes at both ends, the sum is exact in double precision.
    """
    import numpy as np

    x = np.linspace(-12, 12, 4801)
    pdf = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    cdf = np.array([math.erfc(-one / math.sqrt(2)) / 2 for one in x])
    return float(np.sum(x * count * pdf * cdf ** (count - 1)) * (x[1] - x[0]))
