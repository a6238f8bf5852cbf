"""Meta-Q-learning: density ratios, weights in the loss, windows and what adaptation is made of."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import metajax
from metajax import inner, losses, networks
from metajax.core.algorithm import MetaAlgorithm
from metajax.core.family import Discrete, Spec
from metajax.core.types import Chunk, Trial
from metajax.data.acting import actor_of
from metajax.data.buffer import Transition
from metajax.inner.q.context_replay import inputs_after
from metajax.inner.q.meta_q import MetaQ, pulled
from metajax.inner.q.propensity import balanced, standardized

LENGTH, NUM_STREAMS, NUM_STEPS = 6, 2, 3
SHIFT = np.array([0.5, -0.5], np.float32)
MEMORY_SIZE = 12


# --- Density ratios -----------------------------------------------------------------------


_fit = jax.jit(inner.propensity)


def _propensity(*arrays, ridge=1e-2):
    return jax.device_get(_fit(*arrays, ridge=ridge))


def _gaussians(num_new=1500, num_old=3000):
    """Features of a standard normal in the old tasks, moved by ``SHIFT`` in the new one."""
    rng = np.random.default_rng(0)
    new = rng.normal(size=(num_new, 2)) + SHIFT
    return new.astype(np.float32), rng.normal(size=(num_old, 2)).astype(np.float32)


def test_ratios_of_gaussians_are_in_closed_form():
    """``log p(x - shift) / p(x) = shift x - |shift|^2 / 2`` and ``E beta^2 = exp |shift|^2``."""
    new, old = _gaussians()
    found = _propensity(new, old, np.ones(len(new)), np.ones(len(old)), ridge=1e-6)
    expected = old @ SHIFT - SHIFT @ SHIFT / 2
    np.testing.assert_allclose(np.log(found.ratio), expected, atol=0.4)
    assert np.abs(np.log(found.ratio) - expected).mean() < 0.1
    np.testing.assert_allclose(found.effective, np.exp(-SHIFT @ SHIFT), atol=0.05)
    np.testing.assert_allclose(np.mean(found.ratio), 1, atol=0.05)


def test_ratios_are_those_of_the_minimum():
    """Against Newton's method in numpy, in float64."""
    new, old = _gaussians(40, 70)
    found = _propensity(new, old, np.ones(40), np.ones(70), ridge=0.1)
    weight = np.concatenate([np.full(40, 0.5 / 40), np.full(70, 0.5 / 70)])
    both = np.concatenate([new, old]).astype(float)
    mean = weight @ both
    scaled = (both - mean) / np.sqrt(weight @ (both - mean) ** 2)
    x = np.concatenate([scaled, np.ones((110, 1))], axis=1)
    penalty, w = np.array([0.1, 0.1, 0]), np.zeros(3)
    for _ in range(20):
        p = 1 / (1 + np.exp(-x @ w))
        gradient = x.T @ (weight * (p - (np.arange(110) >= 40))) + penalty * w
        w -= np.linalg.solve((x.T * (weight * p * (1 - p))) @ x + np.diag(penalty), gradient)
    np.testing.assert_allclose(found.ratio, np.exp(-x[40:] @ w), rtol=1e-3)


def test_rows_without_weight_do_not_count():
    new, old = _gaussians(40, 70)
    alone = _propensity(new, old, np.ones(40), np.ones(70))
    more = np.full((5, 2), 7, np.float32)
    some = _propensity(
        np.concatenate([new, more]),
        np.concatenate([old, -more]),
        np.repeat([1.0, 0.0], [40, 5]),
        np.repeat([1.0, 0.0], [70, 5]),
    )
    np.testing.assert_allclose(some.ratio[:70], alone.ratio, rtol=1e-3)
    np.testing.assert_array_equal(some.ratio[70:], 0)
    np.testing.assert_allclose(some.effective, alone.effective, rtol=1e-3)
    nothing = _propensity(new, old, np.ones(40), np.zeros(70))
    assert nothing.effective == 1
    np.testing.assert_array_equal(nothing.ratio, 0)


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [([2, 2, 2, 2], 1), ([1, 0, 0, 0], 1 / 4), ([3, 1, 0, 0], 16 / 40)],
)
def test_the_effective_sample_size_by_hand(ratio, expected):
    found = jax.jit(inner.effective_sample_size)(np.array(ratio, float), np.ones(4))
    np.testing.assert_allclose(found, expected)


def test_weights_and_features_of_the_fit_by_hand():
    balance = jax.jit(balanced)
    weight = balance(np.array([1.0, 0.0]), np.ones(4))
    np.testing.assert_array_equal(weight, [0.5, 0, 0.125, 0.125, 0.125, 0.125])
    np.testing.assert_array_equal(balance(np.ones(2), np.zeros(4)), [0.25, 0.25, 0, 0, 0, 0])
    features = np.array([[0.0, 3.0], [4.0, 3.0], [10.0, 4.0]])
    scaled = jax.device_get(jax.jit(standardized)(features, np.array([0.5, 0.5, 0.0])))
    np.testing.assert_allclose(scaled[:, 0], [-1, 1, 4], rtol=1e-6)
    np.testing.assert_allclose(scaled[:, 1], [0, 0, 1e6], rtol=1e-6)


# --- The update ---------------------------------------------------------------------------


def test_the_pull_by_hand():
    found = pulled(2.0, {"w": np.array([1.0, 1.0])}, {"w": np.array([1.5, 0.0])})
    np.testing.assert_array_equal(found["w"], [1, -2])


def test_a_weighted_loss_by_hand():
    """Values are weights themselves; errors 1, 2 and -4, of which the last is beyond delta."""
    values = {"q": np.array([1.0, 2.0, 3.0], np.float32)}
    network = networks.QNetwork(lambda key: values, lambda w, o: jnp.tile(w["q"], (len(o), 1)), 3)
    update = inner.QUpdate(network, optax.identity())
    seen: Any = np.zeros((1, 3, 2), np.float32)
    action: Any = np.array([[0, 1, 2]])
    zeros, no = 0 * seen[..., 0], seen[..., 0] > 0
    batch = Transition(seen, action, zeros, no, no, seen)
    weighted = batch._replace(weight=np.array([4.0, 0.0, 0.5], np.float32))
    target: Any = np.array([0.0, 0.0, 7.0], np.float32)
    now = inner.QSettings(learning_rate=0.5, huber_delta=2.0)
    # All terminal: targets are the rewards, and the gradient is weight times error over three.
    ended = weighted._replace(reward=target[None], terminated=~no)

    @jax.jit
    def found(values):
        zero = jnp.zeros((), jnp.int32)
        state = inner.QState(values, values, optax.EmptyState(), (), zero, zero)
        pulled = update.step(state, ended, now, lambda w: {"q": 0.1 * w["q"]})
        losses = [update.loss(values, target, one, now) for one in (batch, weighted)]
        return *losses, pulled.weights["q"]

    loss, weighted_loss, weights = found(values)
    np.testing.assert_allclose(loss, (0.5 + 2 + (2 * 4 - 2)) / 3)
    np.testing.assert_allclose(weighted_loss, (2 + 3) / 3)
    gradient = np.array([4 * 1 / 3 + 0.1, 0.2, -0.5 * 2 / 3 + 0.3])
    np.testing.assert_allclose(weights, values["q"] - 0.5 * gradient, rtol=1e-6)


# --- Windows --------------------------------------------------------------------------------


def _windows_by_hand(chunk, length=LENGTH):
    """``[T, E, C, F]`` of a trial with leaves ``[T, E, ...]``, in plain loops."""
    num_steps, num_streams = chunk.action.shape
    num_actions, done = 2, np.asarray(chunk.terminated | chunk.truncated)
    size = chunk.observation.shape[-1] + num_actions + 3
    windows = np.zeros((num_steps, num_streams, length, size), np.float32)
    for time in range(num_steps):
        for stream in range(num_streams):
            for back in range(min(length, time + 1)):
                at = time - back
                action, reward, start = np.zeros(num_actions), 0.0, True
                if at > 0:
                    action[chunk.action[at - 1, stream]] = 1
                    reward, start = chunk.reward[at - 1, stream], done[at - 1, stream]
                step = np.concatenate([chunk.observation[at, stream], action, [reward, start, 1]])
                windows[time, stream, length - 1 - back] = step
    return windows


def test_inputs_of_a_chunk_follow_the_stored_steps():
    """Stream 0 begins a trial behind a blank; stream 1 goes on behind the end of an episode."""
    seen: Any = np.arange(4.0).reshape(2, 2, 1)
    action: Any = np.array([[0, 1], [1, 1]])
    reward: Any = np.array([[3.0, 4.0], [5.0, 6.0]])
    ends: Any = np.array([[True, False], [False, False]])
    no, zeros = ends & False, 0 * reward
    chunk = Chunk(seen, action, reward, ends, no, ~no, zeros, next_observation=seen)
    stored: Any = np.array([[0.0, 0.0], [8.0, 1.0]])
    paid: Any = np.array([9.0, 7.0])
    last = Transition(stored, action[1], paid, ~no[0], no[0], stored)
    found = jax.jit(inputs_after)(last, chunk)
    np.testing.assert_array_equal(found.observation, seen)
    np.testing.assert_array_equal(found.last_action, [[-1, 1], [0, 1]])
    np.testing.assert_array_equal(found.last_reward, [[0, 7], [3, 4]])
    np.testing.assert_array_equal(found.start, [[True, True], [True, False]])


@functools.cache
def _cartpole(**options):
    sizes = {"num_tasks": 3, "num_streams": NUM_STREAMS, "num_steps": NUM_STEPS, "batch_size": 8}
    sizes |= {"lifetime": 24, "learning_starts": 6, "hidden_sizes": (4,), "num_points": 1}
    sizes |= {"context_length": LENGTH, "context_size": 3, "memory_size": MEMORY_SIZE}
    sizes |= {"adaptations": 3, "training_steps": 2, "training_buffer_size": 60}
    family = metajax.tasks.make("cartpole", episode_length=5)
    return metajax.make("meta-q-learning", family, **{**sizes, **options})


class Recorded(NamedTuple):
    """A trial, ``everything`` of it in one row, and the memory before it."""

    algorithm: MetaAlgorithm
    theta: MetaQ
    blank: np.ndarray
    found: Trial
    everything: Chunk


@pytest.fixture(scope="module")
def trial():
    """A trial of four chunks, and one after them, in which episodes of five steps end."""
    algorithm = _cartpole()

    @jax.jit
    def run(theta):
        task = algorithm.family.sample(jax.random.key(2))
        blank = actor_of(algorithm.learner).memory(theta)
        return blank, algorithm.adapt(jax.random.key(1), theta, task)

    theta = jax.device_get(algorithm.init(jax.random.key(0)).theta)
    blank, found = jax.device_get(run(theta))
    steps = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), found.support)
    everything = jax.tree.map(lambda *parts: np.concatenate(parts), steps, found.query)
    return Recorded(algorithm, theta, blank, found, everything)


def test_the_memory_is_kept_over_episodes_and_blank_before_a_trial(trial):
    windows = _windows_by_hand(trial.everything)
    np.testing.assert_allclose(trial.found.source.streams.memory, windows[-1], rtol=1e-6)
    np.testing.assert_array_equal(trial.blank, 0)
    # An episode started inside the last window, whose steps are all real all the same.
    assert windows[-1][:, 1:, -2].any()
    np.testing.assert_array_equal(windows[-1][..., -1], 1)


def test_replay_has_the_windows_that_were_acted_on(trial):
    windows = inner.Windows.of(metajax.tasks.make("cartpole").spec, LENGTH)
    replay = inner.context_replay(windows, num_streams=NUM_STREAMS, capacity=2000, batch_size=1)
    expected = _windows_by_hand(trial.everything)[:12]
    every = np.stack(np.meshgrid((np.arange(2) + 0.5) / 2, (np.arange(12) + 0.5) / 12))

    # The buffer of the trial is of another size, but holds as many steps as windows.
    @jax.jit
    def run(noise, support):
        buffer, _ = jax.lax.scan(
            lambda buffer, chunk: (replay.replay.add(buffer, chunk), None),
            replay.replay.init(),
            support,
        )
        return replay.replay.sample(noise, buffer)

    drawn = jax.device_get(run(every.reshape(2, -1), trial.found.support))
    np.testing.assert_allclose(
        drawn.observation[0].reshape(12, NUM_STREAMS, *expected.shape[2:]), expected, rtol=1e-6
    )
    np.testing.assert_array_equal(drawn.weight, 1)
    reached = drawn.next_observation[0]
    np.testing.assert_allclose(reached[:, :-1], drawn.observation[0][:, 1:], rtol=1e-6)
    led = trial.everything.next_observation[:12].reshape(24, -1)
    np.testing.assert_allclose(reached[:, -1, :4], led, rtol=1e-6)
    assert not reached[:, -1, -2].any()


def test_values_of_a_trial_are_those_of_the_windows_acted_on(trial):
    algorithm, theta, _, found, everything = trial
    outputs = jax.device_get(jax.jit(algorithm.learner.predict)(theta, found.phi, everything))
    assert outputs.value.shape == (15, NUM_STREAMS)
    # The query was acted on by these weights: log-probabilities agree.
    last = outputs.log_prob[-NUM_STEPS:]
    np.testing.assert_allclose(last, found.query.log_prob, rtol=1e-4, atol=1e-4)


def test_a_trial_of_training_begins_behind_blanks():
    """Nothing of one task is in a window of the next one."""
    algorithm = _cartpole()

    @jax.jit
    def run(state):
        state, _ = jax.lax.scan(
            lambda state, seed: (algorithm.step(jax.random.key(seed), state)[0], None),
            state,
            jnp.arange(2),
        )
        return state, algorithm.deploy(state)

    state, deployed = jax.device_get(run(algorithm.init(jax.random.key(0))))
    stored = state.carry.phi.buffer.experience
    blanks = LENGTH - 1
    real = np.repeat([0, 1, 0, 1, 0], [blanks, 6, blanks, 6, 2])
    np.testing.assert_array_equal(stored.observation[:, : len(real), -1], real[None].repeat(3, 0))
    first = stored.observation[:, [blanks, 2 * blanks + 6]]
    np.testing.assert_array_equal(first[..., 4:7], 0)
    np.testing.assert_array_equal(first[..., 7], 1)
    # Experience is drawn for a meta-test alone.
    assert set(state.theta.experience.weight) == {0.0}
    assert set(deployed.experience.weight) == {0.0, 1.0}
    columns = np.moveaxis(deployed.experience.observation, 1, 0)
    rows = stored.observation
    for column, weight in zip(columns, deployed.experience.weight, strict=True):
        starts = range(rows.shape[1] - LENGTH + 1)
        assert any((rows[:, at : at + LENGTH] == column).all((1, 2)).any() for at in starts)
        assert weight == column[-1, -1]


def _one_by_one(first: float, reward: float) -> Chunk:
    """Three steps of one stream that is at a number and the next ones; no episode ends."""
    at: Any = first + np.arange(3, dtype=np.float32)[:, None, None]
    actions: Any = np.ones((3, 1), np.int32)
    zeros, no = 0 * at[..., 0], actions < 0
    return Chunk(at, actions, zeros + reward, no, no, ~no, zeros, next_observation=at + 1)


@pytest.mark.parametrize(("length", "num_steps"), [(3, 3), (3, 1), (1, 1), (1, 2)])
def test_targets_end_where_a_trial_does(length, num_steps):
    """Two trials in one buffer: no target sums rewards of both, no window has steps of both."""
    spec = Spec("toy", (1,), Discrete(2), 100)
    windows = inner.Windows.of(spec, length)
    made = inner.context_replay(
        windows, num_streams=1, capacity=20, batch_size=1, num_steps=num_steps, num_trials=3
    )

    @jax.jit
    def every_start():
        buffer = made.replay.add(made.replay.init(), _one_by_one(10, 1))
        buffer = made.replay.add(made.open(buffer), _one_by_one(90, 5))
        starts = buffer.current_index - (length - 1 + num_steps) + 1

        def draw(start):
            drawn = made.replay.sample(jnp.array([[0.0], [(start + 0.5) / starts]]), buffer)
            # Values are where a step led, times 100.
            led = 100 * drawn.next_observation[:, :, -1, 0]
            cut = drawn.terminated, drawn.truncated
            target = losses.lambda_targets(drawn.reward, *cut, led, 1.0, 1.0)
            return drawn.weight[0], target[0, 0], drawn.observation[0, 0]

        return starts, jax.vmap(draw)(jnp.arange(20))

    starts, drawn = jax.device_get(every_start())
    assert starts <= 20
    rows = list(zip(*drawn, strict=True))[:starts]
    found = {window[-1, 0]: (target, window) for weight, target, window in rows if weight}
    # Rewards up to the end of the trial or n steps on, and the value of where that led.
    for at, (target, _) in found.items():
        steps = min(num_steps, 3 - int(at) % 10)
        assert target == steps * (1 if at < 50 else 5) + 100 * (at + steps)
    assert set(found) >= {10, 11, 12, 90}
    np.testing.assert_array_equal(found[90][1][:-1], 0)
    np.testing.assert_array_equal(found[90][1][-1], [90, 0, 0, 0, 1, 1])


# --- Adaptation -----------------------------------------------------------------------------


def _adapted(learner, noise, theta, found):
    """After four chunks of a trial with the same noise."""

    def adapt(phi, chunk):
        return learner.adapt(noise, theta, phi, chunk), None

    return jax.lax.scan(adapt, learner.begin(jax.random.key(0), theta), found.support)[0]


@pytest.fixture(scope="module")
def fine_tuned(trial):
    """What a ``q_learner`` on windows makes of the trial."""
    chosen = metajax.algorithms.ALGORITHMS.get("meta-q-learning")(
        num_streams=NUM_STREAMS,
        num_steps=NUM_STEPS,
        lifetime=24,
        batch_size=8,
        learning_starts=6,
        hidden_sizes=(4,),
        context_length=LENGTH,
        context_size=3,
    )
    family = trial.algorithm.family
    plain = inner.with_context(
        inner.q_learner(
            chosen.context_values(family).values,
            chosen.replay(family).replay,
            optimizer=chosen.inner_rule(),
            settings=chosen.settings,
            updates=3,
            target_period=chosen.target_period,
        ),
        chosen.windows(family),
    )
    recycling = _cartpole(updates=3).learner

    @jax.jit
    def run(theta):
        noise = recycling.noise(jax.random.key(5)).new
        phi = _adapted(plain, noise, theta.weights, trial.found)
        return phi.updates, phi.weights

    return jax.device_get(run(trial.theta))


@pytest.mark.parametrize("there", [False, True])
def test_without_old_experience_it_is_plain_fine_tuning(trial, fine_tuned, there):
    """The same steps as a ``q_learner`` on windows takes with the same noise."""
    theta = trial.theta
    options = {"old_updates": 0, "proximal": 0.0} if there else {}
    learner = _cartpole(updates=3, **options).learner
    if there:
        theta = theta._replace(experience=theta.experience._replace(weight=np.ones(MEMORY_SIZE)))

    @jax.jit
    def run(theta):
        phi = _adapted(learner, learner.noise(jax.random.key(5)), theta, trial.found)
        return phi.updates, phi.weights

    updates, weights = jax.device_get(run(theta))
    expected_updates, expected = fine_tuned
    assert updates == expected_updates == 12
    jax.tree.map(
        lambda got, want: np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-7),
        weights,
        expected,
    )


def test_the_pull_holds_the_weights_back(trial):
    """With old experience that is unlike the task's, ESS is below 1 and a large pull wins."""
    old = trial.theta.experience
    observation = np.random.default_rng(3).normal(size=old.observation.shape).astype(np.float32)
    strange = old._replace(observation=observation, weight=np.ones(MEMORY_SIZE, np.float32))
    theta = trial.theta._replace(experience=strange)

    @functools.partial(jax.jit, static_argnames="old_updates")
    def distance(proximal, theta, **options):
        more = {"updates": 3, "inner_optimizer": "sgd", "inner_lr": 0.01, **options}
        learner = _cartpole.__wrapped__(proximal=proximal, **more).learner  # traced: not kept
        phi = _adapted(learner, learner.noise(jax.random.key(5)), theta, trial.found)
        return optax.tree.norm(jax.tree.map(jnp.subtract, phi.weights, theta.weights))

    free, held = distance(0.0, theta), distance(50.0, theta)
    assert held < 0.8 * free
    # Old experience that counts moves the weights as well.
    assert distance(0.0, theta, old_updates=0) != free


def test_bytes_of_both_buffers_are_checked():
    with pytest.raises(metajax.OptionError, match=r"training_buffer_size.*bytes.*buffer_budget"):
        _cartpole(training_buffer_size=10_000_000, buffer_budget=1e6)
    with pytest.raises(metajax.OptionError, match=r"buffer_size.*bytes"):
        _cartpole(buffer_size=10_000_000, buffer_budget=1e6)
    with pytest.raises(metajax.OptionError, match="context_length"):
        _cartpole(context_length=0)


def test_continuous_actions_are_refused():
    with pytest.raises(metajax.OptionError, match="Discrete actions"):
        metajax.make("meta-q-learning", metajax.tasks.make("pendulum"))
