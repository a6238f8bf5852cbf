"""Named algorithms: one short file each, built from the inner and the outer room.

To add one: a file with a frozen dataclass of options whose ``build(family)``
returns a ``MetaAlgorithm``, a line below, and a config. One that learns from labelled
examples says ``labelled = True``. Files of options import JAX where it is first used, so that
`metajax --help` and a mistake in a config file are answered at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from metajax.core.options import OptionError, build
from metajax.core.registry import Registry

if TYPE_CHECKING:
    from metajax.core.algorithm import MetaAlgorithm
    from metajax.core.family import Family

__all__ = ["ALGORITHMS", "list_algorithms", "make"]

ALGORITHMS = Registry(
    "algorithm",
    {
        "actor-critic": "metajax.algorithms.actor_critic.actor_critic:ActorCritic",
        "anil": "metajax.algorithms.gradient.anil:ANIL",
        "bayes-bonus": "metajax.algorithms.classical.bayes_bonus:BayesBonus",
        "beb": "metajax.algorithms.classical.beb:BEB",
        "bootstrapped-actor-critic": (
            "metajax.algorithms.settings.bootstrapped_actor_critic:BootstrappedActorCritic"
        ),
        "cavia": "metajax.algorithms.gradient.cavia:CAVIA",
        "cloning": "metajax.algorithms.imitation.cloning:Cloning",
        "dqn": "metajax.algorithms.q.dqn:DQN",
        "epsilon-greedy": "metajax.algorithms.classical.epsilon_greedy:EpsilonGreedy",
        "es-dqn": "metajax.algorithms.settings.es_dqn:ESDQN",
        "finetune": "metajax.algorithms.gradient.finetune:Finetune",
        "es-maml": "metajax.algorithms.gradient.es_maml:ESMAML",
        "fomaml": "metajax.algorithms.gradient.fomaml:FOMAML",
        "gittins": "metajax.algorithms.classical.gittins:Gittins",
        "greedy": "metajax.algorithms.classical.greedy:Greedy",
        "hand-designed-optimizer": (
            "metajax.algorithms.optimizers.hand_designed:HandDesignedOptimizer"
        ),
        "imaml": "metajax.algorithms.gradient.imaml:IMAML",
        "joint": "metajax.algorithms.gradient.joint:Joint",
        "joint-dqn": "metajax.algorithms.q.joint_dqn:JointDQN",
        "l2o-actor-critic": "metajax.algorithms.optimizers.reinforcement:L2OActorCritic",
        "l2o-dqn": "metajax.algorithms.optimizers.reinforcement:L2ODQN",
        "lpg": "metajax.algorithms.objectives.lpg:LPG",
        "lstm-meta-learner": "metajax.algorithms.gradient.lstm_meta_learner:LSTMMetaLearner",
        "lstm-optimizer": "metajax.algorithms.optimizers.lstm_optimizer:LSTMOptimizer",
        "maml": "metajax.algorithms.gradient.maml:MAML",
        "maml-dqn": "metajax.algorithms.q.maml_dqn:MAMLDQN",
        "maml-plus-plus": "metajax.algorithms.gradient.maml_plus_plus:MAMLPlusPlus",
        "matching": "metajax.algorithms.fewshot.matching:Matching",
        "matching-imitation": ("metajax.algorithms.imitation.matching_imitation:MatchingImitation"),
        "meta-gradient-actor-critic": (
            "metajax.algorithms.settings.meta_gradient_actor_critic:MetaGradientActorCritic"
        ),
        "meta-gradient-dqn": "metajax.algorithms.settings.meta_gradient_dqn:MetaGradientDQN",
        "meta-policy": "metajax.algorithms.gradient.meta_policy:MetaPolicy",
        "meta-q-learning": "metajax.algorithms.q.meta_q_learning:MetaQLearning",
        "meta-sgd": "metajax.algorithms.gradient.meta_sgd:MetaSGD",
        "meta-value": "metajax.algorithms.gradient.meta_value:MetaValue",
        "mlp-optimizer": "metajax.algorithms.optimizers.mlp_optimizer:MLPOptimizer",
        "opsrl": "metajax.algorithms.classical.opsrl:OPSRL",
        "optimistic-thompson-sampling": (
            "metajax.algorithms.classical.optimistic_thompson_sampling:OptimisticThompsonSampling"
        ),
        "promp": "metajax.algorithms.gradient.promp:ProMP",
        "prototypical": "metajax.algorithms.fewshot.prototypical:Prototypical",
        "prototypical-imitation": (
            "metajax.algorithms.imitation.prototypical_imitation:PrototypicalImitation"
        ),
        "psrl": "metajax.algorithms.classical.psrl:PSRL",
        "random": "metajax.algorithms.classical.random_policy:RandomPolicy",
        "relation": "metajax.algorithms.fewshot.relation:Relation",
        "reptile": "metajax.algorithms.gradient.reptile:Reptile",
        "reptile-dqn": "metajax.algorithms.q.reptile_dqn:ReptileDQN",
        "rl2": "metajax.algorithms.memory.rl2:RL2",
        "rl2-reward-prediction": (
            "metajax.algorithms.memory.reward_prediction:RL2RewardPrediction"
        ),
        "snail": "metajax.algorithms.memory.snail:SNAIL",
        "thompson-sampling": "metajax.algorithms.classical.thompson_sampling:ThompsonSampling",
        "transformer": "metajax.algorithms.memory.transformer:Transformer",
        "ucb1": "metajax.algorithms.classical.ucb1:UCB1",
        "ucrl2": "metajax.algorithms.classical.ucrl2:UCRL2",
    },
)


def make(name: str, family: Family, **options: Any) -> MetaAlgorithm:
    """Builds an algorithm by its name.

    Args:
      name: one of ``list_algorithms()``.
      family: the task family that it trains on.
      **options: the fields of the algorithm's options; ``metajax list`` or
        ``help(metajax.algorithms.ALGORITHMS.get(name))`` shows them. Numbers may be
        traced, so that learning rates can be swept with ``jax.vmap``.

    Raises:
      OptionError: (a ``ValueError``) naming the option, what was given and what
        is allowed.

    Examples:
      >>> import metajax
      >>> family = metajax.tasks.make("point-navigation")
      >>> maml = metajax.make("maml", family, inner_steps=1, num_tasks=20)
    """
    return built(build(ALGORITHMS.get(name), options, where=name), family)


def built(options: Any, family: Family) -> MetaAlgorithm:
    """The algorithm of some options on a family.

    Raises OptionError for a family that is none, or of a kind that the algorithm cannot learn from.
    """
    from metajax.core.checks import check_family  # imports jax, after other mistakes
    from metajax.core.family import DataFamily

    check_family(family)
    if isinstance(family, DataFamily) and not getattr(options, "labelled", False):
        raise OptionError(
            "family", f"{family.spec.name} holds labelled examples; allowed: an environment"
        )
    return options.build(family)


def list_algorithms() -> tuple[str, ...]:
    """Names that ``make`` knows."""
    return ALGORITHMS.names()
