"""Acting on what is known, without exploring."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from metajax.algorithms.classical import TabularMethod


@dataclasses.dataclass(frozen=True, kw_only=True)
class Greedy(TabularMethod):
    """Acts optimally in the mean of the posterior.

    On bandits whose arms pay 1 or nothing the prior is Beta(1, 1), and the options of the
    other prior are not used.

    Attributes:
      prior_precision, dirichlet_prior: nearly none, as in Duan et al. (2016).
    """

    prior_precision: float = 1e-4
    dirichlet_prior: float = 1e-4

    name: ClassVar[str] = "greedy"

    def rule(self, spec):
        from metajax.inner import bandit
        from metajax.types import Discrete

        tabular = spec.tabular
        if tabular is None or tabular.num_states > 1 or tabular.rewards != "bernoulli":
            return super().rule(spec)
        assert isinstance(spec.action_space, Discrete)
        return bandit.bandit_rule(spec.action_space.num_actions, bandit.posterior_mean)

    def backup(self, key, prior, counts):
        from metajax.inner.planning import expected
        from metajax.inner.tabular import mean_model

        del key
        return expected(mean_model(prior, counts))
