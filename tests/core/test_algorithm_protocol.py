"""What gradient-based algorithms must keep to, beside ``test_protocol.py``."""

import dataclasses
import functools
import gc
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import protocol
import pytest
import toys

import metajax
from metajax import losses, outer, training
from metajax.algorithms import ALGORITHMS
from metajax.core.family import Box
from metajax.core.layout import Layout


def test_joint_training_under_a_trust_region(line):
    """Trials without adaptation have support chunks of length zero."""
    algorithm = toys.make("joint", line, outer="trpo")
    _, history = jax.eval_shape(lambda: metajax.train(algorithm, jax.random.key(0), 1))
    assert history["returns"].shape == (1, 1)


@protocol.every("maml", further=("reptile", "cavia"))
def test_many_seeds_and_learning_rates_at_once(name, assert_same):
    """A sweep is a ``vmap`` inside one program; each row is the run by itself."""
    one = protocol.run(name)
    states, history = one.training

    def run(seed, inner_lr, learning_rate):
        rates = {"inner_lr": inner_lr, "learning_rate": learning_rate}
        algorithm = toys.make(name, one.algorithm.family, **rates)
        state, history = metajax.train(algorithm, jax.random.key(seed), 2)
        return state.theta, history["returns"]

    options = ALGORITHMS.get(name)()
    sweep = ([3, protocol.KEY], [0.3, options.inner_lr], [0.2, options.learning_rate])
    rows = jax.device_get(jax.jit(jax.vmap(run))(*map(np.array, sweep)))
    expected = (states[2].theta, history["returns"])
    assert_same(expected, jax.tree.map(lambda leaf: leaf[1], rows), rtol=1e-4, atol=1e-5)


def test_options_of_the_family_may_be_traced():
    """And what is traced is kept in no cache."""

    def run(mean, name, **sizes):
        arms = metajax.tasks.make("gaussian-bandit", prior_mean=mean, num_arms=2, num_pulls=2)
        algorithm = metajax.make(name, arms, num_tasks=2, devices=1, **sizes)
        return metajax.train(algorithm, jax.random.key(0), 1)[1]["returns"].mean()

    sizes = {"num_epochs": 1, "num_minibatches": 1, "hidden_size": 2}
    rl2 = functools.partial(run, name="rl2", **sizes)
    gc.freeze()  # or each look for leaks goes through all that other tests have left
    with jax.checking_leaks():
        returns = jax.device_get(jax.jit(jax.vmap(rl2))(np.array([0, 5], np.float32)))
    gc.unfreeze()
    assert returns[1] - returns[0] == pytest.approx(5, abs=1)
    # The same without jit.
    low, high = jax.vmap(functools.partial(run, name="random"))(jnp.array([0.0, 5.0]))
    assert high - low == pytest.approx(5, abs=1e-5)


def test_traced_options_are_kept_in_no_cache(line):
    """And the compiled programs of other algorithms stay there."""
    key = jax.random.key(0)
    joint = toys.make("joint", line, learning_rate=0.1)
    _, concrete = metajax.train(joint, key, 1)
    kept = dict(training._kept)
    program = kept[joint, 1]

    def run(learning_rate):
        return metajax.train(toys.make("joint", line, learning_rate=learning_rate), key, 1)[1]

    histories = jax.vmap(run)(jnp.array([0.1, 0.2]))
    assert training._kept == kept
    np.testing.assert_allclose(histories["returns"][0], concrete["returns"], rtol=1e-5)
    metajax.train(joint, key, 1)
    assert training._kept[joint, 1] is program
    assert program._cache_size() == 1


def test_only_so_many_programs_are_kept(arms, monkeypatch):
    monkeypatch.setattr(training, "_kept", {})
    monkeypatch.setattr(training, "_MOST_KEPT", 2)
    random = metajax.make("random", arms, num_tasks=2)
    for num_iterations in (1, 2, 3):
        metajax.train(random, jax.random.key(0), num_iterations)
    assert [length for _, length in training._kept] == [2, 3]


def test_a_spec_of_lists_and_arrays_has_a_hash():
    spec = toys.arms().spec
    space = Box(low=[-1, 0], high=np.ones(2))  # type: ignore[arg-type]
    lists = {"observation_shape": [1], "random_return": jnp.float32(0.5), "action_space": space}
    other = dataclasses.replace(spec, **lists)
    assert (other.observation_shape, other.random_return) == ((1,), 0.5)
    assert other.action_space == Box(low=(-1.0, 0.0), high=(1.0, 1.0))
    hash(other)


# --- Protocol of the meta-test -----------------------------------------------------------


@pytest.fixture
def maml():
    one = protocol.run("maml on arms")
    return one.algorithm, metajax.initial_state(one.algorithm, jax.random.key(0)).theta


def test_evaluation_of_the_mode_after_more_adaptations(maml):
    """Nothing is to be seen, so a policy without exploration always does the same."""
    algorithm, theta = maml
    key = jax.random.key(1)
    options: dict[str, Any] = {"num_tasks": 30, "num_adaptations": 3}
    evaluation = metajax.evaluate(algorithm, key, theta, **options, explore=False)
    assert not evaluation.explore
    assert evaluation.returns.shape == (30, 4)
    assert set(np.unique(evaluation.returns)) <= {0, 2}
    assert 0 < evaluation.returns[:, 0].mean() < 2, "one arm is right in some tasks only"
    sampled = metajax.evaluate(algorithm, key, theta, **options)
    assert sampled.explore
    assert sampled.num_adaptations == 3
    assert sampled.env_steps == 30 * 4 * toys.NUM_STREAMS * 2
    assert not set(np.unique(sampled.returns)) <= {0, 2}


def test_evaluation_defaults_and_statistics(maml):
    evaluation = metajax.evaluate(maml[0], jax.random.key(1), maml[1], num_tasks=5)
    returns = evaluation.returns.astype(np.float64)
    assert returns.shape == (5, 2)
    assert evaluation.env_steps == 5 * 2 * toys.NUM_STREAMS * 2
    np.testing.assert_allclose(evaluation.mean(), returns.mean(axis=0))
    half = 1.96 * returns.std(axis=0, ddof=1) / np.sqrt(5)
    np.testing.assert_allclose(
        evaluation.interval(), [returns.mean(0) - half, returns.mean(0) + half]
    )


@pytest.mark.filterwarnings("error")
def test_one_task_has_no_interval():
    evaluation = metajax.Evaluation(np.ones((1, 2), np.float32), "adaptations", True, 12)
    assert np.isnan(evaluation.interval()).all()
    assert evaluation.interval().shape == (2, 2)


def test_evaluation_without_adaptation_is_the_policy_as_it_is(maml):
    algorithm, theta = maml
    evaluation = metajax.evaluate(
        algorithm, jax.random.key(1), theta, num_tasks=200, num_adaptations=0
    )
    assert evaluation.returns.shape == (200, 1)
    np.testing.assert_allclose(evaluation.mean(), 1, atol=0.15)  # an even chance, two pulls


def test_evaluation_on_a_held_out_family(maml):
    algorithm, theta = maml
    held_out = toys.arms(prize=-5.0, name="held out")
    evaluation = metajax.evaluate(algorithm, jax.random.key(1), theta, held_out, num_tasks=20)
    assert evaluation.returns.min() < -5
    with pytest.raises(metajax.OptionError, match="family: line has observation_shape"):
        metajax.evaluate(algorithm, jax.random.key(1), theta, toys.line())


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"num_tasks": 0}, "num_tasks"),
        ({"num_streams": 0}, "num_streams"),
        ({"num_adaptations": -1}, "num_adaptations"),
    ],
)
def test_impossible_evaluations(maml, options, field):
    algorithm, theta = maml
    with pytest.raises(metajax.OptionError, match=field):
        metajax.evaluate(algorithm, jax.random.key(1), theta, **options)


def test_impossible_training(maml):
    algorithm, _ = maml
    with pytest.raises(metajax.OptionError, match="num_iterations"):
        metajax.train(algorithm, jax.random.key(0), 3, start=4)
    with pytest.raises(metajax.OptionError, match="block_size"):
        metajax.train(algorithm, jax.random.key(0), 3, block_size=0)


def test_on_block_can_stop_a_run(maml):
    algorithm, _ = maml
    reached = []

    def stop(iteration, state, infos):
        del state
        reached.append(iteration)
        assert infos["returns"].shape == (1, 2)
        return iteration >= 2

    _, history = metajax.train(algorithm, jax.random.key(0), 8, block_size=1, on_block=stop)
    assert reached == [1, 2]
    assert history["returns"].shape == (2, 2)


# --- What a user brings along --------------------------------------------------------------


class Torso(nn.Module):
    @nn.compact
    def __call__(self, observation):
        return jnp.tanh(nn.Dense(3, name="mine")(observation))


def test_a_network_of_the_users_own(line):
    algorithm = toys.make("maml", line, network=Torso())
    state, _ = jax.eval_shape(lambda: metajax.train(algorithm, jax.random.key(0), 1))
    assert state.theta["policy"]["torso"]["mine"]["kernel"].shape == (2, 3)


@pytest.mark.xdist_group("maml")
def test_an_inner_rule_from_optax(assert_same):
    """``optax.sgd`` by hand is the default."""
    default = protocol.run("maml")
    rule = optax.sgd(ALGORITHMS.get("maml")().inner_lr)
    mine = protocol.Run(toys.make("maml", default.algorithm.family, inner=rule))
    assert_same(mine.training[0][1].theta, default.training[0][1].theta, rtol=1e-6)


@pytest.mark.parametrize("steps", [{"inner_steps": 2}, {"inner_steps": 1, "updates_per_step": 2}])
def test_an_inner_rule_as_a_function(line, steps):
    """A rule that halves the weights, whatever it sees."""

    def halve(theta):
        del theta

        def update(gradients, weights):
            del gradients
            return jax.tree.map(lambda leaf: -leaf / 2, weights)

        return optax.stateless(update)

    algorithm = toys.make("reptile", line, inner=halve, learning_rate=1.0, **steps)
    state = algorithm.init(jax.random.key(0))
    state, after = jax.device_get((state, jax.jit(algorithm.step)(jax.random.key(1), state)[0]))
    for new, old in zip(*map(jax.tree.leaves, (after.theta, state.theta)), strict=True):
        np.testing.assert_allclose(new, old / 4, rtol=1e-5, atol=1e-7)


class Shaped(nn.Module):
    """Features of any shape, from a batch of observations."""

    shape: tuple[int, ...]

    @nn.compact
    def __call__(self, observation):
        features = nn.Dense(4)(observation.reshape(len(observation), -1))
        return jnp.reshape(jnp.resize(features, self.shape), self.shape)


class Normalised(nn.Module):
    @nn.compact
    def __call__(self, observation, train=True):
        return nn.BatchNorm(use_running_average=not train)(nn.Dense(4)(observation))


class Dropping(nn.Module):
    @nn.compact
    def __call__(self, observation, train=True):
        return nn.Dropout(0.5, deterministic=not train)(nn.Dense(4)(observation))


@pytest.mark.parametrize("name", ["maml", "rl2", "dqn"])
@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Shaped((2,)), r"Shaped gives features of shape \(2,\) .* allowed: \(2, F\)"),
        (Shaped((1, 4)), r"Shaped gives features of shape \(1, 4\)"),
        (Shaped((2, 1, 4)), r"Shaped gives features of shape \(2, 1, 4\)"),
        (Torso, r"Torso is not a module; did you mean Torso\(\)\?"),
        (3, "3 is not a module; allowed: an instance of a flax.linen.Module"),
        (Normalised(), "Normalised has the variables batch_stats; allowed: .* parameters alone"),
        (Dropping(), "Dropping draws random numbers when it is applied; allowed: "),
    ],
)
def test_a_network_that_gives_something_else_is_refused(name, network, message):
    with pytest.raises(metajax.OptionError, match=f"network: {message}"):
        metajax.make(name, toys.arms(), network=network)


def test_what_a_network_takes_the_place_of_is_refused(line):
    for given in ({"hidden_sizes": (32,)}, {"activation": "tanh"}, {"conv_filters": (4,)}):
        (field,) = given
        with pytest.raises(metajax.OptionError, match=f"{field}: .* beside network"):
            metajax.make("maml", line, network=Torso(), **given)


def test_what_does_not_go_with_an_inner_rule_is_refused(line):
    def rule(theta):
        return optax.sgd(0.1)

    for options, message in (
        ({"inner": rule, "inner_lr": 0.3}, "inner_lr: is not possible beside inner"),
        ({"inner": optax.sgd(0.1), "inner_lr": (0.1,)}, "inner_lr: is not possible beside inner"),
        ({"inner": optax.adam(0.01)}, "inner: its update has no derivative where"),
    ):
        with pytest.raises(metajax.OptionError, match=message):
            toys.make("maml", line, **options)
    toys.make("maml", line, inner=rule, surrogate="emaml")
    toys.make("fomaml", line, inner=optax.adam(0.01))
    toys.make("reptile", line, inner=optax.adam(0.01))
    toys.make("maml", line, inner=optax.adam(0.01, eps_root=1e-8))


def test_an_inner_rule_that_is_none_is_refused(line):
    for inner_rule in (3, optax.sgd, nn.Dense):
        with pytest.raises(metajax.OptionError, match=r"inner: .* does not fit; allowed"):
            toys.make("maml", line, inner=inner_rule)
    for not_a_rule in (lambda theta: theta, lambda theta: None):
        with pytest.raises(metajax.OptionError, match=r"inner: returns .*allowed: an optax"):
            toys.make("maml", line, inner=not_a_rule)
    with pytest.raises(metajax.OptionError, match=r"inner: takes .*allowed: .*theta"):
        toys.make("maml", line, inner=lambda key, theta, phi, chunk: phi)


@pytest.mark.parametrize("name", ["meta-sgd", "cavia"])
def test_displacement_of_a_part_of_theta_is_refused(name, line):
    problem = toys.make(name, line).problem
    rule = outer.once(outer.displacement(problem, metajax.Layout.build(2)), optax.sgd(0.1))
    algorithm = metajax.compose(problem, rule)
    state = jax.eval_shape(algorithm.init, jax.random.key(0))
    with pytest.raises(metajax.OptionError, match="learner: adapts a part of theta"):
        jax.eval_shape(algorithm.step, jax.random.key(1), state)


def test_a_name_is_no_family(line):
    assert toys.make("maml", line).family is line
    with pytest.raises(metajax.OptionError, match='family: "cartpole" is not a TaskFamily'):
        metajax.make("maml", "cartpole")  # type: ignore[arg-type]


@pytest.mark.xdist_group("fomaml")
def test_a_composition_equals_the_recipe(assert_same):
    """FOMAML put together by hand is the registry's, bit for bit."""
    recipe = protocol.run("fomaml")
    problem = metajax.fresh(
        recipe.algorithm.family, recipe.algorithm.learner, num_streams=toys.NUM_STREAMS
    )
    terms = {"entropy": (0.0, losses.term(losses.entropy))}
    objective = outer.post_adaptation(problem, terms=terms, derivative="first-order")
    layout = metajax.Layout.build(toys.NUM_TASKS, num_devices=1)
    rule = outer.once(outer.backprop(objective, layout), optax.adam(1e-3))
    mine = metajax.compose(problem, rule)
    assert_same(protocol.Run(mine).training, recipe.training)


def test_a_horizon_that_never_happens(line):
    with pytest.raises(metajax.OptionError, match="horizon"):
        toys.make("maml", line, horizon=5)


def test_rates_of_no_step_at_all(line):
    with pytest.raises(metajax.OptionError, match="inner_lr: is empty"):
        toys.make("maml", line, inner_lr=())


def test_fields_that_do_not_divide(line):
    for options in ({"microbatch": 3}, {"gradient_microbatch": 3}, {"devices": 3}):
        (field,) = options
        with pytest.raises(metajax.OptionError, match=field):
            toys.make("maml", line, **options)


def test_blocks_that_are_given_choose_the_rest():
    assert jax.local_device_count() == 2
    assert metajax.Layout.build(6, microbatch=6).num_devices == 1
    layout = metajax.Layout.build(40, gradient_microbatch=8)
    assert (layout.num_devices, layout.microbatch, layout.gradient_microbatch) == (1, 8, 8)


def test_a_run_is_continued_from_a_state_only(line):
    with pytest.raises(metajax.OptionError, match="state: is missing"):
        metajax.train(toys.make("maml", line), jax.random.key(0), 4, start=2)


@pytest.mark.slow
@pytest.mark.parametrize("outer", ["policy-gradient", "ppo"])
def test_a_value_baseline_is_learned(outer, line):
    """The values that training ends with predict the returns of its policy, the first do not."""
    options = {"baseline": "value", "outer": outer, "learning_rate": 0.02, "num_tasks": 16}
    algorithm = toys.make("joint", line, **options, inner_steps=0)
    state, _ = metajax.train(algorithm, jax.random.key(0), 60)

    def error(theta, key):
        query = algorithm.adapt(key, theta, line.sample(key)).query
        learner = algorithm.learner
        values = learner.predict(theta, learner.begin(key, theta), query).value
        following = jnp.cumsum(query.reward[::-1], axis=0)[::-1]
        return jnp.sum(jnp.square(values - following) * query.mask) / jnp.sum(query.mask)

    mean = jax.jit(lambda theta: jnp.mean(jax.vmap(error, (None, 0))(theta, keys)))
    keys = jax.random.split(jax.random.key(1), 50)
    start = algorithm.init(jax.random.key(0)).theta
    assert mean(state.theta) < 0.5 * mean({**state.theta, "value": start["value"]})


def test_the_rate_of_several_passes_falls_over_iterations(line, assert_same):
    options = {"outer": "ppo", "num_epochs": 2, "num_minibatches": 2, "decay_iterations": 2}
    algorithm = toys.make("joint", line, **options)

    @jax.jit
    def run(state, key):
        def step(state, key):
            state, info = algorithm.step(key, state)
            return state, (state, info)

        return jax.lax.scan(step, state, jax.random.split(key, 3))[1]

    found = run(algorithm.init(jax.random.key(0)), jax.random.key(1))
    states, info = jax.device_get(found)
    first, second, third = (protocol.row_of(states, index) for index in range(3))
    leaves = jax.tree.leaves((first, protocol.row_of(info, 0)))
    assert all(np.isfinite(leaf).all() for leaf in leaves)
    assert info["returns"].shape == (3, 1), "support chunks of length zero"
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), first.theta, second.theta)
    assert max(jax.tree.leaves(moved)) > 0
    assert_same(second.theta, third.theta)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"surrogate": "emaml", "every_step": True}, "every_step"),
        ({"surrogate": "emaml", "outer": "ppo"}, "surrogate"),
        ({"baseline": "value", "outer": "trpo"}, "baseline"),
    ],
    ids=str,
)
def test_combinations_without_a_meaning_are_refused(options, field, line):
    with pytest.raises(metajax.OptionError, match=rf"{field}: .*not possible"):
        toys.make("maml", line, **options)


@pytest.mark.parametrize("num_tasks", [1, 7, 64, 257])
@pytest.mark.parametrize("at_most", [None, 3])
def test_any_number_of_tasks_is_collected_in_wide_blocks(num_tasks, at_most):
    layout = Layout.padded(num_tasks, at_most)
    rows = np.arange(num_tasks)
    collected = jax.jit(lambda rows: layout.collect(lambda shared, row: row + shared, 5, rows))
    np.testing.assert_array_equal(collected(rows), rows + 5)
    limit = 32 if at_most is None else at_most
    local = -(-num_tasks // layout.num_devices)
    assert layout.microbatch <= limit
    assert layout.microbatch >= min(local, limit) // 2
