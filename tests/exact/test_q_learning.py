"""Q-learning against rlax, numpy, hand-made numbers and finite differences."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import rlax
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.flatten_util import ravel_pytree
from vectors import raveled

import metajax
from metajax import inner, losses, networks
from metajax.core.family import Discrete, Spec
from metajax.core.problem import even_points
from metajax.core.replay import replay as repeat
from metajax.core.types import Chunk
from metajax.data.buffer import stretches, uniform_replay
from metajax.data.lifetime import Earned, Living, streams
from metajax.inner.q.q_learning import counted, exploring_logits

SPEC = Spec("toy", (2,), Discrete(3), episode_length=5)
NETWORK = networks.q_network(SPEC, networks.MLP((4,), "tanh"))


def _chunk(seed, num_steps=4, num_streams=2, terminated=0.2, truncated=0.2):
    """Random experience; what follows an observation does not matter to the losses."""
    rng, shape = np.random.default_rng(seed), (num_steps, num_streams)
    ends = rng.random(shape) < terminated
    fields: dict[str, Any] = {
        "observation": rng.normal(size=(*shape, 2)).astype(np.float32),
        "action": rng.integers(0, 3, shape, np.int32),
        "reward": rng.normal(size=shape).astype(np.float32),
        "terminated": ends,
        "truncated": (rng.random(shape) < truncated) & ~ends,
        "mask": np.ones(shape, bool),
        "log_prob": np.zeros(shape),
        "next_observation": rng.normal(size=(*shape, 2)).astype(np.float32),
    }
    return Chunk(**fields)


@jax.jit
def _weights(seed):
    """Initial weights of the network."""
    return NETWORK.init(jax.random.key(seed))


def _learner(num_steps=1, batch_size=8, **options):
    replay = uniform_replay(
        SPEC, num_streams=2, capacity=20, batch_size=batch_size, num_steps=num_steps
    )
    options = {"optimizer": optax.identity(), "settings": _settings(), **options}
    return inner.q_learner(NETWORK, replay, **options)


def _settings(**numbers):
    numbers = {"learning_rate": 0.1, "discount": 0.9, "huber_delta": 1e3, **numbers}
    return lambda theta, env_steps: inner.QSettings(**numbers)


def _adapt(learner, theta, *chunks):
    def run():
        phi = learner.begin(jax.random.key(0), theta)
        for index, chunk in enumerate(chunks):
            phi = learner.adapt(learner.noise(jax.random.key(index)), theta, phi, chunk)
        return phi

    return jax.jit(run)()


# --- Targets ------------------------------------------------------------------------------


_lambda_targets = jax.jit(losses.lambda_targets)
_lambda_returns_of_rlax = jax.jit(rlax.lambda_returns)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**20), mix=st.floats(0, 1), discount=st.floats(0, 1))
def test_mixed_targets_are_the_lambda_returns_of_rlax(seed, mix, discount):
    """A cut is a discount of zero for rlax: at a time limit on what comes after the value."""
    r_t, v_t = np.random.default_rng(seed).normal(size=(2, 6))
    terminated = np.random.default_rng(seed + 1).random(6) < 0.3
    no = np.zeros(6, bool)
    targets = _lambda_targets(r_t, terminated, no, v_t, discount, mix)
    expected = _lambda_returns_of_rlax(r_t, discount * ~terminated, v_t, mix)
    np.testing.assert_allclose(targets, expected, rtol=1e-5, atol=1e-5)


def test_targets_by_hand():
    """Three steps; the first episode ends by its time limit, or terminates, at the second."""
    r_t, v_t = np.array([1.0, 2.0, 4.0]), np.array([10.0, 20.0, 30.0])
    yes, no = np.array([False, True, False]), np.zeros(3, bool)
    full = _lambda_targets(r_t, no, no, v_t, 0.5, 1.0)
    np.testing.assert_allclose(full, [1 + 1 + 1 + 30 / 8, 2 + 2 + 30 / 4, 4 + 15])
    cut = _lambda_targets(r_t, no, yes, v_t, 0.5, 1.0)
    np.testing.assert_allclose(cut, [1 + 1 + 20 / 4, 2 + 10, 4 + 15])
    ended = _lambda_targets(r_t, yes, no, v_t, 0.5, 1.0)
    np.testing.assert_allclose(ended, [1 + 1, 2, 4 + 15])
    one_step = _lambda_targets(r_t, yes, no, v_t, 0.5, 0.0)
    np.testing.assert_allclose(one_step, [1 + 5, 2, 4 + 15])


@pytest.mark.parametrize("double", [False, True])
def test_errors_are_those_of_rlax(double):
    """Predictions for the chunk, with a target network of its own."""
    chunk = _chunk(0)
    learner = _learner(double=double)

    @jax.jit
    def errors(theta, target):
        phi = learner.begin(jax.random.key(0), theta)._replace(target=target)
        outputs = learner.predict(theta, phi, chunk)
        return (outputs.target - outputs.value).reshape(8)

    @jax.jit
    def errors_of_rlax(theta, target):
        def values(weights, observation):
            return NETWORK.apply(weights, observation.reshape(8, 2))

        q_tm1 = values(theta, chunk.observation)
        q_t = values(target, chunk.next_observation)
        rest = chunk.action.reshape(8), chunk.reward.reshape(8), 0.9 * ~chunk.terminated.reshape(8)
        if double:
            selector = values(theta, chunk.next_observation)
            return jax.vmap(rlax.double_q_learning)(q_tm1, *rest, q_t, selector)
        return jax.vmap(rlax.q_learning)(q_tm1, *rest, q_t)

    error, expected = (of(_weights(1), _weights(2)) for of in (errors, errors_of_rlax))
    np.testing.assert_allclose(error, expected, rtol=1e-5, atol=1e-6)


# --- One adaptation -------------------------------------------------------------------------


def test_an_adaptation_descends_the_error_on_what_it_has_seen():
    """One transition fills the buffer, so the batch is known: a step of plain SGD by hand."""
    chunk = _chunk(3, num_steps=1, num_streams=1, terminated=0.0, truncated=0.0)
    replay = uniform_replay(SPEC, num_streams=1, capacity=5, batch_size=4)
    learner = inner.q_learner(
        NETWORK, replay, optimizer=optax.identity(), settings=_settings(), double=False
    )
    theta = _weights(1)
    phi = _adapt(learner, theta, chunk)

    def loss(weights):
        next_value = NETWORK.apply(theta, chunk.next_observation[0]).max()
        target = chunk.reward[0, 0] + 0.9 * next_value
        value = NETWORK.apply(weights, chunk.observation[0])[0, chunk.action[0, 0]]
        return 0.5 * (value - target) ** 2

    gradient = jax.jit(jax.grad(loss))(theta)
    expected = jax.tree.map(
        lambda w, g: w - np.float32(0.1) * g, *jax.device_get((theta, gradient))
    )
    jax.tree.map(
        lambda got, want: np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5),
        phi.weights,
        expected,
    )
    assert phi.updates == 1
    assert phi.env_steps == 1


@pytest.mark.parametrize(
    ("ends", "bootstraps"),
    [({}, True), ({"truncated": 1.0, "terminated": 0.0}, True), ({"terminated": 1.0}, False)],
)
def test_time_limits_bootstrap_and_terminal_states_do_not(ends, bootstraps):
    """The target network is the only one who knows the value of what comes next."""
    chunk = _chunk(4, **{"terminated": 0.0, "truncated": 0.0, **ends})
    learner = _learner()
    theta = _weights(1)

    @jax.jit
    def adapted(target, chunk):
        phi = learner.begin(jax.random.key(0), theta)._replace(target=target)
        phi = learner.adapt(learner.noise(jax.random.key(0)), theta, phi, chunk)
        return ravel_pytree(phi.weights)[0]

    one, other = (adapted(_weights(i), chunk) for i in (5, 6))
    assert np.allclose(one, other) != bootstraps


def test_the_target_network_moves_when_it_is_due():
    chunks = [_chunk(i) for i in range(3)]
    learner = _learner(target_period=3)
    theta = _weights(1)
    two, three = jax.device_get(
        [_adapt(learner, theta, *chunks[:2]), _adapt(learner, theta, *chunks)]
    )
    jax.tree.map(np.testing.assert_array_equal, two.target, theta)
    jax.tree.map(np.testing.assert_array_equal, three.target, three.weights)
    slow = _learner(settings=_settings(target_rate=0.25))
    theta, phi = jax.device_get((theta, _adapt(slow, theta, chunks[0])))
    expected = jax.tree.map(lambda old, new: 0.75 * old + 0.25 * new, theta, phi.weights)
    jax.tree.map(
        lambda got, want: np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6),
        phi.target,
        expected,
    )


def test_nothing_is_learned_before_there_is_enough():
    replay = uniform_replay(SPEC, num_streams=2, capacity=40, batch_size=4, learning_starts=12)
    learner = inner.q_learner(NETWORK, replay, optimizer=optax.identity(), settings=_settings())
    theta = _weights(1)
    chunks = [_chunk(i) for i in range(2)]
    assert _adapt(learner, theta, chunks[0]).updates == 0
    assert _adapt(learner, theta, *chunks).updates == 1


@pytest.mark.parametrize("boltzmann", [False, True])
def test_exploration_has_the_probabilities_it_says(boltzmann):
    chunk = _chunk(0)
    learner = _learner(boltzmann=boltzmann, settings=_settings(epsilon=0.3, temperature=0.5))

    @jax.jit
    def run(theta):
        phi = learner.begin(jax.random.key(0), theta)
        values = NETWORK.apply(theta, chunk.observation.reshape(8, 2))
        return learner.predict(theta, phi, chunk).distribution, values.reshape(4, 2, 3)

    distribution, values = jax.device_get(run(_weights(1)))
    probability = np.exp(distribution)
    greedy = np.eye(3)[values.argmax(-1)]
    if boltzmann:
        greedy = scipy.special.softmax(values / 0.5, axis=-1)
    np.testing.assert_allclose(probability, 0.7 * greedy + 0.1, rtol=1e-5)


def test_dueling_values_have_the_mean_of_the_value():
    """Adding a number to all advantages changes nothing."""
    network = networks.q_network(SPEC, networks.MLP((4,), "tanh"), dueling=True)
    weights = jax.device_get(jax.jit(network.init)(jax.random.key(0)))
    values = jax.jit(lambda weights: network.apply(weights, jnp.ones((1, 2))))
    before = np.asarray(values(weights))
    weights["advantage"]["bias"] = weights["advantage"]["bias"] + 5.0
    np.testing.assert_allclose(values(weights), before, rtol=1e-5)
    weights["value"]["bias"] = weights["value"]["bias"] + 5.0
    np.testing.assert_allclose(values(weights), before + 5, rtol=1e-5)


def test_logits_of_exploration_by_hand():
    """Epsilon 0.3 over three actions; temperatures may differ between decisions."""
    values, now = np.array([[0.0, 1.0, 2.0], [5.0, 4.0, 3.0]]), inner.QSettings(epsilon=0.3)
    logits = jax.jit(exploring_logits, static_argnums=2)
    probability = np.exp(logits(values, now, False))
    np.testing.assert_allclose(probability, [[0.1, 0.1, 0.8], [0.8, 0.1, 0.1]], rtol=1e-6)
    now = now._replace(epsilon=0.0, temperature=np.array([[1.0], [1e9]]))
    weights = np.exp([0.0, 1.0, 2.0])
    expected = [weights / weights.sum(), np.full(3, 1 / 3)]
    np.testing.assert_allclose(np.exp(logits(values, now, True)), expected, rtol=1e-6)


def test_the_next_target_network_by_hand():
    update = inner.QUpdate(NETWORK, optax.identity(), target_period=3)
    target, weights = {"q": np.array([1.0, 2.0])}, {"q": np.array([5.0, -2.0])}
    next_target = jax.jit(update.next_target)
    for count, expected in ((1, [1.0, 2.0]), (2, [1.0, 2.0]), (3, [2.0, 1.0]), (6, [2.0, 1.0])):
        moved = next_target(target, weights, np.int32(count), 0.25)
        np.testing.assert_array_equal(moved["q"], expected)


def test_a_count_stops_where_integers_end():
    """A schedule would begin anew if it wrapped around."""
    chunk, last = _chunk(0), np.iinfo(np.int32).max
    assert [counted(jnp.int32(n), chunk) for n in (0, last - 9, last - 3)] == [8, last - 1, last]


# --- The buffer -------------------------------------------------------------------------------


def test_stretches_by_hand():
    """A full ring of five places whose oldest step is at the second, and one of three steps."""
    replay = uniform_replay(SPEC, num_streams=2, capacity=10, batch_size=3, num_steps=2)
    state = jax.device_get(jax.jit(replay.init)())
    reward = np.array([[14.0, 10.0, 11.0, 12.0, 13.0], [24.0, 20.0, 21.0, 22.0, 23.0]])
    state = state.replace(experience=state.experience._replace(reward=reward))
    noise = np.array([[0.0, 0.4, 0.999], [0.0, 0.6, 0.999]])
    of_two = jax.jit(lambda state: stretches(jnp.asarray(noise), state, 2))
    full = of_two(state.replace(is_full=True, current_index=1))
    np.testing.assert_array_equal(full.reward, [[10, 12, 23], [11, 13, 24]])
    partly = of_two(state.replace(is_full=False, current_index=3))
    np.testing.assert_array_equal(partly.reward, [[14, 10, 20], [10, 11, 21]])


def test_the_buffer_of_each_task_is_a_ring():
    """Against a numpy ring, for three tasks under ``vmap`` and more than it holds."""
    rng = np.random.default_rng(0)
    num_tasks, num_streams, num_steps, length = 3, 2, 3, 7
    spec = dataclasses.replace(SPEC, observation_dtype="uint8")
    replay = uniform_replay(spec, num_streams=num_streams, capacity=15, batch_size=64)
    shape = (num_tasks, num_steps, num_streams)
    ring = np.zeros((num_tasks, num_streams, length, 2), np.uint8)
    buffers = jax.jit(jax.vmap(lambda _: replay.init()))(np.arange(num_tasks))
    add = jax.jit(jax.vmap(replay.add))
    for time in range(4):
        observation = rng.integers(0, 256, (*shape, 2)).astype(np.uint8)
        chunks = [_chunk(task, num_steps) for task in range(num_tasks)]
        chunk = jax.tree.map(lambda *leaves: np.stack(leaves), *chunks)
        chunk = chunk._replace(observation=observation, next_observation=observation)
        buffers = add(buffers, chunk)
        for step in range(num_steps):
            ring[:, :, (time * num_steps + step) % length] = observation[:, step]
    np.testing.assert_array_equal(buffers.experience.observation, ring)
    assert buffers.experience.observation.dtype == np.uint8
    sample = jax.jit(jax.vmap(lambda key, buffer: replay.sample(replay.noise(key), buffer)))
    drawn = jax.device_get(sample(jax.random.split(jax.random.key(1), num_tasks), buffers))
    for task in range(num_tasks):
        kept = {tuple(row) for row in ring[task].reshape(-1, 2)}
        got = {tuple(row) for row in drawn.observation[task].reshape(-1, 2)}
        assert got <= kept
        assert len(got) > len(kept) / 2


def test_stretches_are_consecutive_steps_of_one_stream():
    replay = uniform_replay(SPEC, num_streams=2, capacity=12, batch_size=50, num_steps=3)
    buffer, add = jax.jit(replay.init)(), jax.jit(replay.add)
    for time in range(9):
        chunk = _chunk(time, num_steps=1)
        now = np.stack([np.full((1, 2), time), np.arange(2)[None]], -1).astype(np.float32)
        buffer = add(buffer, chunk._replace(observation=now))
    sample = jax.jit(lambda key, buffer: replay.sample(replay.noise(key), buffer).observation)
    drawn = np.asarray(sample(jax.random.key(0), buffer))
    assert drawn.shape == (3, 50, 2)
    np.testing.assert_array_equal(np.diff(drawn[..., 0], axis=0), np.ones((2, 50)))
    np.testing.assert_array_equal(np.diff(drawn[..., 1], axis=0), np.zeros((2, 50)))
    assert set(drawn[0, :, 0]) == {3.0, 4.0, 5.0, 6.0}


def test_bytes_are_those_of_the_buffer():
    replay = uniform_replay(SPEC, num_streams=2, capacity=20, batch_size=4)
    buffer = jax.eval_shape(replay.init)
    total = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(buffer.experience))
    assert replay.num_bytes == total


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"buffer_budget": 1000}, r"buffer_size.*bytes.*4 that there are.*buffer_budget"),
        ({"buffer_size": 50, "learning_starts": 100}, r"buffer_size.*at least 100"),
        ({"lifetime": 15}, r"lifetime.*multiple of num_steps \* num_streams \(10\)"),
    ],
)
def test_impossible_sizes_name_the_numbers(options, message):
    family = metajax.tasks.make("cartpole")
    with pytest.raises(metajax.OptionError, match=message):
        metajax.make("dqn", family, **{"num_tasks": 4, "devices": 1, "lifetime": 100, **options})


def test_continuous_actions_are_refused():
    with pytest.raises(metajax.OptionError, match="Discrete actions"):
        metajax.make("dqn", metajax.tasks.make("pendulum"))


# --- Meta-gradients -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"num_steps": 1, "updates": 2, "double": True},
        {"num_steps": 3, "updates": 1, "double": False, "target_period": 1},
        {"num_steps": 2, "updates": 2, "optimizer": optax.trace(0.9)},
    ],
)
def test_the_meta_gradient_is_that_of_finite_differences(options):
    """With respect to the initial weights and the numbers, through two adaptations."""

    def numbers(theta, env_steps):
        del env_steps
        return inner.QSettings(**theta["numbers"], epsilon=0.2, temperature=0.0)

    learner = _learner(
        **options,
        settings=numbers,
        init=NETWORK.init,
        start=lambda key, theta: theta["weights"],
    )
    double = jax.tree.map(np.float64, jax.device_get(_weights(1)))
    start = {"learning_rate": 0.3, "discount": 0.8, "mix": 0.6, "huber_delta": 0.7}
    start["target_rate"] = 0.4
    theta, unravel = raveled({"weights": double, "numbers": jax.tree.map(np.float64, start)})
    support = jax.tree.map(lambda *leaves: np.stack(leaves), *(_chunk(i) for i in range(2)))
    query = _chunk(7)
    keys = jax.random.split(jax.random.key(0))
    wanted = np.random.default_rng(8).normal(size=(4, 2))

    @jax.jit
    @jax.value_and_grad
    def meta_loss(flat):
        theta = unravel(flat)
        phi = learner.begin(keys[0], theta)
        phi, _ = repeat(learner, theta, phi, support, keys[1])
        return jnp.sum(jnp.square(learner.predict(theta, phi, query).value - wanted))

    gradient = np.asarray(meta_loss(theta)[1])
    width = 1e-6
    rows = [
        (meta_loss(theta + step)[0] - meta_loss(theta - step)[0]) / (2 * width)
        for step in width * np.eye(len(theta))
    ]
    np.testing.assert_allclose(gradient, jax.device_get(rows), rtol=1e-5, atol=1e-7)
    numbers_part = np.abs(unravel(gradient)["numbers"]["learning_rate"])
    assert numbers_part > 1e-3


# --- Lifetimes ------------------------------------------------------------------------------------


def test_returns_of_a_lifetime_by_hand():
    """Two streams, four chunks of two steps, measured after chunks 0, 1 and 3."""
    source = streams(metajax.tasks.make("cartpole"), _learner(), 2, 2)
    reward = np.array([[1, 1], [2, 1], [3, 1], [4, 1], [5, 1], [6, 1], [7, 1], [8, 1]], float)
    done = np.zeros((8, 2), bool)
    done[[1, 4], 0] = True
    earned = jax.tree.map(lambda leaf: np.stack([leaf] * 2), jax.device_get(Earned.nothing()))
    chunks = _chunk(0, 2)._replace(
        reward=reward.reshape(4, 2, 2),
        terminated=done.reshape(4, 2, 2),
        truncated=np.zeros((4, 2, 2), bool),
    )
    state, scores = Living(None, earned), []  # type: ignore[arg-type]
    measure = jax.jit(source.measure)
    for few in (slice(0, 1), slice(1, 4)):  # measured in two goes, which makes no difference
        part = jax.tree.map(lambda leaf, few=few: leaf[few], chunks)
        state, measured = jax.device_get(measure(state, part))
        assert list(measured.steps) == [4] * len(measured.score)
        scores.extend(measured.score)
    # Stream 0 ends episodes of 1 + 2 and 3 + 4 + 5; stream 1 has not ended its first one.
    points = np.array(scores)[even_points(3, 2)]
    np.testing.assert_allclose(points, [(3 + 2) / 2, (3 + 4) / 2, (12 + 8) / 2])


def test_streams_go_on_from_chunk_to_chunk():
    family = metajax.tasks.make("cartpole", episode_length=5)
    options = {"num_tasks": 2, "num_streams": 3, "num_steps": 2, "lifetime": 24, "batch_size": 4}
    algorithm = metajax.make(
        "dqn", family, **options, buffer_size=60, learning_starts=6, hidden_sizes=(4,)
    )

    @jax.jit
    def run():
        theta = algorithm.init(jax.random.key(0)).theta
        return algorithm.adapt(jax.random.key(1), theta, family.sample(jax.random.key(2)))

    trial = jax.device_get(run())
    support = trial.support
    done = (support.terminated | support.truncated).reshape(8, 3)
    now = support.observation.reshape(8, 3, 4)
    following = support.next_observation.reshape(8, 3, 4)
    for time in range(7):
        same = np.all(following[time] == now[time + 1], axis=-1)
        np.testing.assert_array_equal(same, ~done[time])
    assert done.any()
    assert trial.phi.env_steps == 24
    assert trial.phi.updates == 4


@pytest.mark.parametrize("fresh", [False, True])
def test_weights_start_at_theta_or_are_new_in_every_task(fresh):
    family = metajax.tasks.make("cartpole", episode_length=5)
    options = {"num_tasks": 2, "num_streams": 3, "num_steps": 2, "lifetime": 24, "batch_size": 4}
    algorithm = metajax.make(
        "dqn",
        family,
        **options,
        buffer_size=60,
        learning_starts=60,  # no update before the end
        hidden_sizes=(4,),
        fresh_weights=fresh,
    )

    @jax.jit
    def run(keys):
        theta, task = algorithm.init(jax.random.key(0)).theta, family.sample(jax.random.key(2))
        adapt = jax.vmap(lambda key: algorithm.adapt(key, theta, task).phi.weights)
        return theta, adapt(keys)

    theta, trials = jax.device_get(run(jax.random.split(jax.random.key(1))))
    kernels = [leaf for leaf in jax.tree.leaves(trials) if leaf.ndim == 3]
    origins = [leaf for leaf in jax.tree.leaves(theta) if leaf.ndim == 2]
    for kernel, origin in zip(kernels, origins, strict=True):
        assert np.array_equal(kernel[0], kernel[1]) is not fresh
        assert np.array_equal(kernel[0], origin) is not fresh


def test_the_judge_measures_at_its_points_only():
    """And not after each of the 20 adaptations, for which it would begin episodes each time."""
    family = metajax.tasks.make("cartpole", episode_length=30)
    opened, reset = [], family.reset

    def counted(key, task):
        jax.debug.callback(lambda: opened.append(1))
        return reset(key, task)

    family = family._replace(reset=counted)
    options = {"num_tasks": 2, "num_streams": 2, "lifetime": 40, "batch_size": 4, "num_points": 4}
    algorithm = metajax.make(
        "dqn", family, **options, buffer_size=60, learning_starts=60, hidden_sizes=(4,)
    )

    @jax.jit
    def run():
        theta, task = algorithm.init(jax.random.key(0)).theta, family.sample(jax.random.key(2))
        return algorithm.adapt(jax.random.key(1), theta, task, explore=False).returns

    returns = np.asarray(run())
    jax.effects_barrier()
    assert returns.shape == (5,)
    assert 5 <= len(opened) < 20  # all episodes that begin at once count as one
    # Nothing was learned, so all points measure the same policy.
    assert np.ptp(returns) < 0.35 * returns.mean()
    assert returns.min() > 5
