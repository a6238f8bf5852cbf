"""Acting on what is known, without exploring."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from metajax.algorithms.classical.base import TabularMethod
from metajax.core.options import Positive

if TYPE_CHECKING:
    from metajax.core.family import Spec


@dataclasses.dataclass(frozen=True, kw_only=True)
class Greedy(TabularMethod):
    """Greedy: plans in the posterior mean, without exploration.

    The default priors are nearly none. On bandits whose arms pay 1 or nothing the prior is
    Beta(1, 1), and the options of the other prior are not used.

    Source: as in Duan et al. (2016), one of whose baselines it is.
    """

    prior_precision: Positive = 1e-4
    dirichlet_prior: Positive = 1e-4

    name: ClassVar[str] = "greedy"

    def tie_rule(self, spec):
        return self.ties or ("first" if _is_bernoulli_bandit(spec) else self.usual_ties)

    def rule(self, spec):
        from metajax.core.family import Discrete
        from metajax.inner.classical import bandit

        if not _is_bernoulli_bandit(spec):
            return super().rule(spec)
        assert isinstance(spec.action_space, Discrete)
        return bandit.bandit_rule(spec.action_space.num_actions, bandit.posterior_mean)

    def backup(self, key, prior, counts):
        from metajax.inner.classical.planning import expected
        from metajax.inner.classical.tabular import mean_model

        del key
        return expected(mean_model(prior, counts))


def _is_bernoulli_bandit(spec: Spec) -> bool:
    tabular = spec.tabular
    return tabular is not None and tabular.num_states == 1 and tabular.rewards == "bernoulli"
