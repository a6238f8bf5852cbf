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
from metajax.losses.contrastive import partners, similarity_logits
from metajax.losses.of_outputs import (
    behaviour_divergence,
    behaviour_loss,
    clipped_loss,
    cloning_loss,
    dice_loss,
    entropy,
    evaluated,
    following_returns,
    policy_gradient_loss,
    ratio_loss,
    return_error,
    score_loss,
    temporal_difference_loss,
    term,
    total_of,
    value_error,
)
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
from metajax.losses.prediction import (
    cross_entropy,
    one_hot_error,
    prediction_loss,
    squared_error,
)
from metajax.losses.recursion import backward_sums

__all__ = [
    "actor_critic_loss",
    "backward_sums",
    "behaviour_divergence",
    "behaviour_loss",
    "clipped_loss",
    "clipped_surrogate",
    "cloning_loss",
    "cross_entropy",
    "dice_loss",
    "dice_surrogate",
    "entropy",
    "episodic_advantages",
    "evaluated",
    "following_returns",
    "generalized_advantages",
    "lambda_targets",
    "likelihood_ratio_surrogate",
    "linear_feature_values",
    "masked_mean",
    "next_step_returns",
    "normalize",
    "one_hot_error",
    "partners",
    "per_decision_returns",
    "policy_gradient_loss",
    "prediction_loss",
    "ratio_loss",
    "retrace_targets",
    "return_error",
    "returns_to_go",
    "score_loss",
    "score_surrogate",
    "similarity_logits",
    "squared_error",
    "temporal_difference_loss",
    "term",
    "total_of",
    "value_error",
    "vtrace_targets",
]
