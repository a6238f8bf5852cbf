"""Actor-critic whose settings are learned online by bootstrapped meta-gradients."""

from __future__ import annotations

import dataclasses

from metajax.algorithms.settings.meta_gradient_actor_critic import MetaGradientActorCritic
from metajax.core.options import Count, NonNegative, check


@dataclasses.dataclass(frozen=True, kw_only=True)
class BootstrappedActorCritic(MetaGradientActorCritic):
    """Bootstrapped meta-gradients (Flennerhag et al. 2022): settings that take the learner ahead.

    Theta, phi and trials are those of ``meta-gradient-actor-critic``. A meta-iteration lets
    lifetimes go on by ``window + target_steps`` updates of a chunk each. Where they lead is the
    target: the last update on the way there has the reference settings, the others those of
    theta. What is descended, through the first ``window`` updates, is the divergence
    KL(target || policy) on the states of the last chunk.

    Source: Flennerhag et al. (2022), "Bootstrapped meta-learning", sections 4 and 5. Deviation:
    many lifetimes side by side, where the paper has one.

    Attributes:
      learned: Names of the learned settings, among inner_lr, discount, gae_lambda,
        value_coefficient and entropy_coefficient. Each starts from its option's value; the other
        settings stay at theirs.
      target_steps: Number of updates L from the learner to its target.
      value_matching: Weight of half the squared distance of the values from the target's.
      reference_entropy: Weight of the entropy in the last update of the target.
    """

    learned: tuple[str, ...] = ("entropy_coefficient",)
    target_steps: Count = 8
    value_matching: NonNegative = 0.0
    reference_entropy: NonNegative | None = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        allowed = f"with window at most the adaptations of a lifetime ({self.num_adaptations})"
        fits = self.window + self.target_steps <= self.num_adaptations
        check(fits, "target_steps", self.target_steps, allowed)

    def estimator(self, problem, layout, reference):
        from metajax import outer

        return outer.bootstrapped(
            problem,
            layout,
            outer.matching_outputs(problem.learner, self.value_matching),
            window=self.window,
            target_steps=self.target_steps,
            teacher=self.informed_learner(problem.family, lambda theta: reference),
            derivative=self.derivative,
        )
