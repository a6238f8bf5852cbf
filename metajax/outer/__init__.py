"""The outer side: what improves theta across tasks."""

from metajax.outer.beside import Beside, beside
from metajax.outer.epochs import epochs
from metajax.outer.evolution import FITNESS, Search, evolution, evosax_search
from metajax.outer.gradient.backprop import backprop
from metajax.outer.gradient.bootstrapped import bootstrapped, matching_outputs
from metajax.outer.gradient.displacement import displacement
from metajax.outer.gradient.evolution_gradient import evolution_gradient
from metajax.outer.gradient.post_adaptation import TrialItem, post_adaptation, with_sampling_credit
from metajax.outer.gradient.truncated import truncated
from metajax.outer.gradient.whole_trial import WholeTrial, whole_trial
from metajax.outer.joint import joint
from metajax.outer.once import once
from metajax.outer.scheduled import Scheduled, scheduled
from metajax.outer.separate import separate
from metajax.outer.trust_region import trust_region
from metajax.outer.untrained import untrained

__all__ = [
    "FITNESS",
    "Beside",
    "Scheduled",
    "Search",
    "TrialItem",
    "WholeTrial",
    "backprop",
    "beside",
    "bootstrapped",
    "displacement",
    "epochs",
    "evolution",
    "evolution_gradient",
    "evosax_search",
    "joint",
    "matching_outputs",
    "once",
    "post_adaptation",
    "scheduled",
    "separate",
    "truncated",
    "trust_region",
    "untrained",
    "whole_trial",
    "with_sampling_credit",
]
