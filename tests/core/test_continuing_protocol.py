"""What every registered algorithm whose trials go on through episodes must keep to."""

import jax
import numpy as np
import pytest
import toys

import metajax
from metajax.run import checkpoints

pytestmark = pytest.mark.usefixtures("quick_compilation")
NUM_TASKS, NUM_EPISODES = 4, 3
SIZES = {
    "rl2": {"hidden_size": 3},
    "snail": {"input_size": 3, "filters": 2, "attention_size": 2},
    "transformer": {"num_layers": 1, "num_heads": 1, "size": 4, "mlp_size": 4},
}


@pytest.fixture(scope="module")
def families():
    return [
        metajax.tasks.make("bernoulli-bandit", num_arms=2, num_pulls=NUM_EPISODES),
        metajax.tasks.make(
            "tabular-mdp", num_states=2, num_actions=2, episode_length=2, num_episodes=NUM_EPISODES
        ),
    ]


@pytest.fixture(params=toys.CONTINUING)
def algorithm(request, families):
    """The algorithm in a small size, on the first family that it works on."""
    options = {"num_tasks": NUM_TASKS, **SIZES.get(request.param, {})}
    problems = []
    for family in families:
        try:
            return metajax.make(request.param, family, **options)
        except metajax.OptionError as error:
            problems.append(str(error))
    pytest.fail(f"no family fits {request.param}: {problems}")


def test_it_trains_and_resumes_bit_for_bit(algorithm, assert_same, tmp_path):
    key = jax.random.key(0)
    state, history = metajax.train(algorithm, key, 2, block_size=1)
    half, _ = metajax.train(algorithm, key, 1)
    if jax.tree.leaves(half):  # classical methods carry nothing
        checkpoints.save(tmp_path, 1, half, keep=1)
        half = checkpoints.restore(tmp_path, 1, jax.eval_shape(algorithm.init, key))
    resumed, rest = metajax.train(algorithm, key, 2, state=half, start=1)
    assert_same((state, jax.tree.map(lambda leaf: leaf[1:], history)), (resumed, rest))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((state, history)))
    assert history["returns"].shape == (2, NUM_EPISODES)
    steps = NUM_TASKS * NUM_EPISODES * algorithm.family.spec.episode_length
    np.testing.assert_array_equal(history["env_steps"], [steps] * 2)


def test_it_trains_in_blocks_as_in_one(families, assert_same):
    rl2 = metajax.make("rl2", families[0], num_tasks=NUM_TASKS, **SIZES["rl2"])
    runs = (metajax.train(rl2, jax.random.key(0), 2, block_size=size) for size in (1, 2))
    assert_same(*runs)


def test_a_task_alone_equals_it_in_a_batch(algorithm):
    theta = algorithm.init(jax.random.key(0)).theta
    keys = jax.random.split(jax.random.key(1), 3)
    tasks = jax.vmap(algorithm.family.sample)(keys)
    trial = jax.jit(lambda key, task: algorithm.adapt(key, theta, task, num_streams=2))
    batch = jax.jit(jax.vmap(trial))(keys, tasks)
    alone = trial(keys[1], jax.tree.map(lambda leaf: leaf[1], tasks))
    np.testing.assert_allclose(batch.returns[1], alone.returns, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(batch.query.action[1], alone.query.action)
    assert alone.returns.shape == (NUM_EPISODES,)


def test_evaluation(algorithm):
    theta = algorithm.init(jax.random.key(0)).theta
    evaluation = metajax.evaluate(algorithm, jax.random.key(1), theta, num_tasks=5)
    assert evaluation.axis == "episodes"
    assert evaluation.returns.shape == (5, NUM_EPISODES)
    assert evaluation.env_steps == 5 * NUM_EPISODES * algorithm.family.spec.episode_length
    mode = metajax.evaluate(algorithm, jax.random.key(1), theta, num_tasks=5, explore=False)
    assert np.isfinite(mode.returns).all()
    assert mode.env_steps == evaluation.env_steps


def test_the_mode_goes_through_a_trial_of_its_own(algorithm):
    """What is measured is what is run, and nothing beside it."""
    theta = algorithm.init(jax.random.key(0)).theta
    task = algorithm.family.sample(jax.random.key(1))
    trial = algorithm.adapt(jax.random.key(2), theta, task, num_streams=2, explore=False)
    length = algorithm.family.spec.episode_length
    rewards = np.asarray(trial.query.reward).reshape(NUM_EPISODES, length, 2)
    np.testing.assert_allclose(trial.returns, rewards.sum(axis=1).mean(axis=1), rtol=1e-5)
    assert trial.env_steps == 2 * NUM_EPISODES * length
