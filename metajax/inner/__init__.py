"""Learners: what adapts inside one task."""

from metajax.inner.clipping import clip_by_global_norm
from metajax.inner.gradient import SURROGATES, GradientState, gradient_learner, step_sizes
from metajax.inner.memory import memory_learner

__all__ = [
    "SURROGATES",
    "GradientState",
    "clip_by_global_norm",
    "gradient_learner",
    "memory_learner",
    "step_sizes",
]
