"""Learners that adapt in their memory: what they see, what they forget, what they learn."""

import dataclasses
import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rlax
import toys

import metajax
from metajax import inner, losses, networks, outer
from metajax.core.family import Discrete, Spec, TimeStep
from metajax.core.types import Actor, ActorOutput, Learner, Outputs
from metajax.data.rollout import actor_inputs
from metajax.tasks import with_auto_reset

NUM_EPISODES, EPISODE_LENGTH, NUM_STREAMS = 3, 4, 2


class _Clock(NamedTuple):
    number: jax.Array
    time: jax.Array


def _early_ends(num_episodes=NUM_EPISODES, reward_type=jnp.float32):
    """Episodes terminate at random before the time limit; a step's reward is its time."""
    spec = Spec("early ends", (1,), Discrete(3), EPISODE_LENGTH, episodes_per_trial=num_episodes)
    no = jnp.zeros((), bool)

    def timestep(state, reward, terminated):
        seen = jnp.stack([state.time.astype(jnp.float32)])
        truncated = (state.time >= EPISODE_LENGTH) & ~terminated
        return TimeStep(seen, reward, terminated, truncated, seen)

    def reset(key, task):
        del key, task
        state = _Clock(jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32))
        return state, timestep(state, jnp.zeros(()), no)

    def advance(key, task, state, action):
        del task, action
        state = _Clock(state.number, state.time + 1)
        return state, timestep(
            state, state.time.astype(reward_type), jax.random.bernoulli(key, 0.3)
        )

    return with_auto_reset(spec, lambda key: jnp.zeros(()), reset, advance)


def _recorder():
    """Its memory counts steps and episode starts; it acts with the number of steps."""

    def act(noise, theta, phi, memory, seen):
        del noise, theta, phi
        steps, starts = memory
        starts = starts + seen.start
        action = (steps % 3).astype(jnp.int32)
        output = ActorOutput(action, action, starts.astype(jnp.float32), steps.astype(jnp.float32))
        return output, (steps + 1, starts)

    zeros = jnp.zeros((), jnp.int32)
    return Learner(
        init=lambda key: (),
        begin=lambda key, theta: (),
        adapt=lambda key, theta, phi, chunk: phi,
        predict=lambda theta, phi, chunk: Outputs((), jnp.zeros(()), jnp.zeros(())),
        actor=Actor(lambda theta: (zeros, zeros), act, lambda old, new: jnp.zeros(())),
    )


def _problem(family, learner):
    return metajax.continuing(family, learner, num_streams=NUM_STREAMS, num_episodes=NUM_EPISODES)


@pytest.fixture(scope="module")
def recorded():
    """Trials of the recorder in the family of early ends, ``[10, ...]`` of them."""
    problem = _problem(_early_ends(), _recorder())

    @jax.jit
    def run(key):
        def trial(key):
            return problem.run(key, (), jnp.zeros(()))

        return jax.vmap(trial)(jax.random.split(key, 10))

    return jax.device_get(run(jax.random.key(0)))


def test_memory_survives_the_ends_of_episodes(recorded):
    chunk = recorded.query
    steps = np.broadcast_to(
        np.arange(NUM_EPISODES * EPISODE_LENGTH)[:, None], chunk.value.shape[1:]
    )
    for trial in range(10):
        np.testing.assert_array_equal(chunk.value[trial], steps)


def test_the_start_flag_is_true_at_the_first_step_of_each_episode(recorded):
    """The number of starts seen is one more than the episodes that have ended."""
    chunk = recorded.query
    done = chunk.terminated | chunk.truncated
    ended_before = np.cumsum(done, axis=1) - done
    assert done.sum() > 10 * NUM_STREAMS
    np.testing.assert_array_equal(
        np.where(chunk.mask, chunk.log_prob, 0), np.where(chunk.mask, ended_before + 1, 0)
    )


def test_memory_is_cleared_at_the_end_of_a_trial():
    """A second trial of the same source starts with the first memory again."""
    source = _problem(_early_ends(), _recorder()).source
    task = jnp.zeros(())

    @jax.jit
    def run(key):
        def one_more(state, key):
            return source.next(key, (), (), task, state)

        keys = jax.random.split(key, 2)
        return jax.lax.scan(one_more, source.open(key, (), task), keys)[1]

    chunks = jax.device_get(run(jax.random.key(0)))
    np.testing.assert_array_equal(chunks.value[:, 0], np.zeros((2, NUM_STREAMS)))
    np.testing.assert_array_equal(chunks.log_prob[:, 0], np.ones((2, NUM_STREAMS)))


def test_a_trial_has_its_number_of_episodes_and_returns_are_theirs(recorded):
    chunk = recorded.query
    done = chunk.terminated | chunk.truncated
    np.testing.assert_array_equal(done.sum(axis=1), NUM_EPISODES)
    assert recorded.returns.shape == (10, NUM_EPISODES)
    assert not chunk.reward[~chunk.mask].any()
    for trial in range(10):
        expected = np.zeros((NUM_EPISODES, NUM_STREAMS))
        for stream in range(NUM_STREAMS):
            episode = 0
            for time in range(NUM_EPISODES * EPISODE_LENGTH):
                if episode < NUM_EPISODES:
                    assert chunk.mask[trial, time, stream]
                    expected[episode, stream] += chunk.reward[trial, time, stream]
                else:
                    assert not chunk.mask[trial, time, stream]
                episode += done[trial, time, stream]
        np.testing.assert_allclose(recorded.returns[trial], expected.mean(axis=1), rtol=1e-6)
    assert recorded.env_steps.sum() == chunk.mask.sum()


# --- The learner -------------------------------------------------------------------------


def _learner(spec, **options):
    return inner.memory_learner(spec, networks.GRU(6), num_steps=12, head_scale=1.0, **options)


@pytest.fixture(scope="module", params=["discrete", "box"])
def trial(request):
    """A learner, its parameters and one of its trials, several episodes long."""
    family = _early_ends() if request.param == "discrete" else toys.line(episode_length=4)
    learner = _learner(family.spec)
    learner = learner._replace(actor=learner.actor._replace(records=("final_value",)))
    problem = _problem(family, learner)

    @jax.jit
    def run(key):
        theta = learner.init(jax.random.key(1))
        # The value starts at zero everywhere, which would hide what it reads.
        kernel = theta["value"]["kernel"]
        theta["value"]["kernel"] = jax.random.normal(jax.random.key(3), kernel.shape)
        return theta, problem.run(key, theta, family.sample(key)).query

    return family, learner, *jax.device_get(run(jax.random.key(2)))


def test_predictions_equal_those_step_by_step(trial):
    _, learner, theta, chunk = trial
    outputs = jax.jit(learner.predict)(theta, (), chunk)
    for name in ("log_prob", "value"):
        got, expected = (np.asarray(getattr(one, name))[chunk.mask] for one in (outputs, chunk))
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
        assert np.ptp(expected) > 1e-3


def test_inputs_are_those_of_the_rollout(trial):
    family, _, _, chunk = trial
    seen = jax.device_get(jax.jit(functools.partial(actor_inputs, family.spec))(chunk))
    np.testing.assert_array_equal(seen.last_action[1:], chunk.action[:-1])
    np.testing.assert_array_equal(seen.last_reward[1:], chunk.reward[:-1])
    np.testing.assert_array_equal(seen.last_reward[0], 0)
    np.testing.assert_array_equal(
        seen.last_action[0], -1 if seen.last_action.dtype == jnp.int32 else 0
    )
    done = chunk.terminated | chunk.truncated
    assert done[:-1].any()
    np.testing.assert_array_equal(seen.start[1:], done[:-1])
    assert seen.start[0].all()


def test_later_rewards_count_for_earlier_actions_in_a_trial_only(trial):
    """Without values, advantages are returns to go: of the trial, or of the episode."""
    family, _, theta, chunk = trial
    chunk = chunk._replace(value=chunk.value * 0, final_value=chunk.value * 0)
    options = {"discount": 1.0, "gae_lambda": 1.0}
    done = chunk.terminated | chunk.truncated
    for convention in ("trial", "episode"):
        learner = _learner(family.spec, advantages=convention, **options)
        got = jax.jit(learner.actor.annotate)(theta, (), chunk).advantage
        expected = np.zeros(chunk.reward.shape)
        following = np.zeros(NUM_STREAMS)
        for time in reversed(range(len(expected))):
            if convention == "episode":
                following = np.where(done[time], 0, following)
            following = following + chunk.reward[time]
            expected[time] = following
        np.testing.assert_allclose(got, np.where(chunk.mask, expected, 0), rtol=1e-5, atol=1e-5)


def test_episodic_advantages_are_those_of_rlax():
    """A termination is a discount of 0; a truncation cuts the trace and bootstraps."""
    random = np.random.default_rng(0)
    shape, discount, lambda_ = (9, 4), 0.9, 0.8
    reward, value, final = random.normal(size=(3, *shape)).astype(np.float32)
    terminated: Any = random.random(shape) < 0.3
    truncated: Any = (random.random(shape) < 0.3) & ~terminated
    assert terminated.any()
    assert truncated.any()
    mask: Any = np.ones(shape, bool)
    pieces = []
    for stream in range(shape[1]):
        start = 0
        for end in [*np.flatnonzero(truncated[:-1, stream]), shape[0] - 1]:
            pieces.append((slice(start, end + 1), stream))
            start = end + 1

    @jax.jit
    def both():
        got = losses.episodic_advantages(
            reward, value, final, terminated, truncated, mask, discount, lambda_
        )
        expected = [
            rlax.truncated_generalized_advantage_estimation(
                jnp.asarray(reward[piece]),
                discount * ~terminated[piece],
                lambda_,
                jnp.append(value[piece], final[piece][-1]),
            )
            for piece in pieces
        ]
        return [got[piece] for piece in pieces], expected

    for got, expected in zip(*both(), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_trial_advantages_are_those_of_rlax():
    reward, value = np.random.default_rng(0).normal(size=(2, 9, 4)).astype(np.float32)

    @jax.jit
    def both(reward, value):
        ends, mask = jnp.zeros(4), jnp.ones((9, 4), bool)
        got = losses.generalized_advantages(reward, value, ends, mask, 0.9, 0.8)
        expected = jax.vmap(
            lambda r, v: rlax.truncated_generalized_advantage_estimation(
                r, jnp.full(9, 0.9), 0.8, jnp.append(v, 0.0)
            ),
            in_axes=1,
            out_axes=1,
        )(reward, value)
        return got, expected

    np.testing.assert_allclose(*both(reward, value), rtol=1e-5, atol=1e-6)


# --- Under an outer rule -----------------------------------------------------------------

SMALL = {"num_tasks": 8, "hidden_size": 4, "num_minibatches": 2, "num_epochs": 2}


def _trained(family=None, **options):
    algorithm = metajax.make("rl2", family or _early_ends(), **SMALL, **options)
    return metajax.train(algorithm, jax.random.key(0), 2)


@pytest.fixture(scope="module")
def trained():
    """A state and a history, from two devices."""
    return _trained()


def test_blocks_and_devices_change_rounding_only(trained, assert_same):
    blocks, _ = _trained(devices=1, microbatch=2)
    assert_same(trained[0].theta, blocks.theta, rtol=1e-3, atol=1e-5)


@pytest.mark.further
def test_blocks_and_devices_change_rounding_only_without_epochs(assert_same):
    options = {"outer": "a2c", "advantages": "episode"}
    (spread, _), (blocks, _) = (
        _trained(**options, **layout) for layout in ({}, {"devices": 1, "microbatch": 2})
    )
    assert_same(spread.theta, blocks.theta, rtol=1e-3, atol=1e-5)


def test_the_convention_of_advantages_does_not_change_a_measurement_of_longer_trials():
    found = []
    for advantages in ("trial", "episode"):
        algorithm = metajax.make("rl2", _early_ends(), **SMALL, advantages=advantages)
        theta = algorithm.init(jax.random.key(0)).theta
        longer = _early_ends(num_episodes=5)
        measured = metajax.evaluate(algorithm, jax.random.key(1), theta, longer, num_tasks=4)
        assert measured.axis == "episodes"
        found.append(measured.returns)
    np.testing.assert_array_equal(*found)
    assert found[0].shape == (4, 5)


class _LastInput(nn.Module):
    """Remembers nothing and has no parameters."""

    def initial_memory(self) -> tuple[jax.Array, ...]:
        return ()

    def step(self, memory, x):
        return x, memory

    def __call__(self, xs):
        return xs


class _Untidy(_LastInput):
    """Confuses what the methods of a memory give."""

    where: str

    def step(self, memory, x):
        twice = jnp.concatenate([x, x])
        wrong = {"step": (memory, x), "size": (twice, memory), "memory": (x, x)}
        wrong["shape"] = x, (jnp.zeros(2), jnp.zeros(3))
        return wrong.get(self.where, (x, memory))

    def initial_memory(self):
        return (jnp.zeros((2, 3)), jnp.zeros(())) if self.where == "shape" else ()

    def __call__(self, xs):
        return (xs, ()) if self.where == "call" else xs


@pytest.mark.parametrize(
    ("memory", "advantages"),
    [
        pytest.param(networks.LSTM(5), "trial", marks=pytest.mark.further),
        pytest.param(
            lambda length: networks.SNAIL(length, 4, blocks=(("tc", 2),)),
            "trial",
            marks=pytest.mark.further,
        ),
        (_LastInput(), "episode"),
    ],
)
def test_a_memory_of_ones_own_and_a_discount_of_zero(memory, advantages):
    options = {"memory": memory, "advantages": advantages, "discount": 0.0}
    algorithm = metajax.make("rl2", _early_ends(), **SMALL, **options)
    assert _memory_shapes(algorithm) != _memory_shapes(metajax.make("rl2", _early_ends(), **SMALL))
    _, history = metajax.train(algorithm, jax.random.key(0), 1)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(history))


def _memory_shapes(algorithm):
    theta = jax.eval_shape(algorithm.init, jax.random.key(0)).theta
    return jax.tree.map(jnp.shape, theta["memory"])


def test_a_memory_is_made_for_the_length_of_a_trial():
    blocks = (("tc", 2), ("attention", 2, 2))
    makers = (
        lambda length: networks.SNAIL(length, 4, blocks=blocks),
        functools.partial(networks.SNAIL, input_size=4, blocks=blocks),
    )
    family = _early_ends()
    one, other = (metajax.make("rl2", family, **SMALL, memory=make) for make in makers)
    assert _memory_shapes(one) == _memory_shapes(other)
    state = jax.eval_shape(other.init, jax.random.key(0))
    jax.eval_shape(other.step, jax.random.key(0), state)


@pytest.mark.parametrize(
    ("memory", "said"),
    [
        (nn.GRUCell(4), "memory: GRUCell has no initial_memory and no step; allowed: "),
        (networks.GRU, "memory: GRU is no module; did you mean GRU(...)? allowed: "),
        (7, "memory: int has no initial_memory"),
        (
            _Untidy("call"),
            "memory: __call__ of _Untidy gives ((2, 3, 6), ()) for inputs (2, 3, 6)",
        ),
        (_Untidy("step"), "memory: step of _Untidy gives ((), (6,)); allowed: features [6], "),
        (_Untidy("size"), "memory: step of _Untidy gives ((12,), ()); allowed: features [6], "),
        (_Untidy("memory"), "memory: step of _Untidy gives ((6,), (6,)); allowed: features [6], "),
        (_Untidy("shape"), "memory: step of _Untidy gives ((6,), ((2,), (3,))); allowed: features"),
    ],
)
def test_a_memory_that_is_none(memory, said):
    with pytest.raises(metajax.OptionError) as caught:
        metajax.make("rl2", _early_ends(), memory=memory)
    assert str(caught.value).startswith(said)


def test_rewards_may_be_integers(trained):
    """Of steps alone, where a reset pays a float."""
    _, history = _trained(_early_ends(reward_type=jnp.int32))
    jax.tree.map(np.testing.assert_array_equal, history, trained[1])


def test_a_convention_of_advantages_that_does_not_exist():
    with pytest.raises(metajax.OptionError, match='advantages: "trials" is not possible; allowed'):
        inner.memory_learner(_early_ends().spec, networks.GRU(4), num_steps=4, advantages="trials")


def test_a_memory_has_no_adaptations():
    algorithm = metajax.make("rl2", _early_ends(), **SMALL)
    theta = algorithm.init(jax.random.key(0)).theta
    with pytest.raises(metajax.OptionError, match="num_adaptations: 2"):
        metajax.evaluate(algorithm, jax.random.key(1), theta, num_tasks=4, num_adaptations=2)
    with pytest.raises(metajax.OptionError, match="learner: has no adapted weights"):
        outer.displacement(algorithm.problem, metajax.Layout.build(4))


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"memory_cell": "lstm"}, {"outer": "a2c"}])
def test_it_learns_what_only_a_memory_can_know(options):
    """Two arms, one of which pays: without memory half of the pulls do; with it all but
    half of the first."""
    num_pulls = 6
    family = toys.arms(episode_length=1)
    family = family._replace(spec=dataclasses.replace(family.spec, episodes_per_trial=num_pulls))
    algorithm = metajax.make(
        "rl2", family, num_tasks=128, hidden_size=16, learning_rate=1e-2, **options
    )
    state, _ = metajax.train(algorithm, jax.random.key(0), 120)
    evaluation = metajax.evaluate(algorithm, jax.random.key(1), state.theta, num_tasks=500)
    assert evaluation.mean()[0] == pytest.approx(0.5, abs=0.1)
    assert evaluation.mean()[1:].min() > 0.95


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("snail", {"input_size": 8, "filters": 8, "attention_size": 8}),
        ("transformer", {"num_layers": 1, "num_heads": 2, "size": 16, "mlp_size": 16}),
    ],
)
def test_attention_learns_it_too(name, options):
    family = toys.arms(episode_length=1)
    family = family._replace(spec=dataclasses.replace(family.spec, episodes_per_trial=6))
    algorithm = metajax.make(name, family, num_tasks=64, learning_rate=5e-3, **options)
    state, _ = metajax.train(algorithm, jax.random.key(0), 100)
    evaluation = metajax.evaluate(algorithm, jax.random.key(1), state.theta, num_tasks=500)
    assert evaluation.mean()[0] == pytest.approx(0.5, abs=0.1)
    assert evaluation.mean()[1:].min() > 0.95
