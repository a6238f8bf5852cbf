"""The outer side: what improves theta across tasks."""

from metajax.outer.continued import Continued, continued
from metajax.outer.epochs import epochs
from metajax.outer.evolution import FITNESS, Search, evolution, evosax_search
from metajax.outer.gradient.backprop import backprop
from metajax.outer.gradient.displacement import displacement
from metajax.outer.gradient.memory import WholeTrial, score_loss, whole_trial
from metajax.outer.gradient.objectives import (
    TrialItem,
    clipped_loss,
    policy_gradient_loss,
    post_adaptation,
    ratio_loss,
    with_sampling_credit,
)
from metajax.outer.gradient.truncated import truncated
from metajax.outer.joint import multi_task
from metajax.outer.once import once
from metajax.outer.separate import separate
from metajax.outer.trust_region import trust_region
from metajax.outer.untrained import untrained

__all__ = [
    "FITNESS",
    "Continued",
    "Search",
    "TrialItem",
    "WholeTrial",
    "backprop",
    "clipped_loss",
    "continued",
    "displacement",
    "epochs",
    "evolution",
    "evosax_search",
    "multi_task",
    "once",
    "policy_gradient_loss",
    "post_adaptation",
    "ratio_loss",
    "score_loss",
    "separate",
    "truncated",
    "trust_region",
    "untrained",
    "whole_trial",
    "with_sampling_credit",
]
