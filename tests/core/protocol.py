"""Every registered algorithm in a small size, with the runs that its tests share.

Compiling costs more than all the rest, so each program is compiled once in a process: one
block of training, and trials side by side.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toys

import metajax
from metajax.algorithms import ALGORITHMS
from metajax.core.algorithm import MetaAlgorithm, MetaState
from metajax.core.family import DataFamily, Family, TaskFamily
from metajax.core.types import Key, Tree, Trial

KEY, TEST_KEY = 0, 1
NUM_TEST_TASKS = 5
NUM_EPISODES, NUM_STREAMS = 3, 2
LIFETIME_SIZES = {
    "num_tasks": 4,
    "num_streams": NUM_STREAMS,
    "num_steps": 3,
    "lifetime": 24,  # four chunks
    "num_points": 2,
    "batch_size": 4,
    "buffer_size": 20,
    "learning_starts": 6,
    "hidden_sizes": (4,),
}
LEARNED = ("inner_lr", "discount", "gae_lambda", "value_coefficient", "entropy_coefficient")
"""All that the meta-gradient actor-critic can learn."""
OPTIONS: dict[str, dict[str, Any]] = {
    "rl2": {"hidden_size": 3},
    "rl2-reward-prediction": {"hidden_size": 3},
    "snail": {"input_size": 3, "filters": 2, "attention_size": 2},
    "transformer": {"num_layers": 1, "num_heads": 1, "size": 4, "mlp_size": 4},
    "es-maml": {"population_size": 4},
    "es-dqn": {"population_size": 4, "widths": (2, 4), "explorer_sizes": (2,), "visit_bits": 3},
    "joint-dqn": {"adaptations": 2, "training_buffer_size": 40},
    "meta-gradient-dqn": {"window": 1},
    "bootstrapped-actor-critic": {"learned": LEARNED, "target_steps": 2, "reward_history": 2},
    "meta-gradient-actor-critic": {"learned": LEARNED},
    "lpg": {
        "window": 1,
        "inner_lr": 0.5,
        "lstm_size": 3,
        "embedding_size": 2,
        "num_predictions": 2,
    },
    "l2o-actor-critic": {
        "exploration": True,
        "population_size": 2,
        "rule_sizes": (3,),
        "window": 1,
    },
    "l2o-dqn": {"estimator": "pes", "rule_sizes": (3,), "window": 1},
    "hand-designed-optimizer": {"inner_steps": 1},
    "lstm-optimizer": {"inner_steps": 4, "window": 1, "lstm_size": 2},
    "mlp-optimizer": {"inner_steps": 4, "window": 1, "rule_sizes": (3,), "estimator": "pes"},
    "prototypical": {"embedding_size": 3, "hidden_sizes": (4,)},
    "matching": {"embedding_size": 3, "hidden_sizes": (4,), "context_steps": 1},
    "matching-imitation": {"embedding_size": 3, "head_sizes": (4,), "slip": 0.2},
    "prototypical-imitation": {"embedding_size": 3, "head_sizes": (4,), "query": "oracle"},
    "cloning": {"updates_per_step": 3},
    "relation": {"embedding_size": 3, "hidden_sizes": (4,), "relation_sizes": (4,)},
}
FAMILIES = {"arms": toys.arms, "sinusoid": functools.partial(metajax.tasks.make, "sinusoid")}
"""Families beside ``line``, for names such as "maml on arms"."""


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
            return metajax.make(name, family, **{**sizes, **OPTIONS.get(name, {})})
        except metajax.OptionError as error:
            problems.append(str(error))
    raise AssertionError(f"no family fits {name}: {problems}")


def lifetime_sizes(name: str) -> dict[str, Any]:
    """Those of ``LIFETIME_SIZES`` that the algorithm has, and its own."""
    known = toys.option_names(ALGORITHMS.get(name))
    sizes = {option: size for option, size in LIFETIME_SIZES.items() if option in known}
    return {**sizes, **OPTIONS.get(name, {})}


def make(name: str, devices: int = 1) -> MetaAlgorithm:
    """An algorithm of the registry, or a rule of ``toys.OUTER_RULES``, in its small size."""
    registered, _, family = name.partition(" on ")
    default = registered, OPTIONS.get(registered, {})
    registered, options = toys.OUTER_RULES.get(registered, default)
    layout = (
        {"devices": devices} if "devices" in toys.option_names(ALGORITHMS.get(registered)) else {}
    )
    if name in toys.CONTINUING:
        return _on_the_first(_continuing_families(), name, num_tasks=4, **layout)
    if name in toys.FEW_SHOT:
        return _on_the_first(_few_shot_families(), name, num_tasks=4, num_streams=3, **layout)
    if name in toys.LIFETIMES:
        return metajax.make(name, toys.arms(), **layout, **lifetime_sizes(name))
    return toys.make(registered, FAMILIES.get(family, toys.line)(), **layout, **options)


class Run:
    """A small algorithm and what its programs gave, each run when it is first asked for."""

    def __init__(self, algorithm: MetaAlgorithm) -> None:
        self.algorithm = algorithm

    def train(self, key: Key, **options: Any) -> tuple[dict[int, MetaState], dict[str, Any]]:
        """Up to two meta-iterations in blocks of one: the state after each, and the history."""
        states: dict[int, MetaState] = {}

        def keep(reached: int, state: MetaState, infos: dict[str, Any]) -> None:
            del infos
            states[reached] = jax.tree.map(_copy, state)

        _, history = metajax.train(self.algorithm, key, 2, block_size=1, on_block=keep, **options)
        return states, history

    @functools.cached_property
    def training(self) -> tuple[dict[int, MetaState], dict[str, Any]]:
        """A whole run with the key ``KEY``."""
        return self.train(jax.random.key(KEY))

    @functools.cached_property
    def theta(self) -> Tree:
        """Of a meta-test, after training; ``()`` for classical methods."""
        has_theta = jax.tree.leaves(jax.eval_shape(self.algorithm.init, jax.random.key(KEY)))
        return self.algorithm.deploy(self.training[0][2]) if has_theta else ()

    @functools.cached_property
    def adapt(self) -> Callable[[Key, Tree], Trial]:
        """``(keys, tasks) ->`` trials side by side, of lifetimes with returns of the mode."""
        explore = self.algorithm.axis != "points"
        adapt = functools.partial(self.algorithm.adapt, explore=explore)
        program = jax.jit(jax.vmap(adapt, (0, None, 0)))
        return lambda keys, tasks: jax.device_get(program(keys, self.theta, tasks))

    @functools.cached_property
    def trials(self) -> Trial:
        """Those of a meta-test with the key ``TEST_KEY``, leaves ``[N, ...]``."""
        return self.adapt(*drawn(self.algorithm.family, jax.random.key(TEST_KEY), NUM_TEST_TASKS))

    @functools.cached_property
    def returns(self) -> np.ndarray:
        """What a meta-test with sampled actions finds, of lifetimes by hand."""
        if self.algorithm.axis != "points":
            return np.asarray(self.trials.returns)
        return np.stack([_lifetime_returns(row_of(self.trials, i)) for i in range(NUM_TEST_TASKS)])


def _copy(leaf: jax.Array) -> Any:
    """On the host, as copying on the devices compiles a program for each shape."""
    is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return jnp.copy(leaf) if is_key else np.array(leaf)


@functools.partial(jax.jit, static_argnums=(0, 2))
def drawn(family: Family, key: Key, number: int) -> tuple[Key, Tree]:
    """Keys of trials and tasks, as a batch draws them from its key."""
    pairs = jax.vmap(jax.random.split)(jax.random.split(key, number))
    return pairs[:, 1], jax.vmap(family.sample)(pairs[:, 0])


def row_of(tree: Tree, index: int) -> Tree:
    """One row of leaves ``[N, ...]``."""
    return jax.tree.map(lambda leaf: leaf[index], tree)


def iteration_key(key: Key, iteration: int) -> Key:
    """What ``train`` gives to ``step``."""
    return jax.random.fold_in(jax.random.split(key)[1], iteration)


@functools.cache
def run(name: str) -> Run:
    """The shared ``Run`` of a name that ``make`` knows."""
    return Run(make(name))


SIBLINGS = {
    "bootstrapped-actor-critic": "meta-gradient-actor-critic",
    "cavia": "anil",
    "es-dqn": "dqn",
    "fomaml": "maml",
    "joint-dqn": "dqn",
    "l2o-dqn": "l2o-actor-critic",
    "lstm-meta-learner": "lstm-optimizer",
    "maml-dqn": "reptile-dqn",
    "maml-plus-plus": "maml",
    "meta-gradient-dqn": "meta-gradient-actor-critic",
    "meta-policy": "meta-q-learning",
    "meta-sgd": "maml",
    "meta-value": "meta-q-learning",
    "mlp-optimizer": "lstm-optimizer",
    "opsrl": "psrl",
    "optimistic-thompson-sampling": "thompson-sampling",
    "promp": "epochs",
    "prototypical-imitation": "matching-imitation",
    "relation": "matching",
    "rl2-reward-prediction": "rl2",
    "transformer": "snail",
}
"""Algorithms whose tests are further cases, by the nearest one that is not."""


def every(*names: str, further: Sequence[str] = ()) -> pytest.MarkDecorator:
    """Parametrizes ``name``, with all tests of a name in one process."""

    def marked(name: str) -> Any:
        more = [pytest.mark.further] if name in further or name in SIBLINGS else []
        return pytest.param(name, marks=[pytest.mark.xdist_group(name), *more])

    return pytest.mark.parametrize("name", [marked(name) for name in (*names, *further)])


def _lifetime_returns(trial: Trial) -> np.ndarray:
    """``[points]``, before any, half and all of the four adaptations.

    The mean over streams of the return of the episode that ended last, or of the first one so
    far.
    """
    found = np.zeros((5, NUM_STREAMS))
    for stream in range(NUM_STREAMS):
        running, latest = 0.0, None
        for chunk in range(5):
            part = trial.query if chunk == 4 else row_of(trial.support, chunk)
            done = part.terminated | part.truncated
            for step in range(len(done)):
                running += part.reward[step, stream]
                if done[step, stream]:
                    running, latest = 0.0, running
            found[chunk, stream] = running if latest is None else latest
    return found.mean(axis=1)[[0, 2, 4]]
