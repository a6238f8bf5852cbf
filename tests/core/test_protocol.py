"""What every registered algorithm must keep to, each in one small run."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import protocol
import pytest
import toys

import metajax
from metajax.algorithms import ALGORITHMS
from metajax.run import checkpoints

MEMORY = tuple(name for name in toys.CONTINUING if name in protocol.OPTIONS)
CLASSICAL = tuple(name for name in toys.CONTINUING if name not in protocol.OPTIONS)
# Beside ``line``: labelled examples, and two estimators with discrete actions.
LABELLED_TOO = [name for name in toys.GRADIENT_BASED if ALGORITHMS.get(name).labelled]
SINUSOID = tuple(f"{name} on sinusoid" for name in LABELLED_TOO if name != "fomaml")
DISCRETE = ("maml on arms", "reptile on arms")
SUPERVISED = ("maml on sinusoid", "cavia on sinusoid", "joint on sinusoid")
FURTHER_SUPERVISED = [name for name in SINUSOID if name not in SUPERVISED]
LABELLED = (*toys.FEW_SHOT, *SINUSOID)
ALL = (*metajax.list_algorithms(), *SUPERVISED, *DISCRETE)
# Training of a classical method only reports, so one speaks for all.
TRAINED = tuple(name for name in ALL if name not in CLASSICAL or name == "psrl")
TESTED = (*metajax.list_algorithms(), *SUPERVISED, "maml on arms")
ALONE = ("dqn", "rl2", "snail", "psrl", "lstm-optimizer", "prototypical", "cavia on sinusoid")
FURTHER_ALONE = (
    *("es-dqn", "meta-gradient-actor-critic", "meta-policy", "meta-q-learning"),
    *("transformer", "thompson-sampling", "maml on sinusoid"),
)
"""Each kind of learner."""


def _signature(tree):
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)


# --- Training ------------------------------------------------------------------------------


@protocol.every(*TRAINED, further=FURTHER_SUPERVISED)
def test_it_trains_and_resumes_bit_for_bit(name, assert_same, tmp_path):
    run = protocol.run(name)
    key = jax.random.key(protocol.KEY)
    states, history = run.training
    start = metajax.initial_state(run.algorithm, key)
    assert _signature(states[1]) == _signature(states[2]) == _signature(start)
    half = states[1]
    if jax.tree.leaves(half):  # classical methods carry nothing
        checkpoints.save(tmp_path, 1, half, keep=1)
        half = checkpoints.restore(tmp_path, 1, jax.eval_shape(run.algorithm.init, key))
    resumed, rest = run.train(key, state=half, start=1)
    assert_same((states[2], jax.tree.map(lambda leaf: leaf[1:], history)), (resumed[2], rest))


@protocol.every(*TRAINED, further=FURTHER_SUPERVISED)
def test_what_training_reports(name):
    algorithm, (states, history) = protocol.run(name).algorithm, protocol.run(name).training
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((states, history)))
    assert all(value.shape == (2,) for field, value in history.items() if field != "returns")
    assert set(algorithm.schedules) <= set(history)
    if algorithm.axis == "points":
        assert (history["env_steps"] > 0).all()
        assert (history["returns"] >= 0).all()
        assert (history["returns"] <= 2).all()
        return
    if name in ("lstm-optimizer", "mlp-optimizer"):  # trained on windows of lifetimes that go on
        assert history["returns"].shape == (2, 1)
        assert (history["env_steps"] > 0).all()
        return
    per_trial = _returns_of_a_trial(name)
    assert history["returns"].shape == (2, per_trial)
    for iteration, steps in enumerate(history["env_steps"]):
        key = _key_of_tasks(name, protocol.iteration_key(jax.random.key(protocol.KEY), iteration))
        assert steps == per_trial * _members(name) * _steps(name, key, toys.NUM_TASKS)


def _key_of_tasks(name, key):
    """What the outer rule draws the tasks of an iteration from."""
    number, index = {"promp": (2, 0), "es-maml": (3, 2)}.get(_registered(name), (1, None))
    return key if index is None else jax.random.split(key, number)[index]


def _members(name):
    """Number of trials in each task."""
    return protocol.OPTIONS.get(_registered(name), {}).get("population_size", 1)


def _registered(name):
    return name.partition(" on ")[0]


def _returns_of_a_trial(name):
    if name in toys.CONTINUING:
        return protocol.NUM_EPISODES
    if name in toys.LIFETIMES:
        return protocol.LIFETIME_SIZES["num_points"] + 1
    adaptations = {"joint": 0, "finetune": 0, "reptile": 3, "lstm-meta-learner": 5}
    adaptations |= {"lstm-optimizer": 4, "mlp-optimizer": 4}
    return adaptations.get(_registered(name), 1) + 1


def _steps(name, key, num_tasks):
    """Transitions of one chunk, or one episode, of the tasks that a key draws; or examples."""
    family = protocol.run(name).algorithm.family
    if name in toys.CONTINUING:
        return num_tasks * family.spec.episode_length
    if name in LABELLED:
        return num_tasks * toys.NUM_STREAMS
    _, tasks = protocol.drawn(family, key, num_tasks)
    lengths = tasks.lifetime if isinstance(tasks, toys.Walk) else 2 * np.ones(num_tasks, int)
    return toys.NUM_STREAMS * int(np.sum(lengths))


OUTER_RULES = ("maml", "reptile", "emaml", "epochs", "trust region")


@protocol.every(*OUTER_RULES)
def test_every_outer_rule_resumes_and_moves_theta(name, assert_same):
    run = protocol.run(name)
    key = jax.random.key(protocol.KEY)
    states, history = run.training
    resumed, rest = run.train(key, state=jax.tree.map(jnp.copy, states[1]), start=1)
    assert_same((states[2], jax.tree.map(lambda leaf: leaf[1:], history)), (resumed[2], rest))
    start = metajax.initial_state(run.algorithm, key)
    assert _differ(start.theta, states[2].theta)


def _differ(one, other):
    pairs = zip(*map(jax.tree.leaves, (one, other)), strict=True)
    return any(not np.array_equal(*pair) for pair in pairs)


# Below, the other outer rules and what carries lifetimes.
@protocol.every("reptile", "joint-dqn")
def test_one_block_of_two_is_as_good_as_two_of_one(name, assert_same):
    _assert_blocks_change_nothing(name, assert_same)


@pytest.mark.slow  # compiled as users compile
@protocol.every("maml", "rl2", "trust region", "joint-dqn", "meta-gradient-actor-critic")
def test_blocks_change_nothing_in_optimized_programs(name, assert_same):
    _assert_blocks_change_nothing(name, assert_same)


def _assert_blocks_change_nothing(name, assert_same):
    run = protocol.run(name)
    states, history = run.training
    whole = metajax.train(run.algorithm, jax.random.key(protocol.KEY), 2)
    assert_same((states[2], history), jax.device_get(whole))


@protocol.every("maml")
def test_the_same_seed_gives_the_same_run_and_another_one_does_not(name, assert_same):
    run = protocol.run(name)
    assert_same(run.training, run.train(jax.random.key(protocol.KEY)))
    other, _ = run.train(jax.random.key(protocol.KEY + 1))
    assert _differ(run.training[0][2].theta, other[2].theta)


@protocol.every("es-dqn")
def test_keys_of_either_kind_train_the_same(name, assert_same):
    run = protocol.run(name)
    assert_same(run.training, run.train(jax.random.PRNGKey(protocol.KEY)))


@protocol.every(*toys.LIFETIMES)
def test_the_state_keeps_its_types_where_float64_is_allowed(name, x64):
    algorithm = protocol.make(name)
    assert _signature(_state_after(algorithm)) == _signature(_state(algorithm))


@protocol.every(*LABELLED)
def test_the_state_keeps_its_types_so_that_nothing_is_compiled_anew(name):
    algorithm = protocol.run(name).algorithm
    before, after = (
        jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype, leaf.weak_type), state)
        for state in (_state(algorithm), _state_after(algorithm))
    )
    assert before == after


def _state(algorithm):
    return jax.eval_shape(algorithm.init, jax.random.key(0))


def _state_after(algorithm):
    return jax.eval_shape(algorithm.step, jax.random.key(0), _state(algorithm))[0]


SHARDED = ("maml", "dqn")


@protocol.every(
    *SHARDED, further=[one for one in TRAINED if one not in (*SHARDED, *toys.CONTINUING)]
)
def test_two_devices_change_rounding_only(name, assert_same):
    try:
        one, two = protocol.run(name), protocol.Run(protocol.make(name, devices=2))
    except metajax.OptionError as error:
        pytest.skip(str(error))  # too few tasks in a minibatch to share
    states, history = jax.device_get(two.training)
    assert_same(one.training[1], history, rtol=1e-3, atol=1e-4)
    assert_same(one.training[0][2].theta, states[2].theta, rtol=1e-3, atol=1e-4)


# --- Trials --------------------------------------------------------------------------------


@protocol.every(*TESTED)
def test_trials(name):
    algorithm, found = protocol.run(name).algorithm, protocol.run(name).trials
    per_trial = _returns_of_a_trial(name)
    assert found.returns.shape == (protocol.NUM_TEST_TASKS, per_trial)
    assert np.isfinite(found.returns).all()
    assert algorithm.axis == _axis(name)
    if algorithm.axis == "points":
        sizes = protocol.LIFETIME_SIZES
        steps = sizes["lifetime"] + sizes["num_steps"] * sizes["num_streams"]
        assert (found.env_steps == steps).all()
        # The best action is the same in every step, so a greedy episode pays all or nothing,
        # unless a context decides, which changes from step to step.
        allowed = {0.0, 1.0, 2.0} if name == "meta-q-learning" else {0.0, 2.0}
        assert set(np.unique(found.returns)) <= allowed
    else:
        key = jax.random.key(protocol.TEST_KEY)
        steps = _steps(name, key, protocol.NUM_TEST_TASKS)
        assert np.sum(found.env_steps) == per_trial * steps


def _axis(name):
    if name in toys.CONTINUING:
        return "episodes"
    return "points" if name in toys.LIFETIMES else "adaptations"


@protocol.every(*TESTED)
def test_other_tasks_of_a_batch_change_nothing(name):
    run = protocol.run(name)
    keys, tasks = protocol.drawn(
        run.algorithm.family, jax.random.key(protocol.TEST_KEY), protocol.NUM_TEST_TASKS
    )
    order = np.array([3, 3, 0, 3, 4])
    again = run.adapt(*jax.tree.map(lambda leaf: leaf[order], (keys, tasks)))
    for index, row in enumerate(order):
        _assert_close(protocol.row_of(again, index), protocol.row_of(run.trials, row), name)


def _assert_close(one, other, name):
    """Of what happened in trials, by rounding."""
    np.testing.assert_allclose(one.returns, other.returns, rtol=1e-4, atol=1e-5)
    if name not in LABELLED:
        np.testing.assert_allclose(one.query.action, other.query.action, rtol=1e-4, atol=1e-5)


@protocol.every(*ALONE, further=FURTHER_ALONE)
def test_a_task_alone_equals_it_in_a_batch(name):
    run = protocol.run(name)
    explore = run.algorithm.axis != "points"
    alone = jax.jit(functools.partial(run.algorithm.adapt, explore=explore))
    keys, tasks = protocol.drawn(
        run.algorithm.family, jax.random.key(protocol.TEST_KEY), protocol.NUM_TEST_TASKS
    )
    for row, key in enumerate(keys):
        trial = alone(key, run.theta, protocol.row_of(tasks, row))
        _assert_close(trial, protocol.row_of(run.trials, row), name)


@protocol.every(*MEMORY, "thompson-sampling", "psrl")
def test_the_mode_goes_through_a_trial_of_its_own(name):
    """What is measured is what is run, and nothing beside it."""
    run = protocol.run(name)
    task = run.algorithm.family.sample(jax.random.key(protocol.TEST_KEY))
    adapt = functools.partial(run.algorithm.adapt, num_streams=2, explore=False)
    trial = jax.jit(adapt)(jax.random.key(protocol.KEY), run.theta, task)
    shape = protocol.NUM_EPISODES, run.algorithm.family.spec.episode_length, 2
    rewards = np.asarray(trial.query.reward).reshape(shape)
    assert np.isfinite(trial.returns).all()
    np.testing.assert_allclose(trial.returns, rewards.sum(axis=1).mean(axis=1), rtol=1e-5)
    assert trial.env_steps == np.prod(shape)


# One of each axis and score.
@protocol.every("reptile", "dqn", "rl2", "psrl", "lstm-optimizer", "prototypical")
def test_a_meta_test_is_its_trials(name):
    run = protocol.run(name)
    found = metajax.evaluate(
        run.algorithm,
        jax.random.key(protocol.TEST_KEY),
        run.theta,
        num_tasks=protocol.NUM_TEST_TASKS,
        explore=_axis(name) != "points",
    )
    np.testing.assert_allclose(found.returns, run.trials.returns, rtol=1e-4, atol=1e-5)
    assert found.axis == _axis(name)
    assert found.num_adaptations == found.returns.shape[1] - 1
    assert found.env_steps == np.sum(run.trials.env_steps)
    scores = {"lstm-optimizer": "negative squared error", "prototypical": "accuracy"}
    if name in scores:
        assert found.score == scores[name]
