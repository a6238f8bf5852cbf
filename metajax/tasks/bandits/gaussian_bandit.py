"""The Gaussian bandit."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from metajax.core.options import check_number

if TYPE_CHECKING:
    from metajax.core.types import TaskFamily


@dataclasses.dataclass(frozen=True, kw_only=True)
class GaussianBandit:
    """Gaussian bandit: each arm pays Gaussian rewards around its own unknown mean.

    The means of the arms are independent draws from one Gaussian prior.

    Attributes:
      num_arms: Number of arms, k.
      num_pulls: Pulls per trial, each an episode of one step.
      prior_mean: Mean of the prior over arm means, in reward units.
      prior_std: Standard deviation of the prior over arm means, in reward units.
      reward_std: Standard deviation of a reward around the mean of its arm.
    """

    num_arms: int = 5
    num_pulls: int = 10
    prior_mean: float = 0.0
    prior_std: float = 1.0
    reward_std: float = 1.0

    def __post_init__(self) -> None:
        check_number("num_arms", self.num_arms, minimum=1)
        check_number("num_pulls", self.num_pulls, minimum=1)
        check_number("prior_mean", self.prior_mean, above=-math.inf, below=math.inf)
        check_number("prior_std", self.prior_std, above=0, below=math.inf)
        check_number("reward_std", self.reward_std, above=0, below=math.inf)

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
    """Expected maximum of ``count`` independent standard Gaussians.

    The integral of ``x count pdf(x) cdf(x)^(count - 1)``, as a sum over a grid. For a smooth
    integrand that vanishes at both ends, the sum is exact in double precision.
    """
    import numpy as np

    x = np.linspace(-12, 12, 4801)
    pdf = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    cdf = np.array([math.erfc(-one / math.sqrt(2)) / 2 for one in x])
    return float(np.sum(x * count * pdf * cdf ** (count - 1)) * (x[1] - x[0]))
