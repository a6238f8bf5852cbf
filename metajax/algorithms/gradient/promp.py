"""ProMP: MAML in several proximal passes over each batch of trials."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Literal

from metajax.algorithms.gradient.maml import MAML
from metajax.core.options import Count, NonNegative, Positive


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProMP(MAML):
    """ProMP (Rothfuss et al. 2019): proximal meta-policy search.

    The adaptation descends the low-variance curvature surrogate. The meta-update makes several
    passes of the clipped surrogate of the adapted policy. A penalty keeps the policies that
    meet the support chunks close to those that collected them, in the chunks' states.

    Source: Rothfuss et al. (2019), "ProMP: Proximal meta-policy search", algorithm 1 and equation
    14; passes, clip and coefficients are those of the published code. With several adaptations
    the penalty is a mean over their chunks, as there.

    Attributes:
      clip: Clipping range of the ratio.
      kl_coefficient: Weight of the divergence KL(collected || present) in support chunks, nats.
    """

    outer: ClassVar[Literal["ppo"]] = "ppo"  # pyright: ignore[reportIncompatibleVariableOverride]
    surrogate: ClassVar[Literal["lvc"]] = "lvc"  # pyright: ignore[reportIncompatibleVariableOverride]
    labelled: ClassVar[bool] = False

    inner_steps: Count = 1
    num_epochs: Count = 5
    clip: Positive = 0.3
    kl_coefficient: NonNegative = 5e-4

    def objective(self, problem, **changes):
        from metajax import losses
        from metajax.data.acting import actor_of

        actor = actor_of(problem.learner)
        recording = problem.varied(records=("distribution",))
        divergence = losses.behaviour_divergence(actor.divergence)
        terms = {"divergence": (self.kl_coefficient, losses.term(divergence))}
        return super().objective(recording, support_terms=terms, **changes)
