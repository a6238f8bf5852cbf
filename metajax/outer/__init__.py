"""The outer side: what improves theta across tasks."""

from metajax.outer.backprop import backprop
from metajax.outer.displacement import displacement
from metajax.outer.epochs import epochs
from metajax.outer.objectives import TrialItem, post_adaptation, with_sampling_credit
from metajax.outer.once import once
from metajax.outer.trust_region import trust_region

__all__ = [
    "TrialItem",
    "backprop",
    "displacement",
    "epochs",
    "once",
    "post_adaptation",
    "trust_region",
    "with_sampling_credit",
]
