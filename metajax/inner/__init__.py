"""Learners: what adapts inside one task."""

from metajax.data.buffer import Replay, Transition, uniform_replay
from metajax.inner.actor_critic import (
    ActorCriticSettings,
    ActorCriticState,
    actor_critic_learner,
)
from metajax.inner.classical.episodic_planner import episodic_planner
from metajax.inner.classical.scoring import Rule, scoring_learner
from metajax.inner.descent import (
    SURROGATES,
    GradientState,
    check_differentiable,
    gradient_learner,
    step_sizes,
)
from metajax.inner.memory import memory_learner
from metajax.inner.q.context import Windows, windows_of, with_context
from metajax.inner.q.context_replay import ContextReplay, context_replay
from metajax.inner.q.exploration import Exploration, learned_exploration, visit_hash
from metajax.inner.q.meta_q import MetaQ, drawn_experience, meta_q_learner
from metajax.inner.q.off_policy_actor import off_policy_actor
from metajax.inner.q.propensity import Propensity, effective_sample_size, propensity
from metajax.inner.q.q_learning import q_learner
from metajax.inner.q.q_update import QSettings, QState, QUpdate, q_update
from metajax.inner.q.value_learner import Correction, ValueState, value_learner
from metajax.inner.rules import clip_by_global_norm

__all__ = [
    "SURROGATES",
    "ActorCriticSettings",
    "ActorCriticState",
    "ContextReplay",
    "Correction",
    "Exploration",
    "GradientState",
    "MetaQ",
    "Propensity",
    "QSettings",
    "QState",
    "QUpdate",
    "Replay",
    "Rule",
    "Transition",
    "ValueState",
    "Windows",
    "actor_critic_learner",
    "check_differentiable",
    "clip_by_global_norm",
    "context_replay",
    "drawn_experience",
    "effective_sample_size",
    "episodic_planner",
    "gradient_learner",
    "learned_exploration",
    "memory_learner",
    "meta_q_learner",
    "off_policy_actor",
    "propensity",
    "q_learner",
    "q_update",
    "scoring_learner",
    "step_sizes",
    "uniform_replay",
    "value_learner",
    "visit_hash",
    "windows_of",
    "with_context",
]
