"""Losses, returns, advantages and baselines."""

from metajax.losses.actor_critic import actor_critic_loss
from metajax.losses.advantages import (
    episodic_advantages,
    generalized_advantages,
    masked_mean,
    normalize,
    returns_to_go,
)
from metajax.losses.baseline import linear_feature_values
from metajax.losses.off_policy import (
    lambda_targets,
    next_step_returns,
    per_decision_returns,
    retrace_targets,
    vtrace_targets,
)
from metajax.losses.policy_gradient import (
    clipped_surrogate,
    dice_surrogate,
    likelihood_ratio_surrogate,
    score_surrogate,
)
from metajax.losses.recursion import backward_sums

__all__ = [
    "actor_critic_loss",
    "backward_sums",
    "clipped_surrogate",
    "dice_surrogate",
    "episodic_advantages",
    "generalized_advantages",
    "lambda_targets",
    "likelihood_ratio_surrogate",
    "linear_feature_values",
    "masked_mean",
    "next_step_returns",
    "normalize",
    "per_decision_returns",
    "retrace_targets",
    "returns_to_go",
    "score_surrogate",
    "vtrace_targets",
]
