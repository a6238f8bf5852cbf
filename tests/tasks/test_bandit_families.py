"""Bandits against their definitions and the moments that follow from them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metajax import tasks
from metajax.core.family import Discrete, Tabular
from metajax.core.options import OptionError
from metajax.tasks.bandits.base import BanditTask

NUM_TASKS = 4000
ALL = {
    "bernoulli-bandit": {"num_arms": 3},
    "gaussian-bandit": {"num_arms": 3, "prior_mean": 1.0, "prior_std": 2.0, "reward_std": 0.5},
    "dependent-bandit": {},
    "eleven-armed-bandit": {},
}


def _tasks(family, key, num_tasks=NUM_TASKS):
    return jax.jit(jax.vmap(family.sample))(jax.random.split(key, num_tasks))


def _near(values, expected, num_errors=4.0):
    """Whether the mean of independent ``values`` is within that many standard errors."""
    values = np.asarray(values, np.float64)
    return abs(values.mean() - expected) < num_errors * values.std() / len(values) ** 0.5 + 1e-6


@pytest.mark.parametrize("name", ALL)
def test_what_is_static(name):
    family = tasks.make(name, num_pulls=7, **ALL[name])
    assert family.spec.observation_shape == (1,)
    assert family.spec.episode_length == 1
    assert family.spec.episodes_per_trial == 7
    assert isinstance(family.spec.action_space, Discrete)
    tabular = {
        "bernoulli-bandit": Tabular(1, "bernoulli"),
        "gaussian-bandit": Tabular(1, "gaussian"),
        "dependent-bandit": Tabular(1, "bernoulli"),
        "eleven-armed-bandit": None,
    }
    assert family.spec.tabular == tabular[name]


def test_settings_of_the_papers():
    assert tasks.make("dependent-bandit").spec.episodes_per_trial == 100
    assert tasks.make("eleven-armed-bandit").spec.episodes_per_trial == 5
    assert tasks.make("bernoulli-bandit").spec.oracle_return == 5 / 6


@pytest.mark.parametrize("name", ALL)
def test_a_pull_is_a_terminated_episode(name, key, many_trials):
    family = tasks.make(name, **ALL[name])
    batch = _tasks(family, key, 5)
    states, timestep = many_trials(family, key, batch, np.array([0, 1, 1, 0], np.int32))
    assert timestep.terminated.all()
    assert not timestep.truncated.any()
    assert (timestep.observation == 1).all()
    assert (timestep.final_observation == 1).all()
    assert (states.time == 0).all()


@pytest.mark.parametrize("name", ALL)
def test_the_end_is_the_same_in_all_tasks(name, key):
    """So that what hangs on it stays unbatched under vmap: a branch stays a branch."""
    family = tasks.make(name, **ALL[name])
    batch = jax.eval_shape(lambda: jax.vmap(family.sample)(jax.random.split(key, 3)))

    def pull(key, task):
        state, _ = family.reset(key, task)
        state, timestep = family.step(key, task, state, jnp.int32(0))
        return jax.lax.cond(timestep.done & (state.time == 0), jnp.sin, jnp.cos, timestep.reward)

    program = jax.make_jaxpr(jax.vmap(pull))(jax.random.split(key, 3), batch)
    # sin appears inside a branch; beside a select it would be among the equations.
    primitives = [equation.primitive.name for equation in program.eqns]
    assert "sin" not in primitives
    assert "cond" in primitives


@pytest.mark.parametrize("name", ALL)
def test_oracle_and_random_return_are_means_over_tasks(name, key):
    family = tasks.make(name, **ALL[name])
    batch = _tasks(family, key)
    assert _near(batch.means.mean(axis=1), family.spec.random_return)
    assert family.spec.optimal_return is not None
    best = jax.jit(jax.vmap(family.spec.optimal_return))(batch)
    np.testing.assert_array_equal(best, np.max(batch.means, axis=1))
    assert _near(best, family.spec.oracle_return)
    assert batch.means.dtype == best.dtype == jnp.float32


@pytest.mark.parametrize("name", ["bernoulli-bandit", "gaussian-bandit"])
def test_rewards_have_the_mean_and_spread_of_the_pulled_arm(name, key, many_trials):
    family = tasks.make(name, **ALL[name])
    means = np.array([0.2, 0.9, 0.5], np.float32)
    many: Any = np.broadcast_to(means, (NUM_TASKS, 3))
    batch = BanditTask(many)
    reward = many_trials(family, key, batch, np.arange(3, dtype=np.int32))[1].reward
    assert reward.dtype == np.float32
    is_bernoulli = name == "bernoulli-bandit"
    if is_bernoulli:
        assert set(np.unique(reward)) == {0, 1}
    for arm, mean in enumerate(means.tolist()):
        variance = mean * (1 - mean) if is_bernoulli else 0.25
        assert _near(reward[:, arm], mean)
        assert _near((reward[:, arm] - mean) ** 2, variance)
    correlation = np.corrcoef(reward.T)
    assert np.abs(correlation - np.eye(3)).max() < 4 / NUM_TASKS**0.5


@pytest.mark.parametrize("name", ALL)
def test_actions_outside_are_the_nearest_arm(name, key, jitted):
    family = jitted(tasks.make(name, **ALL[name]))
    task = family.sample(key)
    state, _ = family.reset(key, task)
    assert isinstance(family.spec.action_space, Discrete)
    last = family.spec.action_space.num_actions - 1
    for given, arm in ((-1, 0), (99, last)):
        for index in range(3):
            pulls = [
                family.advance(jax.random.key(index), task, state, jnp.int32(one))[1].reward
                for one in (given, arm)
            ]
            assert pulls[0] == pulls[1]


def test_means_of_bernoulli_arms_are_uniform_and_independent(key):
    means = np.asarray(_tasks(tasks.make("bernoulli-bandit", num_arms=2), key).means)
    assert ((means >= 0) & (means < 1)).all()
    assert _near(means[:, 0], 1 / 2)
    assert _near((means[:, 0] - 1 / 2) ** 2, 1 / 12)
    assert _near((means[:, 0] - 1 / 2) * (means[:, 1] - 1 / 2), 0)


@pytest.mark.parametrize(
    ("num_arms", "largest"),
    # Known moments of order statistics of a standard Gaussian.
    [(1, 0.0), (2, np.pi**-0.5), (3, 1.5 * np.pi**-0.5), (5, 1.1629644736), (10, 1.5387527308)],
)
def test_oracle_return_of_gaussian_arms(num_arms, largest):
    family = tasks.make("gaussian-bandit", num_arms=num_arms, prior_mean=2.0, prior_std=3.0)
    assert family.spec.oracle_return is not None
    np.testing.assert_allclose(family.spec.oracle_return, 2 + 3 * largest, atol=1e-9)


@pytest.mark.parametrize(
    ("dependence", "values", "oracle"),
    [("easy", {0.1, 0.9}, 0.9), ("medium", {0.25, 0.75}, 0.75), ("hard", {0.4, 0.6}, 0.6)],
)
def test_two_dependent_tasks_with_equal_chances(dependence, values, oracle, key):
    family = tasks.make("dependent-bandit", dependence=dependence)
    means = np.asarray(_tasks(family, key).means, np.float64)
    assert set(np.unique(means.round(6))) == values
    np.testing.assert_allclose(means.sum(axis=1), 1, atol=1e-6)
    assert _near(means[:, 0] > 0.5, 0.5)
    assert family.spec.oracle_return == oracle


@pytest.mark.parametrize(
    ("dependence", "oracle", "covariance"), [("uniform", 3 / 4, -1 / 12), ("independent", 2 / 3, 0)]
)
def test_continuous_dependence(dependence, oracle, covariance, key):
    family = tasks.make("dependent-bandit", dependence=dependence)
    means = np.asarray(_tasks(family, key).means, np.float64)
    assert family.spec.oracle_return == oracle
    assert _near(means.max(axis=1), oracle)
    assert _near((means[:, 0] - 0.5) ** 2, 1 / 12)
    assert _near((means[:, 0] - 0.5) * (means[:, 1] - 0.5), covariance)


def test_eleven_arms_pay_what_the_target_says(key, many_trials):
    family = tasks.make("eleven-armed-bandit")
    batch = _tasks(family, key, 2000)
    reward = many_trials(family, key, batch, np.arange(11, dtype=np.int32))[1].reward
    target = reward[:, :10].argmax(axis=1)
    np.testing.assert_array_equal(reward, batch.means)
    expected = np.ones((2000, 11), np.float32)
    expected[np.arange(2000), target] = 5
    expected[:, 10] = 0.1 * (target + 1)
    np.testing.assert_allclose(reward, expected, rtol=1e-6)
    counts = np.bincount(target, minlength=10)
    # 27.9 is the 0.999 quantile of a chi-squared variable with 9 degrees of freedom.
    assert ((counts - 200) ** 2 / 200).sum() < 27.9


def test_asking_the_eleventh_arm_earns_20_55(key):
    """The policy that pulls it first and the target afterwards, as documented."""
    family = tasks.make("eleven-armed-bandit")

    def earned(task, key):
        state, _ = family.reset(key, task)
        state, timestep = family.step(key, task, state, jnp.int32(10))
        total = timestep.reward
        target = jnp.round(10 * timestep.reward).astype(jnp.int32) - 1
        for _ in range(4):
            state, timestep = family.step(key, task, state, target)
            total += timestep.reward
        return total

    means: Any = np.ones((10, 11), np.float32)
    means[np.arange(10), np.arange(10)] = 5
    means[:, 10] = 0.1 * np.arange(1, 11)
    every = BanditTask(means)
    sampled = {tuple(np.round(row, 5)) for row in np.asarray(_tasks(family, key, 200).means)}
    assert sampled == {tuple(np.round(row, 5)) for row in means}
    earnings = jax.jit(jax.vmap(earned, (0, None)))(every, key)
    np.testing.assert_allclose(earnings.mean(), 20.55, rtol=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_the_best_arm_of_a_task_has_no_regret(name, key, many_trials):
    """Over a trial, with the task fixed, whoever pulls it earns the optimum on average."""
    family = tasks.make(name, **ALL[name])
    task = jax.device_get(jax.jit(family.sample)(key))
    batch = jax.tree.map(lambda leaf: np.broadcast_to(leaf, (2000, *leaf.shape)), task)
    best = np.full(3, np.argmax(task.means), np.int32)
    reward = many_trials(family, key, batch, best)[1].reward
    assert family.spec.optimal_return is not None
    for pull in range(3):
        assert _near(reward[:, pull], float(family.spec.optimal_return(task)))


def test_pulls_of_a_trial_are_independent_given_the_task(key, many_trials):
    """Where a task changed within a trial, two pulls of an arm would not agree as here."""
    family = tasks.make("bernoulli-bandit", num_arms=2)
    reward = many_trials(family, key, _tasks(family, key), np.zeros(2, np.int32))[1].reward
    # E[p^2] = 1/3 for uniform p; 1/4 if p were drawn again.
    assert _near(reward[:, 0] * reward[:, 1], 1 / 3)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("bernoulli-bandit", {"num_arms": 0}, ["family.num_arms", "0", "at least 1"]),
        ("bernoulli-bandit", {"num_arms": 2.5}, ["family.num_arms", "an integer"]),
        ("bernoulli-bandit", {"num_pulls": -1}, ["family.num_pulls", "-1", "at least 1"]),
        ("bernoulli-bandit", {"num_arm": 3}, ["family.num_arm", "did you mean num_arms?"]),
        ("bernoulli-bandit", {"episode_length": 3}, ["family.episode_length", "unknown option"]),
        ("gaussian-bandit", {"prior_std": 0.0}, ["family.prior_std", "above 0"]),
        ("gaussian-bandit", {"reward_std": -1.0}, ["family.reward_std", "above 0"]),
        ("gaussian-bandit", {"prior_mean": float("inf")}, ["family.prior_mean", "below inf"]),
        ("gaussian-bandit", {"reward_std": "wide"}, ["family.reward_std", "a number"]),
        ("dependent-bandit", {"dependence": "Easy"}, ["family.dependence", '"easy", "medium"']),
        ("dependent-bandit", {"num_pulls": 0}, ["family.num_pulls", "at least 1"]),
        ("dependent-bandit", {"num_arms": 3}, ["family.num_arms", "allowed: dependence"]),
        ("eleven-armed-bandit", {"num_pulls": 0}, ["family.num_pulls", "at least 1"]),
        ("eleven-armed-bandit", {"num_pulls": True}, ["family.num_pulls", "an integer"]),
        ("elven-armed-bandit", {}, ["did you mean eleven-armed-bandit?"]),
    ],
)
def test_wrong_options_are_named(name, options, words):
    with pytest.raises(OptionError) as error:
        tasks.make(name, **options)
    for word in words:
        assert word in str(error.value)
