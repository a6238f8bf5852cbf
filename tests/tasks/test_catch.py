"""Catch against its definition."""

import collections
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metajax import tasks
from metajax.core.options import OptionError
from metajax.tasks.control.catch import CatchTask

ROWS, COLUMNS = 4, 3
LENGTH = ROWS - 1
# Left is action 2, nothing action 0, right action 1.
MEANING = np.array([1, 2, 0], np.int32)
# To the left as it leaves the first row, to the right as it arrives.
WIND = np.array([-1, 0, 1], np.int32)


@pytest.fixture(scope="module")
def family(jitted):
    return jitted(tasks.make("catch", rows=ROWS, columns=COLUMNS, wind=0.5))


@pytest.fixture(scope="module")
def task():
    return CatchTask(jnp.asarray(MEANING), jnp.asarray(WIND))


def _starts(family, task):
    """A state and a first timestep for every column that the ball can begin in."""
    found = {}
    for seed in range(50):
        state, timestep = family.reset(jax.random.key(seed), task)
        found.setdefault(int(np.argmax(timestep.observation[0])), (state, timestep))
    assert sorted(found) == list(range(COLUMNS))
    return found


def _episode(family, task, state, actions):
    """Timesteps after each of the actions."""
    walk = []
    for index, action in enumerate(actions):
        state, timestep = family.step(jax.random.key(index), task, state, jnp.int32(action))
        walk.append(timestep)
    return walk


def _total(walk):
    return sum(float(timestep.reward) for timestep in walk)


def _board(ball, paddle):
    board = np.zeros((ROWS, COLUMNS))
    board[ball] = board[ROWS - 1, paddle] = 1
    return board


def test_every_permutation_is_drawn_equally_often(family):
    many = jax.vmap(family.sample)(jax.random.split(jax.random.key(0), 1800))
    counts = collections.Counter(map(tuple, np.asarray(many.meaning).tolist()))
    assert set(counts) == set(itertools.permutations(range(3)))
    # 300 are expected, with a standard deviation of 16.
    assert all(abs(count - 300) < 64 for count in counts.values())


def test_winds_are_as_frequent_as_asked_for_and_without_preference(family):
    many = jax.vmap(family.sample)(jax.random.split(jax.random.key(1), 1800))
    wind = np.asarray(many.wind)
    assert wind.shape == (1800, LENGTH)
    for side, expected in ((-1, 0.25), (0, 0.5), (1, 0.25)):
        np.testing.assert_allclose((wind == side).mean(axis=0), expected, atol=0.05)

    calm = tasks.make("catch", wind=0.0)
    assert not jax.vmap(calm.sample)(jax.random.split(jax.random.key(2), 20)).wind.any()


def test_the_ball_begins_in_every_column_equally_often(family, task):
    reset = jax.vmap(lambda key: family.reset(key, task)[1].observation)
    board = reset(jax.random.split(jax.random.key(3), 1800))
    np.testing.assert_allclose(board[:, 0].mean(axis=0), 1 / COLUMNS, atol=0.05)
    np.testing.assert_array_equal(board[:, -1], np.tile([0, 1, 0], (1800, 1)))


def test_boards_of_an_episode_by_hand(family, task):
    state, first = _starts(family, task)[0]
    np.testing.assert_array_equal(first.observation, _board((0, 0), 1))

    # Out on the left and in on the right; right, right against the wall, left.
    walk = _episode(family, task, state, [1, 1, 2])
    boards = [_board((1, 2), 2), _board((2, 2), 2), _board((3, 0), 1)]
    for timestep, board in zip(walk, boards, strict=True):
        np.testing.assert_array_equal(timestep.final_observation, board)
    assert [float(timestep.reward) for timestep in walk] == [0, 0, -1]

    # Left twice instead, or left and nothing: the ball is caught.
    assert _total(_episode(family, task, state, [1, 2, 2])) == 1
    assert _total(_episode(family, task, state, [0, 2, 0])) == 1


def test_an_episode_terminates_with_the_arrival_and_is_never_truncated(family, task):
    for state, _ in _starts(family, task).values():
        walk = _episode(family, task, state, [0] * (2 * LENGTH))
        terminated = [bool(timestep.terminated) for timestep in walk]
        assert terminated == ([False] * (LENGTH - 1) + [True]) * 2
        assert not any(timestep.truncated for timestep in walk)
        # What follows is a new board, and not the one that the episode ended with.
        assert walk[LENGTH - 1].final_observation[0].sum() == 0
        assert walk[LENGTH - 1].observation[0].sum() == 1
    assert family.spec.episode_length == LENGTH


def test_a_task_stays_what_it_is_over_the_episodes_of_a_trial(family, task):
    act = {meaning: action for action, meaning in enumerate(MEANING)}
    state, timestep = family.reset(jax.random.key(4), task)
    for episode in range(5):
        # To who knows the wind the first board says where the ball arrives.
        target = (int(np.argmax(timestep.observation[0])) + WIND.sum()) % COLUMNS
        paddle, rewards = 1, []
        for row in range(LENGTH):
            move = int(np.sign(target - paddle))
            paddle += move
            key = jax.random.fold_in(jax.random.key(episode), row)
            state, timestep = family.step(key, task, state, jnp.int32(act[move + 1]))
            rewards.append(float(timestep.reward))
        assert rewards == [0] * (LENGTH - 1) + [family.spec.oracle_return]


def test_the_random_return_is_that_of_all_sequences_of_actions(family):
    sequences = jnp.asarray(list(itertools.product(range(3), repeat=LENGTH)), jnp.int32)

    @jax.jit
    def mean_return(task, state):
        def total(actions):
            def step(state, action):
                state, timestep = family.advance(jax.random.key(0), task, state, action)
                return state, timestep.reward

            return jnp.sum(jax.lax.scan(step, state, actions)[1])

        return jnp.mean(jax.vmap(total)(sequences))

    for seed in range(5):
        task = family.sample(jax.random.key(seed))
        means = [mean_return(task, state) for state, _ in _starts(family, task).values()]
        np.testing.assert_allclose(np.mean(means), family.spec.random_return, rtol=1e-5)


def test_boards_whose_ends_cannot_be_reached_are_refused():
    with pytest.raises(OptionError, match="columns"):
        tasks.make("catch", rows=3, columns=6)
    with pytest.raises(OptionError, match="wind"):
        tasks.make("catch", wind=1.5)
