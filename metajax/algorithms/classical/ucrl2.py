"""Upper confidence reinforcement learning."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from metajax.algorithms.classical.base import TabularMethod
from metajax.core.options import check_number


@dataclasses.dataclass(frozen=True, kw_only=True)
class UCRL2(TabularMethod):
    """Acts optimally in the best model that is plausible.

    Source: Jaksch et al. (2010), "Near-optimal regret bounds for reinforcement learning",
    with their radii times a factor, around the mean of the posterior. Deviations: it plans
    for each episode and over its length, where theirs runs for ever and plans anew when
    counts double.

    Attributes:
      confidence: probability that a radius may be too small; delta.
      bonus_scale: factor of the radii; Duan et al. (2016) try 21 values from 1e-4 to 1.
      prior_precision, dirichlet_prior: nearly none, as in Duan et al.
    """

    prior_precision: float = 1e-4
    dirichlet_prior: float = 1e-5
    confidence: float = 0.05
    bonus_scale: float = 0.05

    name: ClassVar[str] = "ucrl2"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("confidence", self.confidence, above=0, maximum=1)
        check_number("bonus_scale", self.bonus_scale, minimum=0)

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
