"""Every registered algorithm in a small size, with the runs that its tests share.

Compiling costs more than all the rest, so each program is compiled once in a process.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import toys

import metajax
from metajax.algorithms import ALGORITHMS
from metajax.core.algorithm import MetaAlgorithm, MetaState
from metajax.core.family import DataFamily, Family, TaskFamily
from metajax.evaluation import Evaluation

KEY, TEST_KEY = 0, 1
NUM_TEST_TASKS = 5
NUM_EPISODES = 3
LIFETIME_SIZES = {
    "num_tasks": 4,
    "num_streams": 2,
    "num_steps": 3,
    "lifetime": 24,  # four chunks
    "num_points": 2,
    "batch_size": 4,
    "buffer_size": 20,
    "learning_starts": 6,
    "hidden_sizes": (4,),
}
OPTIONS: dict[str, dict[str, Any]] = {
    "rl2": {"hidden_size": 3},
    "rl2-reward-prediction": {"hidden_size": 3},
    "snail": {"input_size": 3, "filters": 2, "attention_size": 2},
    "transformer": {"num_layers": 1, "num_heads": 1, "size": 4, "mlp_size": 4},
    "es-dqn": {"population_size": 4, "widths": (2, 4), "explorer_sizes": (2,), "visit_bits": 3},
    "joint-dqn": {"adaptations": 2, "training_buffer_size": 40},
    "meta-gradient-dqn": {"window": 1},
    "lstm-optimizer": {"inner_steps": 4, "window": 1, "lstm_size": 2},
    "prototypical": {"embedding_size": 3, "hidden_sizes": (4,)},
}


def _few_shot_families() -> list[DataFamily]:
    return [
        metajax.tasks.make("quadratics", size=3),
        metajax.tasks.make("gaussian-blobs", num_classes=3, num_features=2),
    ]


def _continuing_families() -> list[TaskFamily]:
    return [
        metajax.tasks.make("bernoulli-bandit", num_arms=2, num_pulls=NUM_EPISODES),
        metajax.tasks.make(
            "tabular-mdp", num_states=2, num_actions=2, episode_length=2, num_episodes=NUM_EPISODES
        ),
    ]


def _on_the_first(families: Sequence[Family], name: str, **sizes: Any) -> MetaAlgorithm:
    """On the first family that the algorithm works on."""
    problems = []
    for family in families:
        try:
            return metajax.make(name, family, **sizes, **OPTIONS.get(name, {}))
        except metajax.OptionError as error:
            problems.append(str(error))
    raise AssertionError(f"no family fits {name}: {problems}")


def make(name: str) -> MetaAlgorithm:
    """An algorithm of the registry, or a rule of ``toys.OUTER_RULES``, in its small size."""
    if name in toys.CONTINUING:
        return _on_the_first(_continuing_families(), name, num_tasks=4)
    if name in toys.FEW_SHOT:
        return _on_the_first(_few_shot_families(), name, num_tasks=4, num_streams=3)
    if name in toys.LIFETIMES:
        known = toys.option_names(ALGORITHMS.get(name))
        sizes = {option: size for option, size in LIFETIME_SIZES.items() if option in known}
        return metajax.make(name, toys.arms(), **sizes, **OPTIONS.get(name, {}))
    registered, options = toys.OUTER_RULES.get(name, (name, {}))
    return toys.make(registered, toys.line(), **options)


class Run:
    """A small algorithm and what its programs gave, each run when it is first asked for."""

    def __init__(self, algorithm: MetaAlgorithm) -> None:
        self.algorithm = algorithm

    @functools.cached_property
    def training(self) -> tuple[dict[int, MetaState], dict[str, Any]]:
        """Two meta-iterations in blocks of one: the state after each, and the history."""
        states: dict[int, MetaState] = {}

        def keep(reached: int, state: MetaState, infos: dict[str, Any]) -> None:
            del infos
            states[reached] = jax.tree.map(jnp.copy, state)

        _, history = metajax.train(
            self.algorithm, jax.random.key(KEY), 2, block_size=1, on_block=keep
        )
        return states, history

    @functools.cached_property
    def meta_test(self) -> Evaluation:
        """Of the trained theta, on tasks of the same family."""
        theta = self.training[0][2].theta
        key = jax.random.key(TEST_KEY)
        return metajax.evaluate(self.algorithm, key, theta, num_tasks=NUM_TEST_TASKS)


@functools.cache
def run(name: str) -> Run:
    """The shared ``Run`` of a name that ``make`` knows."""
    return Run(make(name))
