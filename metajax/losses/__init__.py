"""Losses, advantages and baselines, one concept a file."""

from metajax.losses.advantages import (
    episodic_advantages,
    generalized_advantages,
    masked_mean,
    normalize,
    returns_to_go,
)
from metajax.losses.baseline import linear_feature_values
from metajax.losses.policy_gradient import (
    clipped_surrogate,
    dice_surrogate,
    likelihood_ratio_surrogate,
    score_surrogate,
)
from metajax.losses.temporal_difference import lambda_targets

__all__ = [
    "clipped_surrogate",
    "dice_surrogate",
    "episodic_advantages",
    "generalized_advantages",
    "lambda_targets",
    "likelihood_ratio_surrogate",
    "linear_feature_values",
    "masked_mean",
    "normalize",
    "returns_to_go",
    "score_surrogate",
]
