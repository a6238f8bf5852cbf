"""Named algorithms: one short file each, built from the inner and the outer room.

To add one: a file with a frozen dataclass of options whose ``build(family)``
returns a ``MetaAlgorithm``, a line below, and a config.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from metajax.options import OptionError, build
from metajax.registry import Registry

if TYPE_CHECKING:
    from metajax.types import MetaAlgorithm, TaskFamily

ALGORITHMS = Registry(
    "algorithm",
    {
        "bayes-bonus": "metajax.algorithms.bayes_bonus:BayesBonus",
        "beb": "metajax.algorithms.beb:BEB",
        "dqn": "metajax.algorithms.dqn:DQN",
        "epsilon-greedy": "metajax.algorithms.epsilon_greedy:EpsilonGreedy",
        "es-dqn": "metajax.algorithms.es_dqn:ESDQN",
        "fomaml": "metajax.algorithms.fomaml:FOMAML",
        "gittins": "metajax.algorithms.gittins:Gittins",
        "greedy": "metajax.algorithms.greedy:Greedy",
        "joint": "metajax.algorithms.joint:Joint",
        "joint-dqn": "metajax.algorithms.joint_dqn:JointDQN",
        "maml": "metajax.algorithms.maml:MAML",
        "maml-dqn": "metajax.algorithms.maml_dqn:MAMLDQN",
        "meta-gradient-actor-critic": (
            "metajax.algorithms.meta_gradient_actor_critic:MetaGradientActorCritic"
        ),
        "meta-gradient-dqn": "metajax.algorithms.meta_gradient_dqn:MetaGradientDQN",
        "meta-policy": "metajax.algorithms.meta_policy:MetaPolicy",
        "meta-q-learning": "metajax.algorithms.meta_q_learning:MetaQLearning",
        "meta-value": "metajax.algorithms.meta_value:MetaValue",
        "opsrl": "metajax.algorithms.opsrl:OPSRL",
        "optimistic-thompson-sampling": (
            "metajax.algorithms.optimistic_thompson_sampling:OptimisticThompsonSampling"
        ),
        "psrl": "metajax.algorithms.psrl:PSRL",
        "random": "metajax.algorithms.random_policy:RandomPolicy",
        "reptile": "metajax.algorithms.reptile:Reptile",
        "reptile-dqn": "metajax.algorithms.reptile_dqn:ReptileDQN",
        "rl2": "metajax.algorithms.rl2:RL2",
        "snail": "metajax.algorithms.snail:SNAIL",
        "thompson-sampling": "metajax.algorithms.thompson_sampling:ThompsonSampling",
        "transformer": "metajax.algorithms.transformer:Transformer",
        "ucb1": "metajax.algorithms.ucb1:UCB1",
        "ucrl2": "metajax.algorithms.ucrl2:UCRL2",
    },
)


def make(name: str, family: TaskFamily, **options: Any) -> MetaAlgorithm:
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

    Example:
      >>> import metajax
      >>> family = metajax.tasks.make("point-navigation")
      >>> maml = metajax.make("maml", family, inner_steps=1, num_tasks=20)
    """
    made = build(ALGORITHMS.get(name), options, where=name)

    from metajax.types import TaskFamily  # imports jax, which mistakes above need not wait for

    if not isinstance(family, TaskFamily):
        raise OptionError(
            "family",
            f"{family!r} is no TaskFamily; allowed: one of metajax.tasks.make or "
            'metajax.tasks.from_gymnax, for example metajax.tasks.make("point-navigation")',
        )
    return made.build(family)


def list_algorithms() -> tuple[str, ...]:
    """Names that ``make`` knows."""
    return ALGORITHMS.names()
