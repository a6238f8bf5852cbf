"""What happens inside a trial: counts, returns, the task, memory, empty rewards."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toys

import metajax
from metajax import inner, losses
from metajax.core.family import Box, Spec, TimeStep
from metajax.core.layout import sum_rows
from metajax.core.problem import Noise
from metajax.core.types import Actor, ActorOutput, Learner, Outputs
from metajax.inner.policy import last_reached
from metajax.tasks import with_auto_reset

HORIZON, NUM_STREAMS, NUM_ADAPTATIONS = 4, 3, 2


def _counting_family():
    """The reward of every step is the number of the task; resets draw a start."""
    spec = Spec("numbers", (1,), Box((-100.0,), (100.0,)), HORIZON)
    no = jnp.zeros((), bool)

    def timestep(start, reward, time):
        seen = start[None]
        return TimeStep(seen, reward, no, time >= HORIZON, seen)

    def reset(key, task):
        del task
        start, time = jax.random.normal(key), jnp.zeros((), jnp.int32)
        return (start, time), timestep(start, jnp.zeros(()), time)

    def advance(key, task, state, action):
        del key, action
        start, time = state[0], state[1] + 1
        return (start, time), timestep(start, task, time)

    return with_auto_reset(spec, jax.random.normal, reset, advance)


def _counting_learner():
    """Acts with the number of steps its memory has seen; phi counts adaptations."""

    def act(noise, theta, phi, memory, seen):
        del noise, theta, seen
        action = (memory + 100 * phi).astype(jnp.float32)[None]
        return ActorOutput(action, -action, jnp.zeros(())), memory + 1

    def predict(theta, phi, chunk):
        zeros = jnp.zeros(chunk.mask.shape)
        return Outputs((), zeros, zeros)

    memory = jnp.zeros((), jnp.int32)
    return Learner(
        init=lambda key: jnp.zeros(()),
        begin=lambda key, theta: jnp.zeros((), jnp.int32),
        adapt=lambda key, theta, phi, chunk: phi + 1,
        predict=predict,
        actor=Actor(lambda theta: memory, act, lambda old, new: jnp.zeros(())),
    )


def _problem():
    return metajax.fresh(
        _counting_family(),
        _counting_learner(),
        num_adaptations=NUM_ADAPTATIONS,
        num_streams=NUM_STREAMS,
    )


def _trial(key, task):
    return _problem().run(key, jnp.zeros(()), task)


def test_the_task_stays_fixed_through_every_episode_of_a_trial():
    tasks = np.array([0.25, -3.0, 17.0], np.float32)
    program = jax.jit(lambda key, tasks: jax.vmap(_trial)(jax.random.split(key, 3), tasks))
    trials = jax.device_get(program(jax.random.key(0), tasks))
    for row, task in enumerate(tasks):
        np.testing.assert_array_equal(trials.support.reward[row], task)
        np.testing.assert_array_equal(trials.query.reward[row], task)
    np.testing.assert_allclose(
        trials.returns, HORIZON * np.tile(tasks[:, None], NUM_ADAPTATIONS + 1), rtol=1e-6
    )


def test_every_stream_has_a_memory_that_lasts_its_episode():
    trial = jax.device_get(jax.jit(_trial)(jax.random.key(0), np.float32(1)))
    steps = np.arange(HORIZON)[:, None, None] + np.zeros((HORIZON, NUM_STREAMS, 1))
    for adaptation in range(NUM_ADAPTATIONS):
        expected = steps + 100 * adaptation
        np.testing.assert_array_equal(trial.support.action[adaptation], expected)
    np.testing.assert_array_equal(trial.query.action, steps + 100 * NUM_ADAPTATIONS)
    assert trial.phi == NUM_ADAPTATIONS


def _walk(lifetime):
    return toys.Walk(*map(jnp.asarray, (np.float32(0.5), np.int32(lifetime))))


@pytest.fixture(scope="module")
def maml():
    """A learner, its parameters, and one trial in each of two tasks, by their lifetimes."""
    algorithm = toys.make("maml", toys.line(), inner_steps=1, inner_lr=0.3)
    theta = algorithm.init(jax.random.key(0)).theta
    adapt = jax.jit(algorithm.problem.varied(records=("next_observation",)).run)
    trials = {lifetime: adapt(jax.random.key(1), theta, _walk(lifetime)) for lifetime in (2, 3)}
    return algorithm.learner, *jax.device_get((theta, trials))


def test_transitions_are_counted_once_and_padding_never(maml):
    reached_last = jax.jit(last_reached)
    for lifetime, trial in maml[2].items():
        assert trial.env_steps == 2 * toys.NUM_STREAMS * lifetime
        for chunk in (trial.query, jax.tree.map(lambda leaf: leaf[0], trial.support)):
            mask = np.arange(4)[:, None] < np.full(toys.NUM_STREAMS, lifetime)
            np.testing.assert_array_equal(chunk.mask, mask)
            np.testing.assert_array_equal(chunk.reward[lifetime:], 0)
            np.testing.assert_array_equal(chunk.terminated.sum(axis=0), 1)
            assert not chunk.truncated.any()
            # The observation after the last transition: where the point came to rest.
            last = chunk.observation[lifetime - 1, :, 0]
            moved = last + np.clip(chunk.action[lifetime - 1, :, 0], -1, 1)
            reached = jax.device_get(reached_last(chunk))
            np.testing.assert_allclose(reached[:, 0], moved, rtol=1e-5)
        expected = trial.query.reward.sum(axis=0).mean()
        np.testing.assert_allclose(trial.returns[-1], expected, rtol=1e-6)


def test_log_probabilities_are_those_of_the_acting_weights(maml):
    """Collected one step at a time, and again as one block after the trial."""
    learner, theta, trials = maml
    trial = trials[3]
    found = jax.device_get(jax.jit(learner.predict)(theta, trial.phi, trial.query).log_prob)
    mask = trial.query.mask
    np.testing.assert_allclose(found[mask], trial.query.log_prob[mask], rtol=1e-5, atol=1e-6)


def test_an_inner_step_is_reinforce(maml):
    """One adaptation equals a policy-gradient step written out with optax's SGD."""
    learner, theta, trials = maml
    trial = trials[3]
    chunk = jax.tree.map(lambda leaf: leaf[0], trial.support)

    @jax.jit
    def written_out(theta):
        phi = learner.begin(jax.random.key(0), theta)

        def loss(weights):
            outputs = learner.predict(theta, phi._replace(fast=weights), chunk)
            return -jnp.sum(jnp.where(chunk.mask, outputs.log_prob * chunk.advantage, 0)) / 9

        after = jax.tree.map(lambda w, g: w - 0.3 * g, theta, jax.grad(loss)(theta))
        return after, losses.returns_to_go(chunk.reward, chunk.mask, 0.99)

    expected, returns = written_out(theta)
    for got, wanted in zip(*map(jax.tree.leaves, (trial.phi.fast, expected)), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(chunk.target, returns, rtol=1e-4, atol=1e-4)


def test_a_trial_can_be_stopped_and_resumed(assert_same):
    """Adaptations one by one, or as many as there are keys, are those of the whole trial."""
    problem, theta, task = _problem(), np.float32(0), np.float32(2)

    @jax.jit
    def whole(key):
        _, _, _, key_chunks = jax.random.split(key, 4)
        trial = problem.run(key, theta, task)
        chunk_keys = jax.random.split(key_chunks, NUM_ADAPTATIONS + 1)[:-1]
        return trial, Noise(chunk_keys, jax.random.split(trial.keys.adapt, NUM_ADAPTATIONS))

    key = jax.random.key(3)
    trial, noise = whole(key)
    start = jax.jit(problem.start)(key, theta, task)

    @jax.jit
    def one_by_one(noise, life):
        chunks = []
        for index in range(NUM_ADAPTATIONS):
            now = jax.tree.map(lambda keys, i=index: keys[i], noise)
            life, chunk = problem.advance(now, theta, life)
            chunks.append(chunk)
        return life.phi, jax.tree.map(lambda *leaves: jnp.stack(leaves), *chunks)

    assert_same((trial.phi, trial.support), one_by_one(noise, start))
    life, chunks, measured = jax.jit(problem.proceed)(noise, theta, start)
    assert_same((trial.phi, trial.support), (life.phi, chunks))
    np.testing.assert_array_equal(measured.score, jax.device_get(trial.returns)[:-1])


# --- Tasks that never pay --------------------------------------------------------------


BARREN = [
    {"surrogate": "dice"},
    {"surrogate": "emaml"},
    {"surrogate": "lvc", "outer": "ppo"},
    {"surrogate": "score", "outer": "trpo", "baseline": "none"},
]


def test_every_surrogate_meets_a_trial_without_reward():
    assert {options["surrogate"] for options in BARREN} == set(inner.SURROGATES)


@pytest.mark.parametrize(
    "options",
    [*BARREN[:3], pytest.param(BARREN[3], marks=pytest.mark.further)],
    ids=str,
)
def test_a_trial_without_reward_changes_nothing(options, assert_same):
    barren = toys.arms(prize=0.0)
    algorithm = toys.make(
        "maml", barren, inner_clip=0.5, max_grad_norm=1.0, optimizer="sgd", **options
    )
    state = algorithm.init(jax.random.key(0))
    after, info = jax.device_get(jax.jit(algorithm.step)(jax.random.key(1), state))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((after, info)))
    assert_same(state.theta, after.theta)
    assert info["gradient_norm"] == 0
    np.testing.assert_array_equal(info["returns"], 0)


def test_a_trial_without_reward_is_finite_for_a_value_baseline_and_reptile():
    barren = toys.arms(prize=0.0)
    for name, options in (("maml", {"baseline": "value"}), ("reptile", {})):
        algorithm = toys.make(name, barren, inner_clip=0.5, **options)
        state, info = metajax.train(algorithm, jax.random.key(0), 2)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((state, info)))


def test_counts_of_many_tasks_do_not_wrap_around():
    layout = metajax.Layout.build(4, microbatch=2, num_devices=1)
    mean = jax.jit(
        lambda rows: layout.mean(lambda _, block: sum_rows({"env_steps": block}), (), rows)
    )(np.full(4, 10**9, np.int32))
    assert mean["env_steps"] == pytest.approx(1e9)
