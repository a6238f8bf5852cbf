"""When the first state of the next episode is drawn, on a family that shows what was drawn."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metajax.core.family import Discrete, Restarts, Spec, TaskFamily, TimeStep
from metajax.core.types import Actor, ActorOutput, Learner
from metajax.data.continuing import continuing
from metajax.data.fresh import fresh
from metajax.data.lifetime import lifetime
from metajax.tasks.auto_reset import with_auto_reset

LENGTH, NUM_STREAMS, NUM_STEPS, NUM_CHUNKS = 2, 3, 5, 4
EPISODES = 4


@functools.cache
def _numbers(restarts: Restarts = "step") -> TaskFamily:
    """Episodes of two steps; each shows the number that its reset has drawn."""
    spec = Spec("numbers", (), Discrete(2), LENGTH, episodes_per_trial=EPISODES)
    no, zero = jnp.zeros((), bool), jnp.zeros(())

    def reset(key, task):
        number = jax.random.uniform(key)
        return (number, jnp.int32(0)), TimeStep(number, zero, no, no, number)

    def advance(key, task, state, action):
        number, time = state
        return (number, time + 1), TimeStep(number, number, no, time + 1 >= LENGTH, number)

    return with_auto_reset(spec, lambda key: (), reset, advance, restarts=restarts)


def _learner() -> Learner:
    """Takes action 0 and learns nothing."""

    def act(noise, theta, phi, memory, seen):
        return ActorOutput(jnp.int32(0), jnp.int32(0), jnp.zeros(())), memory

    return Learner(
        init=lambda key: (),
        begin=lambda key, theta: (),
        adapt=lambda noise, theta, phi, chunk: phi,
        predict=lambda theta, phi, chunk: (),
        actor=Actor(lambda theta: (), act, divergence=lambda old, new: jnp.zeros(())),
    )


def _lifetime(family):
    problem = lifetime(
        family,
        _learner(),
        num_adaptations=NUM_CHUNKS - 1,
        num_streams=NUM_STREAMS,
        num_steps=NUM_STEPS,
    )

    @jax.jit
    def run(key):
        trial = problem.run(key, (), ())
        return trial.support.observation, trial.query.observation

    support, query = jax.device_get(run(jax.random.key(0)))
    first = jax.eval_shape(problem.source.noise, jax.random.key(0), ())[2]
    return np.concatenate([support.reshape(-1, NUM_STREAMS), query]), first


def _trial(family):
    problem = continuing(family, _learner(), num_streams=NUM_STREAMS)
    return jax.device_get(jax.jit(problem.run)(jax.random.key(0), (), ()).query.observation)


@functools.cache
def _support(family):
    problem = fresh(family, _learner(), num_streams=NUM_STREAMS)
    return jax.device_get(jax.jit(problem.run)(jax.random.key(0), (), ()).support.observation)


def _rows(observation):
    """``[episodes, E]`` numbers, each of which holds for a whole episode."""
    rows = observation.reshape(-1, LENGTH, NUM_STREAMS)
    np.testing.assert_array_equal(rows[:, 0], rows[:, 1])
    return rows[:, 0]


def test_a_draw_a_step_is_what_the_step_of_the_family_draws():
    seen, first = _lifetime(_numbers("step"))
    own, nothing = _lifetime(_numbers("own"))
    np.testing.assert_array_equal(seen, own)
    assert nothing is None
    assert first[1].observation.shape == (NUM_STEPS, NUM_STREAMS)
    rows = _rows(seen)
    assert len(np.unique(rows)) == rows.size == NUM_CHUNKS * NUM_STEPS // LENGTH * NUM_STREAMS
    np.testing.assert_array_equal(_trial(_numbers("step")), _trial(_numbers("own")))


def test_a_draw_a_chunk_is_one_of_each_stream():
    seen, first = _lifetime(_numbers("chunk"))
    assert first[1].observation.shape == (1, NUM_STREAMS)
    rows = _rows(seen)
    # Episodes end at steps 1 and 3 of chunk 0; 5, 7 and 9 of chunk 1; 11 and 13 of chunk 2, ...
    drawn_in = np.array([-1, 0, 0, 1, 1, 1, 2, 2, 3, 3])
    for row, chunk in zip(rows, drawn_in, strict=True):
        np.testing.assert_array_equal(row, rows[np.argmax(drawn_in == chunk)])
    assert len(np.unique(rows)) == (NUM_CHUNKS + 1) * NUM_STREAMS


def test_a_draw_a_chunk_of_a_continuing_trial_is_one_of_each_episode():
    rows = _rows(_trial(_numbers("chunk")))
    assert rows.shape == (EPISODES, NUM_STREAMS)
    assert len(np.unique(rows)) == rows.size


def test_what_a_family_does_by_itself_is_left_to_it():
    """Here the next episode begins one further, whatever a reset would draw."""
    family = _numbers("own")

    def step(key, task, state, action):
        (number, time), timestep = family.advance(key, task, state, action)
        after = number + timestep.done
        return (after, time % LENGTH), timestep._replace(observation=after)

    counting = family._replace(step=step)
    for seen in (_lifetime(counting)[0], _trial(counting)):
        rows = _rows(seen)
        expected = rows[0] + np.arange(len(rows))[:, None]
        np.testing.assert_allclose(rows, expected, rtol=1e-5)


@pytest.mark.parametrize("restarts", ["own", "step", "chunk"])
def test_one_episode_begins_as_its_stream_does(restarts):
    """However restarts are drawn, a fresh trial draws none."""
    support = _support(_numbers(restarts))
    np.testing.assert_array_equal(support, _support(_numbers()))
    assert len(np.unique(support)) == NUM_STREAMS


def test_returns_are_those_of_the_episodes_that_were_drawn():
    family = _numbers("chunk")
    problem = lifetime(
        family, _learner(), num_adaptations=2, num_streams=NUM_STREAMS, num_steps=LENGTH
    )
    trial = jax.device_get(jax.jit(problem.run)(jax.random.key(3), (), ()))
    first, last = trial.support.observation[0, 0], trial.query.observation
    np.testing.assert_allclose(trial.returns, [2 * first.mean(), 2 * last[0].mean()], rtol=1e-6)
