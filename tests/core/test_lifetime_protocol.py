"""What algorithms whose trials are lifetimes must keep to, beside ``test_protocol.py``."""

import jax
import jax.numpy as jnp
import numpy as np
import protocol
import pytest
import toys

import metajax
from metajax.core.problem import even_points
from metajax.core.replay import replay

SIZES = protocol.LIFETIME_SIZES


@protocol.every(*(one for one in toys.LIFETIMES if "buffer_size" in protocol.lifetime_sizes(one)))
def test_another_number_of_streams_is_refused(name):
    """The rows of a replay buffer are streams."""
    algorithm = protocol.run(name).algorithm

    def evaluate(theta):
        return metajax.evaluate(algorithm, jax.random.key(1), theta, num_tasks=2, num_streams=3)

    theta = jax.eval_shape(algorithm.init, jax.random.key(0)).theta
    with pytest.raises(metajax.OptionError, match="num_streams"):
        jax.eval_shape(evaluate, theta)


def test_what_survives_the_end_of_an_episode_goes_on_in_a_lifetime():
    """In two-step the rich state switches between episodes, here after each of them."""
    family = metajax.tasks.make("two-step", switch_probability=1.0)
    sizes = {**SIZES, "num_steps": 2, "num_streams": 2, "lifetime": 12}
    algorithm = metajax.make("dqn", family, **sizes)

    # Each chunk and the query are an episode: three chunks make an even number of switches.
    @jax.jit
    def rich_after(key):
        theta, task = algorithm.learner.init(key), family.sample(jax.random.key(2))
        last = [
            algorithm.adapt(key, theta, task, num_adaptations=number).source.streams.env_state.rich
            for number in (3, 0)
        ]
        return task.rich, *last

    rich, after_four, after_one = jax.device_get(rich_after(jax.random.key(1)))
    np.testing.assert_array_equal(after_four, rich)
    np.testing.assert_array_equal(after_one, ~rich)


def test_episodes_of_their_own_are_refused_where_something_survives():
    algorithm = metajax.make("dqn", metajax.tasks.make("two-step"), **SIZES)

    def evaluate(theta):
        return metajax.evaluate(algorithm, jax.random.key(1), theta, num_tasks=2, explore=False)

    theta = jax.eval_shape(algorithm.init, jax.random.key(0)).theta
    with pytest.raises(metajax.OptionError, match="explore: false is not possible on two-step"):
        jax.eval_shape(evaluate, theta)


def test_a_trial_gets_the_mean_of_the_settings_of_all_tasks():
    algorithm = metajax.make("meta-gradient-dqn", toys.arms(), **SIZES, window=1, per_task=True)
    num_tasks = SIZES["num_tasks"]

    @jax.jit
    def run(key):
        state = algorithm.init(key)
        apart = jax.tree.map(lambda leaf: leaf + jnp.arange(num_tasks), state.theta)
        return state.theta, apart, algorithm.deploy(state._replace(theta=apart))

    theta, apart, deployed = jax.device_get(run(jax.random.key(0)))
    assert {leaf.shape for leaf in jax.tree.leaves(theta)} == {(num_tasks,)}
    for name, value in deployed.items():
        np.testing.assert_allclose(value, apart[name].mean(), rtol=1e-6)
    task = jax.eval_shape(algorithm.family.sample, jax.random.key(2))
    trial = jax.eval_shape(algorithm.adapt, jax.random.key(1), deployed, task)
    assert trial.returns.shape == (SIZES["num_points"] + 1,)


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


@pytest.mark.parametrize("generator", ["threefry2x32", "philox4x32", "by number"])
def test_a_replay_draws_as_its_trial_did(generator, assert_same):
    """Where the first keys of a split depend on how many there are, too."""
    with jax.threefry_partitionable(generator != "by number"):
        _assert_replayed(generator, assert_same)


def _assert_replayed(generator, assert_same):
    try:
        key = jax.random.key(1, impl="threefry2x32" if generator == "by number" else generator)
    except ValueError as error:  # not of this version of jax
        pytest.skip(str(error))
    algorithm = protocol.make("maml-dqn")
    learner = algorithm.learner

    @jax.jit
    def both(key):
        theta = learner.init(jax.random.key(0))
        trial = algorithm.adapt(key, theta, algorithm.family.sample(jax.random.key(2)))
        phi = learner.begin(trial.keys.begin, theta)
        again = replay(learner, theta, phi, trial.support, trial.keys.adapt)[0]
        return again.weights, trial.phi.weights

    assert_same(*both(key), rtol=1e-5, atol=1e-6)


@pytest.mark.xdist_group("dqn")
def test_counts_of_transitions_end_where_integers_do():
    """A schedule would begin anew if they wrapped around."""
    run = protocol.run("dqn")
    learner, trial = run.algorithm.learner, protocol.row_of(run.trials, 0)
    last = np.iinfo(np.int32).max
    phi = trial.phi._replace(env_steps=np.int32(last - 1))

    @jax.jit
    def env_steps(phi):
        return learner.adapt(
            learner.noise(jax.random.key(3)), run.theta, phi, trial.query
        ).env_steps

    assert env_steps(phi) == last


def test_points_of_a_long_lifetime_do_not_overflow():
    points = even_points(5_000_000, 500)
    assert (np.diff(points) == 10_000).all()
    assert points[-1] == 5_000_000


def test_a_chunk_that_is_longer_than_the_buffer_is_refused():
    sizes = {**SIZES, "num_steps": 12, "lifetime": 24}
    algorithm = metajax.make("dqn", toys.arms(), **sizes)
    theta = jax.eval_shape(algorithm.init, jax.random.key(0)).theta
    with pytest.raises(metajax.OptionError, match=r"buffer_size: 20 holds 10 steps.*at least 24"):
        jax.eval_shape(lambda theta: metajax.evaluate(algorithm, jax.random.key(0), theta), theta)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("maml-dqn", marks=pytest.mark.further),
        "meta-value",
        pytest.param("meta-policy", marks=pytest.mark.further),
    ],
)
def test_meta_gradients_through_adam_are_finite_where_nothing_moves(name):
    """A one-hot input that is never seen has gradients of zero; with keys of another size."""
    family = metajax.tasks.make("xu-chain", num_states=4, num_episodes=1)
    sizes = {**protocol.lifetime_sizes(name), "inner_optimizer": "adam"}
    sizes |= {"num_steps": 2, "num_streams": 1, "lifetime": 4}
    sizes |= {"learning_starts": 0} if "learning_starts" in sizes else {}
    key = jax.random.key(0, impl="rbg")
    state, history = metajax.train(metajax.make(name, family, **sizes), key, 1)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((state.theta, history["loss"])))
