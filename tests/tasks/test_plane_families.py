"""Point navigation and the sparse point robot against their definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metajax import tasks
from metajax.tasks.plane.base import PointState, PointTask

coordinate = st.floats(-0.5, 0.5, width=32)
move = st.floats(-10, 10, width=32)


def _step(family, goal, position, action, time=0):
    state = PointState(jnp.array(position, jnp.float32), jnp.int32(time))
    task = PointTask(jnp.array(goal, jnp.float32))
    return family.advance(jax.random.key(0), task, state, jnp.array(action))


@pytest.mark.parametrize(
    ("goal", "position", "action", "moved_to", "reward", "terminated"),
    [
        ((0.3, 0.4), (0.0, 0.0), (0.0, 0.0), (0.0, 0.0), -0.5, False),
        ((0.4, 0.5), (0.0, 0.0), (0.1, 0.1), (0.1, 0.1), -0.5, False),
        ((0.4, 0.5), (0.0, 0.0), (7.0, 0.3), (0.1, 0.1), -0.5, False),
        ((-0.1, 0.0), (0.0, 0.0), (-0.5, 0.0), (-0.1, 0.0), 0.0, True),
        ((0.2, 0.0), (0.1, 0.0), (0.0, -9.0), (0.1, -0.1), -(0.02**0.5), False),
        ((0.1, 0.1), (0.0, 0.0), (0.095, 0.095), (0.095, 0.095), -(5e-5**0.5), True),
        ((0.1, 0.1), (0.0, 0.0), (0.1, 0.085), (0.1, 0.085), -0.015, False),
    ],
)
def test_point_navigation_step(goal, position, action, moved_to, reward, terminated):
    family = tasks.make("point-navigation")
    state, timestep = _step(family, goal, position, action)
    np.testing.assert_allclose(state.position, moved_to, atol=1e-7)
    np.testing.assert_allclose(timestep.observation, moved_to, atol=1e-7)
    np.testing.assert_allclose(timestep.reward, reward, atol=1e-6)
    assert bool(timestep.terminated) == terminated
    assert not timestep.truncated
    assert state.time == 1


def test_point_navigation_time_limit_is_truncation():
    family = tasks.make("point-navigation")
    assert family.spec.episode_length == 100
    assert not _step(family, (0.4, 0.4), (0, 0), (0, 0), time=98)[1].done
    last = _step(family, (0.4, 0.4), (0, 0), (0, 0), time=99)[1]
    assert last.truncated
    assert not last.terminated
    at_goal = _step(family, (0.05, 0.05), (0, 0), (0.05, 0.05), time=99)[1]
    assert at_goal.terminated
    assert not at_goal.truncated


@settings(max_examples=30, deadline=None)
@given(goal=st.tuples(coordinate, coordinate), action=st.tuples(move, move))
def test_point_navigation_reward_is_minus_the_distance_after_a_bounded_move(goal, action):
    family = tasks.make("point-navigation")
    _, timestep = _step(family, goal, (0.0, 0.0), action)
    assert (np.abs(timestep.observation) <= np.float32(0.1)).all()
    distance = np.linalg.norm(np.asarray(timestep.observation) - np.asarray(goal, np.float32))
    np.testing.assert_allclose(timestep.reward, -distance, atol=1e-6)


def test_goals_of_point_navigation_fill_the_square(key):
    family = tasks.make("point-navigation")
    assert family.spec.plane is not None
    assert family.spec.plane is not None
    goals = family.spec.plane(jax.vmap(family.sample)(jax.random.split(key, 4000)))
    assert goals.shape == (4000, 2)
    assert goals.dtype == jnp.float32
    assert (np.abs(goals) <= 0.5).all()
    np.testing.assert_allclose(goals.mean(axis=0), 0, atol=0.02)
    np.testing.assert_allclose(goals.var(axis=0), 1 / 12, atol=0.005)


@pytest.mark.parametrize(
    ("options", "distance_left", "reward"),
    [
        ({}, 0.0, 1.0),
        ({}, 0.125, 0.875),
        ({}, 0.21, 0.0),
        ({"goal_radius": 0.3}, 0.25, 0.75),
        ({"reward": "dense"}, 0.125, -0.125),
        ({"reward": "dense"}, 0.5, -0.5),
    ],
)
def test_sparse_point_robot_step(options, distance_left, reward):
    family = tasks.make("sparse-point-robot", **options)
    _, timestep = _step(family, (0.0, 1.0), (0.1, 0.9 - distance_left), (-0.1, 0.1))
    np.testing.assert_allclose(timestep.reward, reward, atol=1e-6)
    assert not timestep.done
    assert _step(family, (0.0, 1.0), (0, 1), (0, 0), time=19)[1].truncated


def test_continuous_goals_lie_on_the_upper_half_circle(key):
    family = tasks.make("sparse-point-robot")
    goals = jax.vmap(family.sample)(jax.random.split(key, 2000)).goal
    np.testing.assert_allclose(np.linalg.norm(goals, axis=1), 1, atol=1e-6)
    assert (goals[:, 1] >= -1e-6).all()
    np.testing.assert_allclose(goals[:, 0].mean(), 0, atol=0.06)
    np.testing.assert_allclose(goals[:, 1].mean(), 2 / np.pi, atol=0.03)


def test_fixed_goals_split_into_train_and_test(key):
    def drawn(split):
        family = tasks.make("sparse-point-robot", num_goals=10, num_test_goals=3, split=split)
        goals = jax.vmap(family.sample)(jax.random.split(key, 300)).goal
        return {tuple(goal) for goal in np.round(np.asarray(goals), 5).tolist()}

    train, test, every = drawn("train"), drawn("test"), drawn("all")
    assert len(train) == 7
    assert len(test) == 3
    assert len(every) == 10
    assert train | test == every
    assert not train & test
    assert (1.0, 0.0) in every
    assert (-1.0, 0.0) in {(x, abs(y)) for x, y in every}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("point-navigation", {}),
        ("point-navigation", {"episode_length": 2}),
        ("sparse-point-robot", {}),
        ("sparse-point-robot", {"reward": "dense"}),
        ("sparse-point-robot", {"num_goals": 5}),
    ],
)
def test_oracle_return_is_what_walking_straight_earns(name, options, key):
    family = tasks.make(name, **options)

    def episode(key):
        task = family.sample(key)

        def body(carry, _):
            state, alive = carry
            action = task.goal - state.position
            state, timestep = family.advance(key, task, state, action)
            return (state, alive & ~timestep.done), jnp.where(alive, timestep.reward, 0)

        first = family.reset(key, task)[0], jnp.array(True)
        return jnp.sum(jax.lax.scan(body, first, length=family.spec.episode_length)[1])

    returns = jax.jit(jax.vmap(episode))(jax.random.split(key, 4000))
    standard_error = float(returns.std()) / 4000**0.5
    assert family.spec.oracle_return is not None
    assert family.spec.oracle_return is not None
    assert abs(float(returns.mean()) - family.spec.oracle_return) < 4 * standard_error
