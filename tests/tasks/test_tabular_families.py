"""Random Markov decision processes and the two-step task against their definitions."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metajax import tasks
from metajax.core.family import Discrete, Tabular
from metajax.core.options import OptionError
from metajax.tasks.tabular.tabular_mdp import TabularTask, optimal_values
from metajax.tasks.tabular.two_step import TwoStepTask, stay_probabilities


def _near(values, expected, num_errors=4.0):
    """Whether the mean of independent ``values`` is within that many standard errors."""
    values = np.asarray(values, np.float64)
    return abs(values.mean() - expected) < num_errors * values.std() / len(values) ** 0.5 + 1e-6


def _tasks(family, key, num_tasks):
    return jax.jit(jax.vmap(family.sample))(jax.random.split(key, num_tasks))


def _repeat(task, num_tasks):
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (num_tasks, *leaf.shape)), task)


# --- tabular-mdp ----------------------------------------------------------------


def test_what_is_static_about_random_mdps():
    spec = tasks.make("tabular-mdp").spec
    assert spec.observation_shape == (10,)
    assert spec.action_space == Discrete(5)
    assert (spec.episode_length, spec.episodes_per_trial) == (10, 10)
    assert spec.tabular == Tabular(num_states=10, rewards="gaussian")
    assert spec.random_return == 10
    longer = tasks.make("tabular-mdp", num_episodes=3, episode_length=4, reward_mean=-2.0).spec
    assert (longer.episodes_per_trial, longer.random_return) == (3, -8)


def test_random_mdps_have_the_moments_of_their_prior(key):
    batch = _tasks(tasks.make("tabular-mdp", num_states=4, num_actions=2), key, 3000)
    assert batch.transition.shape == (3000, 4, 2, 4)
    assert batch.transition.dtype == batch.reward.dtype == jnp.float32
    transition = np.asarray(batch.transition, np.float64)
    np.testing.assert_allclose(transition.sum(axis=-1), 1, atol=1e-6)
    assert (transition >= 0).all()
    # Dirichlet(1, ..., 1) in S dimensions: mean 1/S, second moment 2 / (S (S + 1)), and
    # 1 / (S (S + 1)) for two different entries.
    assert _near(transition[:, 1, 0, 2], 1 / 4)
    assert _near(transition[:, 1, 0, 2] ** 2, 2 / 20)
    assert _near(transition[:, 1, 0, 2] * transition[:, 1, 0, 3], 1 / 20)
    assert _near(transition[:, 1, 0, 2] * transition[:, 1, 1, 2], 1 / 16)
    reward = np.asarray(batch.reward, np.float64)
    assert _near(reward[:, 3, 1], 1)
    assert _near((reward[:, 3, 1] - 1) ** 2, 1)
    assert _near((reward[:, 3, 1] - 1) * (reward[:, 2, 1] - 1), 0)


def test_steps_of_a_random_mdp_follow_its_task(key, many_trials):
    family = tasks.make("tabular-mdp", num_states=3, num_actions=2, episode_length=2)
    task = TabularTask(
        transition=jnp.array(
            [[[0.2, 0.5, 0.3], [0.0, 0.0, 1.0]], [[1.0, 0, 0], [0, 1.0, 0]], [[0, 0, 1.0]] * 2]
        ),
        reward=jnp.array([[1.0, -1.0], [0.5, 0.0], [2.0, 3.0]]),
    )
    actions = np.array([0, 1, 1, 0], np.int32)
    states, timestep = many_trials(family, key, _repeat(task, 4000), actions)

    visited = states.state
    assert (visited[:, [0, 2]] == 0).all(), "every episode starts in state 0"
    for state, probability in enumerate((0.2, 0.5, 0.3)):
        assert _near(visited[:, 1] == state, probability)
    led = timestep.final_observation.argmax(axis=-1)
    np.testing.assert_array_equal(led[:, 0], visited[:, 1])
    assert (led[:, 2] == 2).all()
    np.testing.assert_array_equal(
        led[:, 1][visited[:, 1] > 0], visited[:, 1][visited[:, 1] > 0], "both stay"
    )
    expected = np.asarray(task.reward)[visited, actions]
    residual = timestep.reward - expected
    for step in range(4):
        assert _near(residual[:, step], 0)
        assert _near(residual[:, step] ** 2, 1)
    assert _near(residual[:, 0] * (visited[:, 1] - 1.1), 0), "noise tells nothing of the next state"
    assert (timestep.truncated == np.array([False, True, False, True])).all()
    assert not timestep.terminated.any()
    np.testing.assert_array_equal(timestep.observation[:, [1, 3]], np.eye(3)[[[0, 0]] * 4000])


def test_the_last_state_can_be_reached_and_not_passed(key, many_trials):
    """However the probabilities are rounded, the next state is one of the states."""
    family = tasks.make("tabular-mdp", num_states=7, num_actions=2, num_episodes=1)
    batch = _tasks(family, key, 500)
    states, timestep = many_trials(family, key, batch, np.zeros(100, np.int32))
    assert states.state.min() == 0
    assert states.state.max() == 6
    np.testing.assert_array_equal(timestep.final_observation.sum(axis=-1), 1)


def test_actions_outside_are_the_nearest(key, jitted):
    family = jitted(tasks.make("tabular-mdp", num_states=3, num_actions=2))
    task = family.sample(key)
    state, _ = family.reset(key, task)
    for given, meant in ((-3, 0), (9, 1)):
        one, other = (
            family.advance(key, task, state, jnp.int32(action))[1] for action in (given, meant)
        )
        jax.tree.map(np.testing.assert_array_equal, one, other)


def _backward_induction(transition, reward, horizon):
    values = np.zeros(reward.shape[0])
    for _ in range(horizon):
        values = (reward + np.einsum("sat,t->sa", transition, values)).max(axis=1)
    return values


def _best_of_all_policies(transition, reward, horizon):
    """From state 0, by trying every deterministic policy that may depend on time."""
    num_states, num_actions = reward.shape
    best = -np.inf
    one_step = list(itertools.product(range(num_actions), repeat=num_states))
    for policy in itertools.product(one_step, repeat=horizon):
        at = np.eye(num_states)[0]
        total = 0.0
        for choice in policy:
            total += at @ reward[np.arange(num_states), choice]
            at = at @ transition[np.arange(num_states), choice]
        best = max(best, total)
    return best


def test_optimal_return_is_that_of_the_best_of_all_policies(key):
    family = tasks.make("tabular-mdp", num_states=2, num_actions=2, episode_length=3)
    batch = _tasks(family, key, 20)
    assert family.spec.optimal_return is not None
    optimal = jax.jit(jax.vmap(family.spec.optimal_return))(batch)
    assert optimal.dtype == jnp.float32
    expected = [
        _best_of_all_policies(transition, reward, 3)
        for transition, reward in zip(*(np.asarray(x, np.float64) for x in batch), strict=True)
    ]
    np.testing.assert_allclose(optimal, expected, rtol=1e-5, atol=1e-5)


def test_optimal_values_agree_with_backward_induction(key):
    horizons = (1, 2, 10)

    @jax.jit
    def run(key):
        task = tasks.make("tabular-mdp").sample(key)
        return task, [optimal_values(task, horizon) for horizon in horizons]

    task, values = jax.device_get(run(key))
    transition, reward = (np.asarray(leaf, np.float64) for leaf in task)
    for horizon, found in zip(horizons, values, strict=True):
        expected = _backward_induction(transition, reward, horizon)
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_greedy_policy_of_optimal_values_has_no_regret(key):
    """Walked in the environment, it earns the optimal return on average."""
    family = tasks.make("tabular-mdp", num_states=3, num_actions=2, episode_length=4)
    assert family.spec.optimal_return is not None
    optimal_return = family.spec.optimal_return

    @jax.jit
    def plan(key):
        task = family.sample(key)
        values = jnp.stack([optimal_values(task, horizon) for horizon in (3, 2, 1, 0)])
        worth = task.reward + jnp.einsum("sat,ht->hsa", task.transition, values)
        return task, jnp.argmax(worth, axis=-1), optimal_return(task)

    task, policy, optimum = plan(key)

    def episode(key):
        def body(state, key):
            return family.step(key, task, state, policy[state.time, state.state])

        start = family.reset(key, task)[0]
        return jnp.sum(jax.lax.scan(body, start, jax.random.split(key, 4))[1].reward)

    returns = jax.jit(jax.vmap(episode))(jax.random.split(key, 4000))
    assert _near(returns, float(optimum))


def test_random_return_of_random_mdps(key, many_trials):
    family = tasks.make("tabular-mdp", num_states=3, num_actions=2, episode_length=3)
    batch = _tasks(family, key, 4000)
    # In unknown tasks every fixed sequence of actions is as good as random ones.
    reward = many_trials(family, key, batch, np.array([0, 1, 0], np.int32))[1].reward
    assert _near(reward.sum(axis=1), family.spec.random_return)


@pytest.mark.parametrize("name", ["tabular-mdp", "two-step"])
def test_the_end_is_the_same_in_all_tasks(name, key):
    """So that what hangs on it stays unbatched under vmap: a branch stays a branch."""
    family = tasks.make(name)
    batch = jax.eval_shape(lambda: jax.vmap(family.sample)(jax.random.split(key, 3)))

    def two_steps(key, task):
        state, _ = family.reset(key, task)
        state, _ = family.step(key, task, state, jnp.int32(0))
        state, timestep = family.step(key, task, state, jnp.int32(0))
        return jax.lax.cond(timestep.done & (state.time == 0), jnp.sin, jnp.cos, timestep.reward)

    program = jax.make_jaxpr(jax.vmap(two_steps))(jax.random.split(key, 3), batch)
    primitives = [equation.primitive.name for equation in program.eqns]
    # Where the condition is batched, both branches run and sin is not inside one.
    assert "sin" not in primitives
    assert "cond" in primitives


# --- two-step -------------------------------------------------------------------


def _two_step(key, many_trials, num_trials=300, num_episodes=40, **options):
    family = tasks.make("two-step", num_episodes=num_episodes, **options)
    actions = np.random.default_rng(0).integers(2, size=2 * num_episodes, dtype=np.int32)
    batch = _tasks(family, key, num_trials)
    return family, batch, actions, *many_trials(family, key, batch, actions)


def test_episodes_of_the_two_step_task(key, many_trials):
    _, batch, _, states, timestep = _two_step(key, many_trials)
    np.testing.assert_array_equal(states.rich[:, 0], batch.rich)
    assert _near(batch.rich, 0.5)
    assert (states.state[:, ::2] == 0).all()
    assert np.isin(states.state[:, 1::2], (1, 2)).all()
    np.testing.assert_array_equal(timestep.observation[:, ::2], np.eye(3)[states.state[:, 1::2]])
    np.testing.assert_array_equal(timestep.observation[:, 1::2, 0], 1)
    assert (timestep.reward[:, ::2] == 0).all()
    assert set(np.unique(timestep.reward)) == {0, 1}
    assert timestep.terminated[:, 1::2].all()
    assert not timestep.terminated[:, ::2].any()
    assert not timestep.truncated.any()


def test_transitions_rewards_and_switches_have_their_probabilities(key, many_trials):
    _, _, actions, states, timestep = _two_step(key, many_trials)
    arrived, rich = states.state[:, 1::2], states.rich[:, 1::2]
    common = arrived == actions[::2] + 1
    assert _near(common[:, actions[::2] == 0].ravel(), 0.8)
    assert _near(common[:, actions[::2] == 1].ravel(), 0.8)
    in_rich = (arrived == 2) == rich
    reward = timestep.reward[:, 1::2]
    assert _near(reward[in_rich], 0.9)
    assert _near(reward[~in_rich], 0.1)
    np.testing.assert_array_equal(states.rich[:, ::2], rich)  # never within an episode
    switched = rich[:, 1:] != rich[:, :-1]
    assert _near(switched.ravel(), 0.025)
    # Switches persist: after n episodes the roles are as at first with 1/2 + 1/2 (1 - 2 p)^n.
    assert _near(rich[:, 20] == rich[:, 0], 0.5 + 0.5 * 0.95**20)


def test_the_two_step_task_without_switches_is_fixed(key, many_trials):
    options = {"switch_probability": 0, "common_probability": 0.75}
    family, batch, actions, states, _ = _two_step(key, many_trials, **options)
    assert (states.rich == np.asarray(batch.rich)[:, None]).all()
    assert _near((states.state[:, 1::2] == actions[::2] + 1).ravel(), 0.75)
    assert family.spec.oracle_return is not None
    np.testing.assert_allclose(family.spec.oracle_return, 0.75 * 0.9 + 0.25 * 0.1)


def test_two_step_returns_of_the_oracle_and_of_chance(key):
    family = tasks.make("two-step")

    def trial(key, oracle):
        key, key_task, key_reset = jax.random.split(key, 3)
        task = family.sample(key_task)

        def body(state, key):
            key_action, key_step = jax.random.split(key)
            at_random = jax.random.randint(key_action, (), 0, 2)
            action = jnp.where(oracle, state.rich.astype(jnp.int32), at_random)
            return family.step(key_step, task, state, action)

        start = family.reset(key_reset, task)[0]
        return jnp.sum(jax.lax.scan(body, start, jax.random.split(key, 40))[1].reward) / 20

    trials = jax.jit(jax.vmap(trial, (0, None)))
    for oracle, expected in ((True, family.spec.oracle_return), (False, family.spec.random_return)):
        assert _near(trials(jax.random.split(key, 2000), oracle), expected)
    assert family.spec.optimal_return is not None
    optimal = jax.vmap(family.spec.optimal_return)(TwoStepTask(jnp.array([True, False])))
    np.testing.assert_allclose(optimal, 0.74, rtol=1e-6)


def test_stay_probabilities_by_hand():
    first = np.array([0, 0, 1, 1, 1, 0])
    arrived = np.array([1, 2, 1, 2, 2, 1])  # common, rare, rare, common, common, last
    reward = np.array([1, 0, 1, 0, 0, 1.0])
    stay = stay_probabilities(*_steps(first, arrived, reward))
    # Stays after episodes 0, 2 and 3; the last has no episode after it.
    np.testing.assert_array_equal(stay, [[0, 1 / 2], [1, 1]])


def test_stay_probabilities_pool_streams_and_show_what_is_missing():
    first = np.array([[0, 1], [0, 0], [0, 0]])
    arrived = np.array([[1, 2], [1, 1], [1, 1]])
    reward = np.ones((3, 2))
    stay = stay_probabilities(*_steps(first, arrived, reward))
    np.testing.assert_array_equal(stay, [[np.nan, np.nan], [np.nan, 3 / 4]])


def _steps(first, arrived, reward):
    """Arrays of steps ``[T, ...]`` from arrays of episodes."""
    zeros = np.zeros_like(first)

    def interleave(a, b):
        return np.stack([a, b], 1).reshape(-1, *a.shape[1:])

    # The action at the second stage means nothing: the opposite must not matter.
    return (
        jnp.array(np.eye(3)[interleave(zeros, arrived)]),
        jnp.array(interleave(first, 1 - first)),
        jnp.array(interleave(zeros, reward)),
    )


@pytest.mark.parametrize(
    ("planner", "expected"), [(True, [[1, 0], [0, 1]]), (False, [[0, 0], [1, 1]])]
)
def test_stay_probabilities_tell_planning_from_habit(planner, expected, key):
    """Stay or shift by what planning, or habit, says after one episode."""
    family = tasks.make("two-step")

    def trial(key):
        task = family.sample(key)

        def episode(carry, key):
            state, action = carry
            key_first, key_second = jax.random.split(key)
            first = state
            state, seen = family.step(key_first, task, first, action)
            state, paid = family.step(key_second, task, state, action)
            common = seen.observation[1 + action] == 1
            rewarded = paid.reward > 0
            stay = (rewarded == common) if planner else rewarded
            following = jnp.where(stay, action, 1 - action)
            observation = jnp.stack([jnp.eye(3)[0], seen.observation])
            reward = jnp.stack([seen.reward, paid.reward])
            return (state, following), (observation, jnp.stack([action, action]), reward)

        start = family.reset(key, task)[0], jnp.int32(0)
        arrays = jax.lax.scan(episode, start, jax.random.split(key, 100))[1]
        return jax.tree.map(lambda leaf: leaf.reshape(200, *leaf.shape[2:]), arrays)

    arrays = jax.jit(jax.vmap(trial, out_axes=1))(jax.random.split(key, 10))
    stay = stay_probabilities(*arrays)
    np.testing.assert_array_equal(stay, expected)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("tabular-mdp", {"num_states": 0}, ["family.num_states", "0", "at least 1"]),
        ("tabular-mdp", {"num_actions": -2}, ["family.num_actions", "-2"]),
        ("tabular-mdp", {"num_episodes": 1.5}, ["family.num_episodes", "an integer"]),
        ("tabular-mdp", {"episode_length": 0}, ["family.episode_length", "at least 1"]),
        ("tabular-mdp", {"horizon": 10}, ["family.horizon", "unknown option", "episode_length"]),
        ("tabular-mdp", {"reward_mean": float("-inf")}, ["family.reward_mean", "above -inf"]),
        ("tabular-mdp", {"reward_mean": "one"}, ["family.reward_mean", "a number"]),
        ("tabular-mpd", {}, ["did you mean tabular-mdp?"]),
        ("two-step", {"num_episodes": 0}, ["family.num_episodes", "at least 1"]),
        ("two-step", {"common_probability": 1.2}, ["family.common_probability", "at most 1"]),
        ("two-step", {"common_probability": 0.2}, ["family.common_probability", "at least 0.5"]),
        ("two-step", {"reward_probability": -0.1}, ["family.reward_probability", "at least 0.5"]),
        ("two-step", {"switch_probability": 2}, ["family.switch_probability", "at most 1"]),
        ("two-step", {"switch_probabilty": 0.1}, ["did you mean switch_probability?"]),
        ("two-step", {"episode_length": 2}, ["family.episode_length", "unknown option"]),
    ],
)
def test_wrong_options_are_named(name, options, words):
    with pytest.raises(OptionError) as error:
        tasks.make(name, **options)
    for word in words:
        assert word in str(error.value)
