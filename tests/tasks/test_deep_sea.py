"""Deep sea against its definition."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metajax import tasks
from metajax.core.options import OptionError

SIZE = 3


def _episode(family, task, choose):
    """Timesteps of an episode in which ``choose(row, right) -> action``."""
    key = jax.random.key(0)
    state, timestep = family.reset(key, task)
    walk, column = [timestep], 0
    for row in range(SIZE):
        right = task.fields["action_mapping"][row, column]
        action = choose(row, right)
        column = min(column + 1, SIZE - 1) if action == right else max(column - 1, 0)
        state, timestep = family.step(key, task, state, action)
        walk.append(timestep)
    return walk


@pytest.fixture(scope="module")
def family(jitted):
    return jitted(tasks.make("deep-sea", size=SIZE))


def test_the_meaning_of_actions_is_drawn_once_a_task(family):
    many = jax.vmap(family.sample)(jax.random.split(jax.random.key(0), 200))
    mapping = np.asarray(many.fields["action_mapping"])
    assert mapping.shape == (200, SIZE, SIZE)
    np.testing.assert_allclose(mapping.mean(axis=0), 0.5, atol=0.15)

    task = family.sample(jax.random.key(1))
    state, _ = family.reset(jax.random.key(2), task)
    for index in range(2 * SIZE):
        state, _ = family.step(jax.random.key(index), task, state, jnp.int32(0))
        np.testing.assert_array_equal(state.action_mapping, task.fields["action_mapping"])


def test_returns_are_those_of_all_sequences_of_moves(family):
    task = family.sample(jax.random.key(3))
    returns = [
        sum(
            float(timestep.reward)
            for timestep in _episode(
                family, task, lambda row, right, moves=moves: right if moves[row] else 1 - right
            )
        )
        for moves in itertools.product([False, True], repeat=SIZE)
    ]
    np.testing.assert_allclose(max(returns), family.spec.oracle_return, rtol=1e-5)
    np.testing.assert_allclose(np.mean(returns), family.spec.random_return, rtol=1e-5)
    assert family.spec.episode_length == SIZE


def test_the_last_step_terminates_and_shows_nothing(family):
    walk = _episode(family, family.sample(jax.random.key(4)), lambda row, right: right)
    assert [bool(timestep.terminated) for timestep in walk] == [False] * SIZE + [True]
    assert not any(timestep.truncated for timestep in walk)
    for row in range(SIZE):
        np.testing.assert_array_equal(walk[row].observation, np.eye(SIZE)[row] * np.eye(SIZE))
    assert not walk[-1].final_observation.any()
    assert walk[-1].observation[0, 0] == 1


def test_a_sea_of_one_row_is_refused():
    with pytest.raises(OptionError, match="size"):
        tasks.make("deep-sea", size=1)
