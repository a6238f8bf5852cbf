"""Families of agents in grids against their definitions and exact enumeration."""

import collections
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metajax import networks, tasks
from metajax.core.family import Discrete
from metajax.core.options import OptionError
from metajax.tasks.adapters.gymnax_environment import environment
from metajax.tasks.grid.base import GoalTask
from metajax.tasks.grid.key_door import KeyDoorTask

STAY, UP, RIGHT, DOWN, LEFT = range(5)


def _num_actions(family):
    space = family.spec.action_space
    assert isinstance(space, Discrete)
    return space.num_actions


def _oracle(family) -> float:
    assert family.spec.oracle_return is not None
    return family.spec.oracle_return


def _random(family) -> float:
    assert family.spec.random_return is not None
    return family.spec.random_return


def _optimal(family, many) -> np.ndarray:
    """Of every task of a batch."""
    assert family.spec.optimal_return is not None
    return np.asarray(jax.jit(jax.vmap(family.spec.optimal_return))(many))


def _sample(family, key, num_tasks=None):
    """A task, or a batch of them, on the host."""
    if num_tasks is None:
        return jax.device_get(jax.jit(family.sample)(key))
    sample = jax.jit(lambda key: jax.vmap(family.sample)(jax.random.split(key, num_tasks)))
    return jax.device_get(sample(key))


def _cell(*position) -> Any:
    return np.array(position, np.int32)


def _walk(family, task, actions, key=None):
    """Timesteps of a reset and of ``step`` after it, on the host: lists of ``[1 + T]``."""

    @jax.jit
    def walk(task, actions):
        keys = jax.random.split(jax.random.key(0) if key is None else key, len(actions) + 1)
        state, first = family.reset(keys[0], task)

        def body(state, inputs):
            state, timestep = family.step(inputs[0], task, state, inputs[1])
            return state, (state, timestep)

        _, (states, rest) = jax.lax.scan(body, state, (keys[1:], actions))
        stack = lambda one, more: jnp.concatenate([one[None], more])  # noqa: E731
        return jax.tree.map(stack, (state, first), (states, rest))

    return jax.device_get(walk(task, np.array(actions, np.int32)))


# --- Hand-walked trajectories -------------------------------------------------


def test_gridnavi_pays_on_the_goal_for_as_long_as_one_stays():
    family = tasks.make("gridnavi")
    actions = [LEFT, RIGHT, RIGHT, STAY, UP, DOWN, DOWN, LEFT, RIGHT] + [STAY] * 6
    _, seen = _walk(family, GoalTask(_cell(2, 0)), actions)
    rewards = [-0.1, -0.1, 1, 1, -0.1, 1, 1, -0.1, 1] + [1.0] * 6
    np.testing.assert_allclose(seen.reward[1:], rewards)
    columns = np.array([0, 0, 1, 2, 2, 2, 2, 2, 1, 2])
    rows = np.array([0, 0, 0, 0, 0, 1, 0, 0, 0, 0])
    expected = np.stack([columns, rows], axis=1) / 2 - 1
    np.testing.assert_allclose(seen.observation[:10], expected, atol=1e-6)
    assert not seen.terminated.any()
    assert seen.truncated.tolist() == [False] * 15 + [True]
    assert family.spec.episodes_per_trial == 4
    np.testing.assert_allclose(seen.observation[15], [-1, -1], err_msg="the next episode")
    np.testing.assert_allclose(seen.final_observation[15], [0, -1])


@pytest.mark.parametrize(("reward", "last"), [("dense", 1.0), ("sparse", 0.0)])
def test_dark_room_starts_in_the_middle_and_pays_always_or_once(reward, last):
    family = tasks.make("dark-room", reward=reward, observation="one-hot", episode_length=4)
    actions = [UP, RIGHT, STAY, DOWN, UP, RIGHT, STAY]
    state, seen = _walk(family, GoalTask(_cell(5, 5)), actions)
    assert state.position.tolist()[:4] == [[4, 4], [4, 5], [5, 5], [5, 5]]
    assert seen.reward.tolist() == [0, 0, 1, last, 0, 0, 1, last], "anew in each episode"
    assert seen.truncated.tolist() == [False] * 4 + [True] + [False] * 3
    assert seen.observation.argmax(-1)[:4].tolist() == [40, 41, 50, 50]
    assert (seen.observation.sum(-1) == 1).all()
    at_once = _walk(family, GoalTask(_cell(4, 4)), [STAY, STAY])[1]
    assert at_once.reward.tolist() == [0, 1, last]


def test_key_door_needs_the_key_and_ends_at_the_door():
    family = tasks.make("key-door", size=3, episode_length=10)
    task = KeyDoorTask(start=_cell(1, 1), key=_cell(2, 1), door=_cell(1, 2))
    actions = [UP, DOWN, RIGHT, STAY, LEFT, UP, STAY]
    state, seen = _walk(family, task, actions)
    assert seen.reward.tolist() == [0, 0, 0, 1, 0, 0, 1, 0]
    assert seen.terminated.tolist() == [False] * 6 + [True, False]
    assert not seen.truncated.any()
    assert state.has_key.tolist() == [False] * 3 + [True] * 3 + [False] * 2
    expected = [[0, 0, 0, 0], [0, 1, 0, 0.1], [0, 0, 0, 0.2], [1, 0, 1, 0.3], [1, 0, 1, 0.4]]
    np.testing.assert_allclose(seen.observation[:5], expected, atol=1e-6)
    np.testing.assert_allclose(seen.final_observation[6], [0, 1, 1, 0.6], atol=1e-6)
    np.testing.assert_allclose(seen.observation[6], [0, 0, 0, 0], err_msg="same start again")


def test_key_door_in_one_cell_takes_two_steps_and_a_late_door_is_terminal():
    family = tasks.make("key-door", size=3, episode_length=2)
    task = KeyDoorTask(start=_cell(0, 0), key=_cell(0, 0), door=_cell(0, 0))
    seen = _walk(family, task, [STAY, STAY, RIGHT, LEFT])[1]
    assert seen.reward.tolist() == [0, 1, 1, 0, 1]
    assert seen.terminated.tolist() == [False, False, True, False, False]
    assert seen.truncated.tolist() == [False, False, False, False, True]


def test_meta_maze_throws_the_agent_off_the_goal_and_goes_on():
    family = tasks.make("meta-maze", episode_length=4)
    task = _sample(family, jax.random.key(0))._replace(fields={"goal": _cell(5, 6)})
    up, right = 0, 1
    state, seen = _walk(family, task, [right, up, up, up])
    assert seen.reward[:2].tolist() == [0, 10]
    assert state.pos[0].tolist() == [5, 5]
    assert state.pos[1].tolist() != [5, 6]
    assert not seen.terminated.any()
    assert seen.truncated.tolist() == [False] * 4 + [True]
    np.testing.assert_array_equal(seen.observation[1, 9:], [0, 1, 0, 0, 10, 0.25])
    pillars_around_the_middle = [1, 0, 1, 0, 0, 0, 1, 0, 1]
    np.testing.assert_array_equal(seen.observation[0, :9], pillars_around_the_middle)


def test_four_rooms_ends_at_the_goal():
    family = tasks.make("four-rooms", fail_prob=0.0)
    task = _sample(family, jax.random.key(0))._replace(fields={"goal": _cell(3, 2)})
    up, right, left = 0, 1, 3
    _, seen = _walk(family, task, [left, up, right, right])
    assert seen.reward.tolist() == [0, 0, 0, 1, 0]
    assert seen.terminated.tolist() == [False, False, False, True, False]
    positions = np.array([[4, 1], [4, 1], [3, 1], [4, 1], [4, 2]])
    np.testing.assert_allclose(seen.observation, (positions - 6) / 5, atol=1e-6)
    np.testing.assert_allclose(seen.final_observation[3], [-0.6, -0.8], atol=1e-6)


# --- Distributions of tasks ---------------------------------------------------


def _goal(task):
    return task.goal if hasattr(task, "goal") else task.fields["goal"]


@pytest.mark.parametrize(
    ("name", "num_goals"), [("gridnavi", 21), ("dark-room", 81), ("four-rooms", 104)]
)
def test_goals_are_uniform_over_all_allowed_cells(name, num_goals, key):
    num_samples = 200 * num_goals
    family = tasks.make(name)
    drawn = _sample(family, key, num_samples)
    cells, counts = np.unique(_goal(drawn), axis=0, return_counts=True)
    assert len(cells) == num_goals
    # Of the largest of 104 deviations, with a standard deviation of 14 each.
    assert np.abs(counts - 200).max() < 70
    if name == "gridnavi":
        every = set(itertools.product(range(5), repeat=2))
        allowed = every - {(0, 0), (0, 1), (1, 0), (1, 1)}
        assert {tuple(cell) for cell in cells.tolist()} == allowed
    if name == "four-rooms":
        assert all(environment("FourRooms-misc").env_map[row, column] for row, column in cells)


def test_key_door_draws_start_key_and_door_apart(key):
    family = tasks.make("key-door", size=2)
    drawn = _sample(family, key, 4000)
    which = sum(4**i * (cell[:, 0] * 2 + cell[:, 1]) for i, cell in enumerate(drawn))
    counts = np.bincount(which, minlength=64)
    assert counts.shape == (64,)
    assert np.abs(counts - 4000 / 64).max() < 40, "5 standard deviations of 7.8"
    centred = _sample(tasks.make("key-door", start="centre"), key)
    assert centred.start.tolist() == [4, 4]


# --- Exact returns ------------------------------------------------------------


def _all_tasks(family, cells):
    """Every task with its goal (or start, key and door) among ``cells [C, 2]``, batched."""
    cells = _cell(*cells)
    one = _sample(family, jax.random.key(0))
    if isinstance(one, KeyDoorTask):
        index = np.indices((len(cells),) * 3).reshape(3, -1)
        return KeyDoorTask(*(cells[i] for i in index))
    if isinstance(one, GoalTask):
        return GoalTask(cells)
    many = jax.tree.map(lambda leaf: np.broadcast_to(leaf, (len(cells), *leaf.shape)), one)
    return many._replace(fields={"goal": cells})


def _all_returns(family, many):
    """Of every sequence of actions of one episode in every task, ``[tasks, sequences]``."""
    num_actions, length = _num_actions(family), family.spec.episode_length
    sequences = np.array(list(itertools.product(range(num_actions), repeat=length)), np.int32)

    def episode(task, actions):
        def body(carry, action):
            state, alive = carry
            state, timestep = family.advance(jax.random.key(0), task, state, action)
            return (state, alive & ~timestep.done), jnp.where(alive, timestep.reward, 0)

        first = family.reset(jax.random.key(0), task)[0], jnp.array(True)
        return jnp.sum(jax.lax.scan(body, first, actions)[1])

    in_all = jax.vmap(jax.vmap(episode, (None, 0)), (0, None))
    return np.asarray(jax.jit(in_all)(many, sequences), np.float64)


SQUARE = {size: list(itertools.product(range(size), repeat=2)) for size in (2, 3)}


@pytest.mark.parametrize(
    ("name", "options", "cells"),
    [
        ("gridnavi", {"size": 3, "episode_length": 4}, SQUARE[3][2:3] + SQUARE[3][5:]),
        ("gridnavi", {"size": 3, "episode_length": 2}, SQUARE[3][2:3] + SQUARE[3][5:]),
        ("dark-room", {"size": 3, "episode_length": 4}, SQUARE[3]),
        ("dark-room", {"size": 3, "episode_length": 4, "reward": "sparse"}, SQUARE[3]),
        ("key-door", {"size": 2, "episode_length": 4}, SQUARE[2]),
        ("key-door", {"size": 2, "episode_length": 2}, SQUARE[2]),
        ("four-rooms", {"fail_prob": 0.0, "episode_length": 5}, "map"),
    ],
)
def test_returns_against_every_sequence_of_actions(name, options, cells):
    family = tasks.make(name, **options)
    if cells == "map":
        cells = np.argwhere(environment("FourRooms-misc").env_map)
    many = _all_tasks(family, cells)
    returns = _all_returns(family, many)

    np.testing.assert_allclose(_optimal(family, many), returns.max(axis=1), atol=1e-5)
    np.testing.assert_allclose(_oracle(family), returns.max(axis=1).mean(), atol=1e-6)
    np.testing.assert_allclose(_random(family), returns.mean(), atol=1e-6)


@pytest.mark.parametrize("start", ["random", "centre"])
def test_key_door_oracle_is_the_mean_over_tasks(start, key):
    family = tasks.make("key-door", size=5, start=start, episode_length=7)
    drawn = _sample(family, key, 20_000)
    best = _optimal(family, drawn)
    assert abs(best.mean() - _oracle(family)) < 4 * best.std() / 20_000**0.5


@pytest.mark.parametrize("name", ["gridnavi", "dark-room", "key-door"])
def test_rooms_too_large_for_exact_returns_are_built_without(name):
    spec = tasks.make(name, size=64, episode_length=50).spec
    assert (spec.random_return, spec.oracle_return) == (None, None)


def test_published_settings():
    gridnavi, dark, hard, key_door = (
        tasks.make(name, **options)
        for name, options in [
            ("gridnavi", {}),
            ("dark-room", {}),
            ("dark-room", {"size": 17, "reward": "sparse"}),
            ("key-door", {}),
        ]
    )
    # The 21 goals are 96 steps away in sum, the 81 cells 360 from their middle, which
    # itself takes a step.
    np.testing.assert_allclose(_oracle(gridnavi), -1.5 + 1.1 * (16 - 96 / 21))
    np.testing.assert_allclose(_oracle(dark), 21 - 361 / 81)
    np.testing.assert_allclose((_oracle(hard), _oracle(key_door)), (1, 2))
    # On average over goals that are all cells, a step is worth one in 81.
    np.testing.assert_allclose(_random(dark), 20 / 81)


def test_four_rooms_optimum_with_failures():
    def optimum(goal, episode_length):
        family = tasks.make("four-rooms", episode_length=episode_length)
        return _optimal(family, _all_tasks(family, [goal]))[0]

    # One step asked for goes there with 2/3. The start has a wall on its left: a
    # failure that runs into it, 1/9, leaves another try.
    np.testing.assert_allclose(optimum((3, 1), 1), 2 / 3, rtol=1e-6)
    np.testing.assert_allclose(optimum((3, 1), 2), 2 / 3 + 1 / 9 * 2 / 3, rtol=1e-6)
    np.testing.assert_allclose(optimum((4, 1), 1), 2 / 3, rtol=1e-6)
    np.testing.assert_allclose(optimum((11, 11), 13), 0, atol=1e-7)


def _shortest_ways(is_open, moves):
    """Number of steps to a goal from a cell by breadth-first search, ``[R, C, R, C]``."""
    is_open = np.asarray(is_open)
    steps = np.full(is_open.shape * 2, 10**6)
    for goal in map(tuple, np.argwhere(is_open).tolist()):
        steps[(*goal, *goal)], queue = 0, collections.deque([goal])
        while queue:
            row, column = queue.popleft()
            for down, right in np.asarray(moves).tolist():
                there = (row + down, column + right)
                if is_open[there] and steps[(*goal, *there)] == 10**6:
                    steps[(*goal, *there)] = steps[(*goal, row, column)] + 1
                    queue.append(there)
    return steps


def _mean_and_error(family, policy, key, num_trials=4000):
    """Mean return of one episode and its standard error; ``policy(key, task, state)``."""

    def episode(key):
        task = family.sample(key)
        keys = jax.random.split(key, (family.spec.episode_length, 2))

        def body(carry, keys):
            state, alive = carry
            action = policy(keys[0], task, state)
            state, timestep = family.advance(keys[1], task, state, action)
            return (state, alive & ~timestep.done), jnp.where(alive, timestep.reward, 0)

        first = family.reset(key, task)[0], jnp.array(True)
        return jnp.sum(jax.lax.scan(body, first, keys)[1])

    returns = np.asarray(jax.jit(jax.vmap(episode))(jax.random.split(key, num_trials)))
    return float(returns.mean()), float(returns.std()) / num_trials**0.5


@pytest.mark.parametrize("name", ["four-rooms", "meta-maze", "key-door"])
def test_random_return_is_what_random_actions_earn(name, key):
    family = tasks.make(name, episode_length=30)
    num_actions = _num_actions(family)
    mean, error = _mean_and_error(
        family, lambda key, task, state: jax.random.randint(key, (), 0, num_actions), key
    )
    assert mean > 10 * error
    assert abs(mean - _random(family)) < 4 * error


def test_meta_maze_oracle_is_what_the_shortest_ways_earn(key):
    family = tasks.make("meta-maze", episode_length=25)
    env = environment("MetaMaze-misc")
    steps = jnp.asarray(_shortest_ways(env.env_map, env.directions))

    def policy(key, task, state):
        goal, there = task.fields["goal"], state.pos + env.directions
        # Walls have no way to anywhere, but on the goal a wall to run into pays.
        blocked = ~env.env_map[there[:, 0], there[:, 1]]
        left = steps[goal[0], goal[1], there[:, 0], there[:, 1]]
        return jnp.argmin(jnp.where(blocked & jnp.all(state.pos == goal), -1, left))

    mean, error = _mean_and_error(family, policy, key)
    assert abs(mean - _oracle(family)) < 4 * error
    best = _optimal(family, _all_tasks(family, env.coords))
    np.testing.assert_allclose(best.mean(), _oracle(family), rtol=1e-5)


# --- What a learner may know --------------------------------------------------

HIDDEN = [
    ("gridnavi", {}),
    ("dark-room", {}),
    ("key-door", {"start": "centre"}),
    ("meta-maze", {}),
    ("four-rooms", {}),
]


@pytest.mark.parametrize(("name", "options"), HIDDEN)
def test_observations_do_not_tell_the_task_before_a_reward_does(name, options, key, random_actions):
    family = tasks.make(name, **options)
    actions = random_actions(family, 8)

    def walk(key_task):
        task, keys = family.sample(key_task), jax.random.split(key, 8)
        state, first = family.reset(key, task)

        def body(state, inputs):
            return family.step(inputs[0], task, state, inputs[1])

        seen = jax.lax.scan(body, state, (keys, actions))[1]
        return first.observation, seen.observation, seen.reward

    first, rest, reward = jax.device_get(jax.jit(jax.vmap(walk))(jax.random.split(key, 30)))
    unrewarded = (reward <= 0).all(axis=1)
    assert unrewarded.sum() >= 10
    assert (first == first[0]).all()
    assert (rest[unrewarded] == rest[unrewarded][0]).all()
    assert (np.diff(rest[unrewarded][0], axis=0) != 0).any()


@pytest.mark.parametrize("name", ["gridnavi", "dark-room"])
def test_one_cell_pays_in_all_episodes_of_a_trial(name, random_actions):
    family = tasks.make(name, size=3, observation="one-hot", episode_length=10)
    task = GoalTask(_cell(1, 2))
    _, seen = _walk(family, task, random_actions(family, 100))
    at = seen.final_observation[1:].argmax(-1)
    assert (seen.reward[1:] == np.where(at == 5, 1, seen.reward[1:].min())).all()
    assert (at.reshape(10, 10) == 5).any(axis=1).sum() >= 3, "episodes that met the goal"


@pytest.mark.parametrize("name", ["meta-maze", "four-rooms"])
def test_the_goal_outlives_resets(name, key, random_actions):
    family = tasks.make(name, episode_length=5)
    task = _sample(family, key)
    state, seen = _walk(family, task, random_actions(family, 20))
    assert (seen.terminated | seen.truncated).sum() >= 4
    assert (state.goal == task.fields["goal"]).all()


def test_colours_swap_their_rewards_while_the_lifetime_goes_on(key, random_actions):
    """Rewards tell which colour pays; the clock of the swaps runs through the ends of episodes."""
    size, period = 3, 40
    family = tasks.make("two-colours", size=size, swap_period=period, episode_length=15)
    task = _sample(family, key)
    actions = random_actions(family, 120)
    state, seen = _walk(family, task, actions)
    np.testing.assert_array_equal(state.steps, np.arange(121))
    np.testing.assert_array_equal(np.flatnonzero(seen.truncated), np.arange(15, 121, 15))
    assert (np.sort(state.cells, axis=1)[:, :-1] != np.sort(state.cells, axis=1)[:, 1:]).all()
    met = {1.0: 0, -1.0: 0}
    for step, action in enumerate(actions):
        agent, *items = state.cells[step]
        place = np.array([agent // size, agent % size]) + [(0, 1), (1, 0), (0, -1), (-1, 0)][action]
        x, y = np.clip(place, 0, size - 1)
        pays = (int(task.first) + step // period) % 2
        colour = items.index(x * size + y) if x * size + y in items else None
        reward = -0.04 if colour is None else 1.0 if colour == pays else -1.0
        np.testing.assert_allclose(seen.reward[step + 1], reward, rtol=1e-6)
        met[reward] = met.get(reward, 0) + 1
    assert min(met[1.0], met[-1.0]) > 3
    shown = seen.observation.reshape(-1, 2, 3, size).argmax(-1)
    np.testing.assert_array_equal(shown[:, 0] * size + shown[:, 1], state.cells)


def test_objects_are_collected_and_come_back(key, random_actions):
    """Every step of a walk by hand; what is random is read off the states."""
    family = tasks.make("grid-worlds", worlds="small")
    world = _sample(family, key, 40)
    # A world with walls and all three objects.
    index = int(np.argmax(world.present.sum(axis=1) * (world.walls.sum(axis=1) < 15)))
    world = jax.tree.map(lambda leaf: leaf[index], world)
    assert len({int(world.start), *world.cells.tolist()}) == 4
    assert not world.walls[[world.start, *world.cells]].any()
    world = world._replace(
        terminates=np.array([0.5, 0, 1]), respawns=np.array([0, 0.5, 1], np.float32)
    )
    actions = random_actions(family, 300)
    state, seen = _walk(family, world, actions)
    steps = np.array([(0, 0), (0, 1), (1, 0), (0, -1), (-1, 0)])
    counts = collections.Counter()
    for step, action in enumerate(actions):
        x, y = np.clip(np.divmod(state.cell[step], 6) + steps[action], 0, 5)
        cell = state.cell[step] if world.walls[x * 6 + y] else x * 6 + y
        collected = state.there[step] & (world.cells == cell)
        np.testing.assert_allclose(seen.reward[step + 1], world.reward @ collected, rtol=1e-6)
        ended = seen.terminated[step + 1]
        assert not (ended and world.terminates @ collected == 0)
        assert ended or world.terminates @ collected < 1
        limit = state.time[step] + 1 == world.length
        assert seen.truncated[step + 1] == (limit and not ended)
        if ended or limit:
            continue
        assert state.cell[step + 1] == cell
        there, before = state.there[step + 1], state.there[step]
        assert not (there & collected).any()
        assert (there[before & ~collected]).all()
        missing = ~before
        assert not (there & missing)[0]
        assert (there | ~missing)[2]
        counts.update({"collected": collected.sum(), "back": (there & missing)[1]})
        index = cell + 36 * (there @ [1, 2, 4])
        assert seen.observation[step + 1].argmax() == index
    assert counts["collected"] > 5


def test_the_best_return_of_a_world_with_one_object(key):
    """It pays on arrival and, where it comes back at once, at every second step after that."""
    family = tasks.make("grid-worlds", worlds="sparse", episode_length=20)
    world = _sample(family, key)
    far = np.int32(3 * 13 + 4)
    world = world._replace(
        start=np.int32(0), cells=np.array([far, 100], np.int32), length=np.int32(20)
    )

    def optimal(terminates, respawns, present=True):
        return world._replace(
            present=np.array([present, False]),
            terminates=np.array([terminates, 0], np.float32),
            respawns=np.array([respawns, 0], np.float32),
        )

    many = [optimal(0, 0), optimal(0, 1), optimal(0.5, 1), optimal(0, 0, False)]
    found = _optimal(family, jax.tree.map(lambda *leaves: np.stack(leaves), *many))
    # Seven steps to the object, and six times two after that.
    expected = [1, 7, sum(0.5**k for k in range(7)), 0]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_tables_and_linear_functions_of_the_state_agree(key):
    """With the index as observation a policy without hidden layers looks its logits up."""
    shown, indexed = (
        tasks.make("grid-worlds", worlds="small", observation=one) for one in ("one-hot", "index")
    )
    table, linear = (networks.policy(one.spec, networks.MLP(())) for one in (indexed, shown))
    weights = jax.jit(table.init)(key)
    kernel = jax.tree.leaves(weights)[0]
    index = np.array([[3.0], [287.0]], np.float32)
    (name,) = jax.eval_shape(linear.init, key)["policy"]
    same = {"policy": {name: {"kernel": kernel, "bias": np.zeros(5, np.float32)}}}
    found = jax.jit(table.apply)(weights, index)
    expected = jax.jit(linear.apply)(same, np.eye(288, dtype=np.float32)[[3, 287]])
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    deep = networks.policy(indexed.spec, networks.MLP((4,)))
    shape = jax.eval_shape(deep.init, key)["policy"]["torso"]["Dense_0"]["kernel"].shape
    assert shape == (288, 4)


@pytest.mark.parametrize("name", ["gridnavi", "dark-room", "meta-maze"])
def test_time_is_the_same_in_all_streams(name, key):
    family = tasks.make(name, episode_length=4)
    task = _sample(family, key)

    def stream(key):
        def body(state, key):
            action = jax.random.randint(key, (), 0, _num_actions(family))
            state, timestep = family.step(key, task, state, action)
            return state, (state.time, timestep.terminated, timestep.truncated)

        state, _ = family.reset(key, task)
        return jax.lax.scan(body, state, jax.random.split(key, 6))[1]

    # out_axes=None raises where the output differs between the mapped streams.
    keys = jax.random.split(key, 3)
    time, terminated, truncated = jax.jit(jax.vmap(stream, out_axes=None))(keys)
    assert time.tolist() == [1, 2, 3, 0, 1, 2]
    assert not terminated.any()
    assert truncated.tolist() == [False, False, False, True, False, False]


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("gridnavi", {"size": 2}, ["family.size", "2", "at least 3"]),
        ("gridnavi", {"observation": "onehot"}, ["family.observation", '"coordinates", "one-hot"']),
        ("gridnavi", {"episode_length": 0}, ["family.episode_length", "at least 1"]),
        ("dark-room", {"size": 1}, ["family.size", "at least 2"]),
        ("dark-room", {"reward": "hard"}, ["family.reward", '"dense", "sparse"']),
        ("dark-room", {"num_episodes": 0}, ["family.num_episodes", "at least 1"]),
        ("key-door", {"start": "center"}, ["family.start", '"random", "centre"']),
        ("key-door", {"num_episode": 3}, ["did you mean num_episodes?"]),
        ("key-door", {"episode_length": -1}, ["family.episode_length", "-1"]),
        ("four-rooms", {"fail_prob": 0.8}, ["family.fail_prob", "at most 0.75"]),
        ("four-rooms", {"fail_prob": -0.1}, ["family.fail_prob", "at least 0"]),
        ("four-rooms", {"num_episodes": 0}, ["family.num_episodes", "at least 1"]),
        ("meta-maze", {"episode_length": 2.5}, ["family.episode_length", "an integer"]),
        ("meta-maze", {"num_episodes": 0}, ["family.num_episodes", "at least 1"]),
    ],
)
def test_wrong_options_are_named(name, options, words):
    with pytest.raises(OptionError) as error:
        tasks.make(name, **options)
    for word in words:
        assert word in str(error.value)


# --- Maps ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("gridnavi", {"size": 4, "observation": "one-hot", "episode_length": 12}),
        ("dark-room", {"size": 4, "episode_length": 12}),
        ("four-rooms", {"episode_length": 60}),
    ],
)
def test_a_goal_pays_in_the_cell_where_the_map_has_it(name, options):
    """And moves lead to a neighbour, as the map has them, and never into a wall."""
    family = tasks.make(name, **options)
    grid = family.spec.grid

    def walk(key):
        key_task, key_reset, *keys = jax.random.split(key, 2 + family.spec.episode_length)
        task = family.sample(key_task)
        state, timestep = family.reset(key_reset, task)

        def step(state, key):
            key_step, key_action = jax.random.split(key)
            action = jax.random.randint(key_action, (), 0, family.spec.action_space.num_actions)
            state, timestep = family.advance(key_step, task, state, action)
            return state, (grid.cell(timestep.final_observation), timestep.reward)

        cells, rewards = jax.lax.scan(step, state, jnp.stack(keys))[1]
        first = grid.cell(timestep.observation)
        return grid.marks(task)["goal"], jnp.concatenate([first[None], cells]), rewards

    keys = jax.random.split(jax.random.key(0), 20)
    goals, cells, rewards = jax.device_get(jax.jit(jax.vmap(walk))(keys))
    there = (cells[:, 1:] == goals[:, None]).all(axis=-1)
    ended = np.cumsum(there, axis=1) - there > 0 if name == "four-rooms" else np.zeros_like(there)
    np.testing.assert_array_equal((rewards == 1)[~ended], there[~ended])
    assert there.any()
    assert np.abs(np.diff(cells, axis=1)).sum(axis=-1)[~ended].max() == 1
    assert not {*map(tuple, cells[:, :-1][~ended].tolist())} & {*grid.walls}
