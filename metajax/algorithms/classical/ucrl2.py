"""Upper confidence reinforcement learning."""

from __future__ import annotations

import dataclasses
from typing import Annotated, ClassVar

from metajax.algorithms.classical.base import TabularMethod
from metajax.core.options import Above, AtMost, NonNegative, Positive


@dataclasses.dataclass(frozen=True, kw_only=True)
class UCRL2(TabularMethod):
    """UCRL2 (Jaksch et al. 2010): plans in the most optimistic model that is plausible.

    Source: Jaksch et al. (2010), "Near-optimal regret bounds for reinforcement learning",
    with their radii times a factor, around the mean of the posterior. Deviations: it plans
    for each episode and over its length, where theirs runs for ever and plans anew when
    counts double. The default priors are nearly none, as in Duan et al. (2016).

    Attributes:
      confidence: Probability delta that a radius is too small.
      bonus_scale: Factor of the radii; Duan et al. (2016) try 21 values from 1e-4 to 1.
    """

    prior_precision: Positive = 1e-4
    dirichlet_prior: Positive = 1e-5
    confidence: Annotated[float, Above(0), AtMost(1)] = 0.05
    bonus_scale: NonNegative = 0.05

    name: ClassVar[str] = "ucrl2"

    def backup(self, key, prior, counts):
        import jax.numpy as jnp

        from metajax.inner.classical.planning import optimistic
        from metajax.inner.classical.tabular import mean_model

        del key
        num_states, num_actions = counts.visits.shape
        time = 1 + jnp.sum(counts.visits)
        visits = jnp.maximum(1, counts.visits)
        arrivals = jnp.maximum(1, jnp.sum(counts.transitions, axis=-1))
        reward = jnp.log(2 * num_states * num_actions * time / self.confidence)
        transition = jnp.log(2 * num_actions * time / self.confidence)
        return optimistic(
            mean_model(prior, counts),
            self.bonus_scale * jnp.sqrt(3.5 * reward / visits),
            self.bonus_scale * jnp.sqrt(14 * num_states * transition / arrivals),
        )
