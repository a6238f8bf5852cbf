"""What algorithms whose trials are lifetimes must keep to, beside ``test_protocol.py``."""

import jax
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
    theta = algorithm.init(jax.random.key(0)).theta
    with pytest.raises(metajax.OptionError, match="num_streams"):
        metajax.evaluate(algorithm, jax.random.key(1), theta, num_tasks=2, num_streams=3)


def test_what_survives_the_end_of_an_episode_goes_on_in_a_lifetime():
    """In two-step the rich state switches between episodes, here after each of them."""
    family = metajax.tasks.make("two-step", switch_probability=1.0)
    sizes = {**SIZES, "num_steps": 2, "num_streams": 2, "lifetime": 12}
    algorithm = metajax.make("dqn", family, **sizes)
    theta, task = algorithm.init(jax.random.key(0)).theta, family.sample(jax.random.key(2))

    def rich_after(num_adaptations):
        def last_state(key):
            trial = algorithm.adapt(key, theta, task, num_adaptations=num_adaptations)
            return trial.source.streams.env_state

        return jax.jit(last_state)(jax.random.key(1)).rich

    # Each chunk and the query are an episode: three chunks make an even number of switches.
    np.testing.assert_array_equal(rich_after(3), task.rich)
    np.testing.assert_array_equal(rich_after(0), ~task.rich)


def test_episodes_of_their_own_are_refused_where_something_survives():
    algorithm = metajax.make("dqn", metajax.tasks.make("two-step"), **SIZES)
    theta = algorithm.init(jax.random.key(0)).theta
    with pytest.raises(metajax.OptionError, match="explore: false is not possible on two-step"):
        metajax.evaluate(algorithm, jax.random.key(1), theta, num_tasks=2, explore=False)


def test_a_trial_gets_the_mean_of_the_settings_of_all_tasks():
    algorithm = metajax.make("meta-gradient-dqn", toys.arms(), **SIZES, window=1, per_task=True)
    state = jax.jit(algorithm.init)(jax.random.key(0))
    num_tasks = SIZES["num_tasks"]
    assert {leaf.shape for leaf in jax.tree.leaves(state.theta)} == {(num_tasks,)}
    apart = jax.tree.map(lambda leaf: leaf + np.arange(num_tasks), state.theta)
    deployed = algorithm.deploy(state._replace(theta=apart))
    for name, value in deployed.items():
        np.testing.assert_allclose(value, apart[name].mean(), rtol=1e-6)
    task = algorithm.family.sample(jax.random.key(2))
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
    learner, theta = algorithm.learner, algorithm.init(jax.random.key(0)).theta
    task = algorithm.family.sample(jax.random.key(2))
    trial = jax.jit(lambda key: algorithm.adapt(key, theta, task))(key)

    @jax.jit
    def repeated(trial):
        phi = learner.begin(trial.keys.begin, theta)
        return replay(learner, theta, phi, trial.support, trial.keys.adapt)[0]

    assert_same(repeated(trial).weights, trial.phi.weights, rtol=1e-5, atol=1e-6)


@pytest.mark.xdist_group("dqn")
def test_counts_of_transitions_end_where_integers_do():
    """A schedule would begin anew if they wrapped around."""
    run = protocol.run("dqn")
    learner, trial = run.algorithm.learner, protocol.row_of(run.trials, 0)
    last = np.iinfo(np.int32).max
    phi = trial.phi._replace(env_steps=np.int32(last - 1))
    noise = learner.noise(jax.random.key(3))
    phi = jax.jit(learner.adapt)(noise, run.theta, phi, trial.query)
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
    """A one-hot input that is never seen has gradients of zero; with keys of another size."""
    family = metajax.tasks.make("xu-chain", num_states=4, num_episodes=1)
    sizes = {**protocol.lifetime_sizes(name), "inner_optimizer": "adam"}
    sizes |= {"num_steps": 2, "num_streams": 1, "lifetime": 4}
    sizes |= {"learning_starts": 0} if "learning_starts" in sizes else {}
    key = jax.random.key(0, impl="rbg")
    state, history = metajax.train(metajax.make(name, family, **sizes), key, 1)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((state.theta, history["loss"])))
