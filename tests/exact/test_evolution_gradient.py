"""Evolution strategies as meta-gradients, on a problem whose every gradient is known."""

import functools

import jax
import jax.numpy as jnp
import mdp
import numpy as np
import optax
import pytest

import metajax
from metajax import losses, outer
from metajax.core.family import DataFamily, DataSpec, Examples
from metajax.core.layout import Layout
from metajax.core.types import Learner
from metajax.data.few_shot import few_shot

LIFE, THETA = 12, 0.5
MATRIX = 0.5 * (np.eye(3) + np.eye(3, k=1))
PUSH, BIRTH = np.array([1.0, -1.0, -1.0]), np.array([0.2, -0.4, 0.3])


def _problem():
    """Influence balancing (Tallec and Ollivier 2017, section 4.1) with three states.

    ``state <- MATRIX state + PUSH theta`` from ``BIRTH theta``, and the loss is
    ``(state_0 - 1)^2``. At first theta raises state 0, in the long run it lowers it.
    """

    def draw(key, task, number):
        return Examples(jnp.ones((number, 1)), jnp.ones((number, 1)))

    learner = Learner(
        init=lambda key: jnp.array(THETA),
        begin=lambda key, theta: BIRTH * theta,
        adapt=lambda key, theta, phi, data: MATRIX @ phi + PUSH * theta,
        predict=lambda theta, phi, data: phi[0] * data.inputs,
        singly=False,
    )
    family = DataFamily(DataSpec("influence", (1,), 1), lambda key: (), draw)
    return few_shot(family, learner, num_adaptations=LIFE, num_streams=1, num_query=1)


def _gradient(window):
    """By hand: the mean over a lifetime, through ``window + 1`` losses at a time."""
    terms, state, influence = [], BIRTH * THETA, np.zeros(3)
    for step in range(LIFE):
        if step % (window + 1) == 0:
            influence = BIRTH if window + 1 == LIFE else np.zeros(3)
        terms.append(2 * (state[0] - 1) * influence[0])
        state, influence = MATRIX @ state + PUSH * THETA, MATRIX @ influence + PUSH
    return np.mean(terms)


EXACT, BIASED = _gradient(LIFE - 1), _gradient(1)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _estimates(make, window, num_tasks, keys):
    """Means of meta-gradients over lifetimes of all ages, one for each key."""
    layout = Layout.build(num_tasks, num_devices=1, whole=True)
    estimator = make(_problem(), layout, losses.squared_error, window=window)
    theta, steps = jnp.array(THETA), LIFE // (window + 1)

    def step(carry, key):
        gradient, carry, _ = estimator.estimate(key, theta, carry)
        return carry, gradient

    def run(key):
        key_init, key_steps = jax.random.split(key)
        # After the first lifetimes, which are shorter than others.
        keys = jax.random.split(key_steps, 2 * steps)
        _, gradients = jax.lax.scan(step, estimator.init(key_init, theta), keys)
        return jnp.mean(gradients[steps:])

    return jax.vmap(run)(keys)


def test_the_window_changes_the_sign():
    truncated = functools.partial(outer.truncated, every_step=True)
    (found,) = _estimates(truncated, 1, LIFE // 2, jax.random.split(jax.random.key(0), 1))
    np.testing.assert_allclose(found, BIASED, rtol=1e-12)
    assert BIASED < -1
    assert EXACT > 1


@pytest.mark.parametrize(
    ("window", "persistent", "expected"),
    [(1, False, BIASED), (1, True, EXACT), (LIFE - 1, False, EXACT)],
    ids=["es in windows", "pes in windows", "es of whole lifetimes"],
)
def test_the_mean_over_many_perturbations(window, persistent, expected):
    """A linear system and a squared error, so that smoothing changes no gradient."""
    estimator = functools.partial(outer.evolution_gradient, std=0.3, persistent=persistent)
    keys = jax.random.split(jax.random.key(0), 64)
    found = np.asarray(_estimates(estimator, window, 96, keys))
    error = found.std(ddof=1) / np.sqrt(len(found))
    assert error < 0.05 * abs(expected)
    assert abs(found.mean() - expected) < 4 * error


def test_one_window_over_the_whole_lifetime_is_plain_es():
    keys = jax.random.split(jax.random.key(1), 3)
    one, other = (
        _estimates(functools.partial(outer.evolution_gradient, persistent=it), LIFE - 1, 4, keys)
        for it in (False, True)
    )
    np.testing.assert_allclose(one, other, rtol=1e-12)


@pytest.mark.parametrize("estimator", [pytest.param("es", marks=pytest.mark.further), "pes"])
def test_carried_particles(estimator):
    """Of the learned optimiser: particles part and meet, drift adds up, and new ones begin."""
    family = metajax.tasks.make("quadratics", size=3)
    sizes = {"num_streams": 3, "inner_steps": 4, "window": 1, "rule_sizes": (2,), "num_tasks": 2}
    algorithm = metajax.make(
        "mlp-optimizer", family, estimator=estimator, learning_rate=0.0, devices=1, **sizes
    )

    @jax.jit
    def run(key):
        def step(state, key):
            after, info = algorithm.step(key, state)
            return after, (after.carry.estimator, info)

        key_init, *keys = jax.random.split(key, 5)
        return jax.lax.scan(step, algorithm.init(key_init), jnp.stack(keys))[1]

    carries, info = jax.device_get(run(jax.random.key(0)))
    apart = [np.ptp(leaf, axis=2).max() > 0 for leaf in jax.tree.leaves(carries.lifetimes.life.phi)]
    drift, age = np.abs(carries.drift).max(axis=2), carries.lifetimes.age[:, :, 0]
    assert set(age.ravel()) == {2, 4}
    if estimator == "es":
        assert not any(apart)
        assert not drift.any()
        assert (info["env_steps"] == 2 * 3 * 2 * 3).all()
        return
    assert any(apart)
    assert (info["env_steps"] == 2 * 2 * 2 * 3).all()
    assert drift[age == 4].mean() > drift[age == 2].mean() > 0
    tasks = carries.lifetimes.life.task.inputs
    assert np.ptp(tasks, axis=2).max() == 0, "both particles are in the same task"
    same = (tasks[1:] == tasks[:-1]).all(axis=(2, 3, 4))
    np.testing.assert_array_equal(same, age[1:] > 2)


# --- The return of an agent ----------------------------------------------------------------

LOG_RATE, SPREAD = 0.5, 0.4


def _return_after_a_step(log_rate):
    """The mean over two episodes with a step of REINFORCE between, by every trajectory."""
    process, logits = mdp.FIXED, np.asarray(mdp.THETA)
    first, policy = mdp.enumerate_trajectories(process), np.exp(logits) / 4
    before, after = 0.0, 0.0
    for states, actions, probability in zip(*first, strict=True):
        reward = process.reward[states, actions]
        slope = np.zeros_like(logits)
        for state, action, following in zip(
            states, actions, reward[::-1].cumsum()[::-1], strict=True
        ):
            slope[state] += (np.eye(2)[action] - policy[state]) * following / mdp.LENGTH
            probability *= policy[state, action]
        before += probability * reward.sum()
        after += probability * mdp.value_of(process, logits + np.exp(log_rate) * slope)
    return (before + after) / 2


def test_the_return_of_an_agent_against_enumeration():
    """The gradient in the logarithm of its step size, smoothed by the perturbations."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(12)  # Gauss-Hermite quadrature
    values = np.array([_return_after_a_step(LOG_RATE + SPREAD * node) for node in nodes])
    expected = -np.sum(weights * nodes * values) / np.sum(weights) / SPREAD
    learner = mdp.tabular_learner(
        lambda theta: optax.sgd(jnp.exp(theta)),
        init=lambda key: jnp.array(LOG_RATE),
        start=lambda key, theta: jnp.asarray(mdp.THETA),
    )

    @jax.jit
    def estimates(keys):
        problem, layout = mdp.problem_of(mdp.FIXED, learner, 2, 1), Layout.build(500, num_devices=1)
        estimator = outer.evolution_gradient(
            problem, layout, None, window=1, std=SPREAD, persistent=False
        )

        def estimate(key):
            theta = jnp.array(LOG_RATE)
            gradient, _, info = estimator.estimate(key, theta, estimator.init(key, theta))
            return gradient, info["loss"]

        return jax.lax.map(estimate, keys)

    gradients, losses = map(np.asarray, estimates(jax.random.split(jax.random.key(0), 40)))
    error = gradients.std(ddof=1) / np.sqrt(len(gradients))
    assert error < 0.1 * abs(expected)
    assert abs(gradients.mean() - expected) < 4 * error
    assert abs(losses.mean() + values @ weights / weights.sum()) < 0.05
