"""What every registered algorithm whose trials are lifetimes must keep to."""

import jax
import numpy as np
import pytest
import toys

import metajax
from metajax.algorithms import ALGORITHMS
from metajax.core.problem import even_points
from metajax.core.replay import replay
from metajax.run import checkpoints

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


def test_it_trains_and_resumes_bit_for_bit(algorithm, assert_same, tmp_path):
    key = jax.random.key(0)
    state, history = metajax.train(algorithm, key, 2, block_size=1)
    half, _ = metajax.train(algorithm, key, 1)
    checkpoints.save(tmp_path, 1, half, keep=1)
    half = checkpoints.restore(tmp_path, 1, jax.eval_shape(algorithm.init, key))
    resumed, rest = metajax.train(algorithm, key, 2, state=half, start=1)
    assert_same((state, jax.tree.map(lambda leaf: leaf[1:], history)), (resumed, rest))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((state, history)))
    assert (history["env_steps"] > 0).all()
    assert (history["returns"] >= 0).all()
    assert (history["returns"] <= 2).all()
    assert set(algorithm.schedules) <= set(history)


# One whose buffer goes on, and one whose lifetimes do.
@pytest.mark.parametrize("name", ["joint-dqn", "meta-gradient-actor-critic"])
def test_it_trains_in_blocks_as_in_one(name, assert_same):
    runs = (metajax.train(_make(name), jax.random.key(0), 2, block_size=n) for n in (1, 2))
    assert_same(*runs)


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


def test_what_survives_the_end_of_an_episode_goes_on_in_a_lifetime():
    """In two-step the rich state switches between episodes, here after each of them."""
    family = metajax.tasks.make("two-step", switch_probability=1.0)
    sizes = {**SIZES, "num_steps": 2, "num_streams": 2, "lifetime": 12}
    algorithm = metajax.make("dqn", family, **sizes)
    theta, task = algorithm.init(jax.random.key(0)).theta, family.sample(jax.random.key(2))
    trial = jax.jit(lambda key: algorithm.adapt(key, theta, task))(jax.random.key(1))
    # Three chunks and the query, an episode each: an even number of switches.
    np.testing.assert_array_equal(trial.source.streams.env_state.rich, task.rich)
    fewer = jax.jit(lambda key: algorithm.adapt(key, theta, task, num_adaptations=2))
    np.testing.assert_array_equal(
        fewer(jax.random.key(1)).source.streams.env_state.rich, ~task.rich
    )


def test_episodes_of_their_own_are_refused_where_something_survives():
    algorithm = metajax.make("dqn", metajax.tasks.make("two-step"), **SIZES)
    theta = algorithm.init(jax.random.key(0)).theta
    with pytest.raises(metajax.OptionError, match="explore: false is not possible on two-step"):
        metajax.evaluate(algorithm, jax.random.key(1), theta, num_tasks=2, explore=False)


def test_joint_training_counts_episodes_that_are_longer_than_an_iteration():
    family = metajax.tasks.make("cartpole", episode_length=40)
    sizes = {**SIZES, "num_steps": 1, "adaptations": 4, "training_buffer_size": 40}
    _, history = metajax.train(metajax.make("joint-dqn", family, **sizes), jax.random.key(0), 8)
    assert history["returns"].max() > 4


def test_the_budget_is_that_of_all_buffers_there_are():
    budget = 64 * 40  # bytes; a buffer of 20 transitions of cartpole takes 47 each
    family = metajax.tasks.make("cartpole")
    sizes = {**SIZES, "num_tasks": 64, "devices": 1, "buffer_budget": budget}
    metajax.make("dqn", family, **sizes, microbatch=1)
    with pytest.raises(metajax.OptionError, match=r"64 that there are at once.*fewer tasks"):
        metajax.make("meta-gradient-dqn", family, **sizes, microbatch=1, window=1)
    # Training has one buffer; those of tasks are there in the meta-test alone.
    sizes |= {"num_tasks": 4, "training_buffer_size": 40}
    metajax.make("joint-dqn", family, **sizes)
    with pytest.raises(metajax.OptionError, match="training_buffer_size: 4000"):
        metajax.make("joint-dqn", family, **{**sizes, "training_buffer_size": 4000})
    with pytest.raises(metajax.OptionError, match=r"^buffer_size: 20"):
        metajax.make("joint-dqn", family, **sizes, microbatch=4)


def test_errors_name_the_buffer_that_is_too_small():
    family = metajax.tasks.make("cartpole")
    sizes = {**SIZES, "num_tasks": 4, "learning_starts": 20}
    with pytest.raises(metajax.OptionError, match=r"^training_buffer_size: 8 .*at least 20"):
        metajax.make("joint-dqn", family, **sizes, training_buffer_size=8)
    # A context of three steps needs two blanks of each stream, which nobody has asked for.
    sizes |= {"context_length": 3, "buffer_size": 10}
    with pytest.raises(metajax.OptionError, match=r"^buffer_size: 10 .*at least 20"):
        metajax.make("meta-q-learning", family, **sizes)


@pytest.mark.parametrize("generator", ["threefry2x32", "philox4x32"])
def test_a_replay_draws_as_its_trial_did(generator, assert_same):
    try:
        key = jax.random.key(1, impl=generator)
    except ValueError as error:  # not of this version of jax
        pytest.skip(str(error))
    algorithm = _make("maml-dqn")
    learner, theta = algorithm.learner, algorithm.init(jax.random.key(0)).theta
    task = algorithm.family.sample(jax.random.key(2))
    trial = jax.jit(lambda key: algorithm.adapt(key, theta, task))(key)

    @jax.jit
    def repeated(trial):
        phi = learner.begin(trial.keys.begin, theta)
        return replay(learner, theta, phi, trial.support, trial.keys.adapt)[0]

    assert_same(repeated(trial).weights, trial.phi.weights, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", toys.LIFETIMES)
def test_the_state_keeps_its_types_where_float64_is_allowed(x64, name):
    algorithm = _make(name)
    key = jax.random.key(0)
    state = jax.eval_shape(algorithm.init, key)
    after, _ = jax.eval_shape(algorithm.step, key, state)
    types = [jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), one) for one in (state, after)]
    assert types[0] == types[1]


@pytest.mark.parametrize("name", ["dqn", "es-dqn"])
def test_keys_of_either_kind_train_the_same(assert_same, name):
    algorithm = _make(name)
    keys = jax.random.key(0), jax.random.PRNGKey(0)
    assert_same(*(metajax.train(algorithm, key, 1) for key in keys))


def test_keys_of_another_size_train():
    _, history = metajax.train(_make("maml-dqn"), jax.random.key(0, impl="rbg"), 1)
    assert np.isfinite(history["loss"]).all()


def test_counts_of_transitions_end_where_integers_do():
    """A schedule would begin anew if they wrapped around."""
    algorithm = _make("dqn")
    theta = algorithm.init(jax.random.key(0)).theta
    task = algorithm.family.sample(jax.random.key(2))
    trial = jax.jit(lambda key: algorithm.adapt(key, theta, task))(jax.random.key(1))
    last = np.iinfo(np.int32).max
    phi = trial.phi._replace(env_steps=np.int32(last - 1))
    draws = algorithm.learner.noise(jax.random.key(3))
    phi = jax.jit(algorithm.learner.adapt)(draws, theta, phi, trial.query)
    assert phi.env_steps == last


def test_points_of_a_long_lifetime_do_not_overflow():
    points = even_points(5_000_000, 500)
    assert (np.diff(points) == 10_000).all()
    assert points[-1] == 5_000_000


def test_a_chunk_that_is_longer_than_the_buffer_is_refused():
    sizes = {**SIZES, "num_steps": 12, "lifetime": 24}
    algorithm = metajax.make("dqn", toys.arms(), **sizes)
    with pytest.raises(metajax.OptionError, match=r"buffer_size: 20 holds 10 steps.*at least 24"):
        metajax.evaluate(algorithm, jax.random.key(0), algorithm.init(jax.random.key(0)).theta)


@pytest.mark.parametrize("name", ["maml-dqn", "meta-value", "meta-policy"])
def test_meta_gradients_through_adam_are_finite_where_nothing_moves(name):
    """A one-hot input that is never seen has gradients of zero."""
    family = metajax.tasks.make("xu-chain", num_states=4, num_episodes=1)
    known = _known(name)
    sizes = {option: size for option, size in SIZES.items() if option in known}
    sizes |= {"inner_optimizer": "adam", "num_steps": 2, "num_streams": 1, "lifetime": 4}
    sizes |= {"learning_starts": 0} if "learning_starts" in known else {}
    state, _ = metajax.train(metajax.make(name, family, **sizes), jax.random.key(0), 1)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.theta))
