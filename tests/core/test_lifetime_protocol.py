"""What every registered algorithm whose trials are lifetimes must keep to."""

import jax
import numpy as np
import pytest
import toys

import metajax
from metajax.algorithms import ALGORITHMS

pytestmark = pytest.mark.usefixtures("quick_compilation")
NUM_TASKS, NUM_STREAMS, NUM_STEPS, NUM_POINTS = 4, 2, 3, 2
LIFETIME = 24  # four chunks
SIZES = {
    "num_streams": NUM_STREAMS,
    "num_steps": NUM_STEPS,
    "lifetime": LIFETIME,
    "num_points": NUM_POINTS,
    "batch_size": 4,
    "buffer_size": 20,
    "learning_starts": 6,
    "hidden_sizes": (4,),
    "num_tasks": NUM_TASKS,
}
OPTIONS = {
    "es-dqn": {"population_size": 4, "widths": (2, 4), "explorer_sizes": (2,), "visit_bits": 3},
    "joint-dqn": {"adaptations": 2, "training_buffer_size": 40},
    "meta-gradient-dqn": {"window": 1},
}


def _known(name):
    return toys.option_names(ALGORITHMS.get(name))


def _make(name):
    sizes = {option: size for option, size in SIZES.items() if option in _known(name)}
    return metajax.make(name, toys.arms(episode_length=2), **sizes, **OPTIONS.get(name, {}))


@pytest.fixture(params=toys.LIFETIMES)
def algorithm(request):
    return _make(request.param)


def test_it_trains_in_blocks_as_in_one(algorithm, assert_same):
    key = jax.random.key(0)
    whole = metajax.train(algorithm, key, 2)
    blocks = metajax.train(algorithm, key, 2, block_size=1)
    assert_same(whole, blocks)
    _, history = whole
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(whole))
    assert (history["env_steps"] > 0).all()
    assert (history["returns"] >= 0).all()
    assert (history["returns"] <= 2).all()


def test_a_task_alone_equals_it_in_a_batch(algorithm):
    theta = algorithm.init(jax.random.key(0)).theta
    keys = jax.random.split(jax.random.key(1), 3)
    tasks = jax.vmap(algorithm.family.sample)(keys)
    trial = jax.jit(lambda key, task: algorithm.adapt(key, theta, task))
    batch = jax.jit(jax.vmap(trial))(keys, tasks)
    alone = trial(keys[1], jax.tree.map(lambda leaf: leaf[1], tasks))
    np.testing.assert_allclose(batch.returns[1], alone.returns, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(batch.query.action[1], alone.query.action)
    assert alone.env_steps == LIFETIME + NUM_STREAMS * NUM_STEPS
    assert alone.returns.shape == (NUM_POINTS + 1,)


def test_evaluation(algorithm):
    theta = algorithm.init(jax.random.key(0)).theta
    sampled = metajax.evaluate(algorithm, jax.random.key(1), theta, num_tasks=5)
    assert sampled.axis == "points"
    assert sampled.returns.shape == (5, NUM_POINTS + 1)
    mode = metajax.evaluate(algorithm, jax.random.key(1), theta, num_tasks=5, explore=False)
    # The best action is the same in every step, so a greedy episode pays all or nothing.
    assert set(np.unique(mode.returns)) <= {0.0, 2.0}


@pytest.mark.parametrize("name", [name for name in toys.LIFETIMES if "buffer_size" in _known(name)])
def test_another_number_of_streams_is_refused(name):
    """The rows of a replay buffer are streams."""
    algorithm = _make(name)
    theta = algorithm.init(jax.random.key(0)).theta
    with pytest.raises(metajax.OptionError, match="num_streams"):
        metajax.evaluate(algorithm, jax.random.key(1), theta, num_tasks=2, num_streams=3)
