"""Learners: what adapts inside one task."""

from metajax.inner.actor_critic import ActorCriticSettings, actor_critic_learner
from metajax.inner.bayes import bayes
from metajax.inner.classical.episodic_planner import episodic_planner
from metajax.inner.classical.scoring import Rule as ScoringRule
from metajax.inner.classical.scoring import scoring_learner
from metajax.inner.descent import DescentState, Rule, as_rule, descent, made
from metajax.inner.fine_tuning import (
    adapters,
    gradual_unfreezing,
    layer_decay,
    low_rank,
    scale_by_layer,
    without_adapters,
)
from metajax.inner.imitation import (
    Steps,
    attended,
    conditioned,
    matching_policy,
    num_action_features,
    pooled_policy,
)
from metajax.inner.implicit import implicit
from metajax.inner.informed import Informed, with_recent_rewards
from metajax.inner.learned_objective import objective_learner, objective_regularizer
from metajax.inner.learned_optimizer import init_lstm_rule, log_and_sign, lstm_rule
from metajax.inner.memory import MemoryPolicy, memory_learner
from metajax.inner.meta_lstm import init_meta_lstm_rule, meta_lstm_rule
from metajax.inner.metric import SupportSet, matching, prototypes, relations
from metajax.inner.mlp_rule import init_mlp_rule, mlp_rule
from metajax.inner.partition import EVERYTHING, HEADS, Partition, part
from metajax.inner.policy import policy_actor, policy_outputs
from metajax.inner.pretext import Pretext, all_classes, contrastive
from metajax.inner.q.context import Windows, windows_of, with_context
from metajax.inner.q.context_replay import ContextReplay, context_replay
from metajax.inner.q.exploration import Exploration, learned_exploration, visit_hash
from metajax.inner.q.meta_q import MetaQ, drawn_experience, meta_q_learner
from metajax.inner.q.off_policy_actor import off_policy_actor
from metajax.inner.q.propensity import Propensity, effective_sample_size, propensity
from metajax.inner.q.q_learning import q_learner, without_target
from metajax.inner.q.q_update import QSettings, QState, QUpdate
from metajax.inner.q.value_learner import Correction, value_learner
from metajax.inner.reinforce import SURROGATES, reinforce
from metajax.inner.rule_inputs import dormancy, layer_places, told_dormancy
from metajax.inner.rules import (
    check_differentiable,
    clip_by_global_norm,
    first_order_rule,
    proximal,
    step_sizes,
)
from metajax.inner.supervised import supervised

__all__ = [
    "EVERYTHING",
    "HEADS",
    "SURROGATES",
    "ActorCriticSettings",
    "ContextReplay",
    "Correction",
    "DescentState",
    "Exploration",
    "Informed",
    "MemoryPolicy",
    "MetaQ",
    "Partition",
    "Pretext",
    "Propensity",
    "QSettings",
    "QState",
    "QUpdate",
    "Rule",
    "ScoringRule",
    "Steps",
    "SupportSet",
    "Windows",
    "actor_critic_learner",
    "adapters",
    "all_classes",
    "as_rule",
    "attended",
    "bayes",
    "check_differentiable",
    "clip_by_global_norm",
    "conditioned",
    "context_replay",
    "contrastive",
    "descent",
    "dormancy",
    "drawn_experience",
    "effective_sample_size",
    "episodic_planner",
    "first_order_rule",
    "gradual_unfreezing",
    "implicit",
    "init_lstm_rule",
    "init_meta_lstm_rule",
    "init_mlp_rule",
    "layer_decay",
    "layer_places",
    "learned_exploration",
    "log_and_sign",
    "low_rank",
    "lstm_rule",
    "made",
    "matching",
    "matching_policy",
    "memory_learner",
    "meta_lstm_rule",
    "meta_q_learner",
    "mlp_rule",
    "num_action_features",
    "objective_learner",
    "objective_regularizer",
    "off_policy_actor",
    "part",
    "policy_actor",
    "policy_outputs",
    "pooled_policy",
    "propensity",
    "prototypes",
    "proximal",
    "q_learner",
    "reinforce",
    "relations",
    "scale_by_layer",
    "scoring_learner",
    "step_sizes",
    "supervised",
    "told_dormancy",
    "value_learner",
    "visit_hash",
    "windows_of",
    "with_context",
    "with_recent_rewards",
    "without_adapters",
    "without_target",
]
