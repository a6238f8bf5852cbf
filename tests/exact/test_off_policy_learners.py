"""Learners that correct for another policy: their targets, their steps, their derivatives."""

from __future__ import annotations

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.special

from metajax import inner, losses, networks
from metajax.core.family import Discrete, Spec
from metajax.core.replay import replay
from metajax.core.types import ActorInput, Chunk
from metajax.data.acting import actor_of
from metajax.inner.q.off_policy_actor import with_estimates
from metajax.inner.q.value_learner import Estimates

T, E, S, A = 5, 3, 2, 2
GAMMA, RATE = 0.9, 0.3
SPEC = Spec("two states", (S,), Discrete(A), 10)
PI = np.array([[0.9, 0.1], [0.3, 0.7]])


class Table(nn.Module):
    """The observation itself as features, which makes the head a table."""

    @nn.compact
    def __call__(self, observation):
        return observation


def _policy(observation):
    return observation @ jnp.log(PI)


def _chunk(seed):
    rng = np.random.default_rng(seed)
    state, action = rng.integers(S, size=(T, E)), rng.integers(A, size=(T, E))
    after = rng.integers(S, size=(T, E))
    terminated = rng.random((T, E)) < 0.2
    mu = rng.uniform(0.2, 0.8, (T, E))
    fields: dict[str, Any] = {
        "observation": np.eye(S)[state],
        "action": action,
        "reward": rng.normal(size=(T, E)),
        "terminated": terminated,
        "truncated": (rng.random((T, E)) < 0.2) & ~terminated,
        "mask": np.ones((T, E), bool),
        "log_prob": np.log(mu),
        "next_observation": np.eye(S)[after],
    }
    return Chunk(**fields), state, after, PI[state, action] / mu


def _weights(values):
    """Random tables, as flax names them."""
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda leaf: rng.normal(size=leaf.shape), jax.eval_shape(values.init, jax.random.key(0))
    )


def _initial(learner):
    """In double precision, which flax does not draw."""
    theta = jax.device_get(jax.jit(learner.init)(jax.random.key(0)))
    return jax.tree.map(np.float64, theta)


def _values(name):
    make = networks.action_values if name == "retrace" else networks.state_values
    return make(SPEC, Table())


def _learner(name, updates=1, **options):
    correction = inner.Correction(name, GAMMA, 0.8, math.inf, 1.0)
    return inner.value_learner(
        _values(name),
        _policy,
        A,
        inner=optax.sgd(RATE),
        correction=correction,
        updates=updates,
        **options,
    )


def _by_hand(name, weights, chunk, state, after, rho):
    """Predictions and targets from the tables, read off by indices."""
    observations = jnp.eye(S)
    ends = chunk.reward, chunk.terminated, chunk.truncated
    if name == "retrace":
        table = jnp.array(networks.q_network(SPEC, Table()).apply(weights, observations))
        here, mean = table[state, chunk.action], jnp.sum(PI * table, -1)[after]
        return here, losses.retrace_targets(here, *ends, mean, rho, GAMMA, 0.8, 1.0)
    table = jnp.array(_values(name).states(weights, observations, jnp.asarray(PI)))
    here = table[state]
    if name == "vtrace":
        targets = losses.vtrace_targets(here, *ends, table[after], rho, GAMMA, 0.8, math.inf, 1.0)
        return here, targets
    return here, losses.per_decision_returns(*ends, table[after], rho, GAMMA, 0.8)


CORRECTIONS = ("per-decision", "vtrace", "retrace")


@pytest.mark.parametrize("name", CORRECTIONS)
def test_targets_inside_the_learner(name):
    chunk, state, after, rho = _chunk(0)
    learner = _learner(name)

    @jax.jit
    def run(weights):
        outputs = learner.predict(weights, learner.begin(jax.random.key(1), weights), chunk)
        return outputs, _by_hand(name, weights, chunk, state, after, rho)

    outputs, (here, targets) = jax.device_get(run(_weights(_values(name))))
    np.testing.assert_allclose(outputs.value, here, rtol=1e-6)
    np.testing.assert_allclose(outputs.target, targets, rtol=1e-6)
    # The policy that acts by default is the uniform one.
    np.testing.assert_allclose(outputs.log_prob, np.log(1 / A), rtol=1e-6)


@pytest.mark.parametrize("name", CORRECTIONS)
def test_an_update_moves_predictions_to_targets_that_are_held_fixed(name):
    """Of a table, each entry moves by the rate times the sum of its errors over T E."""
    chunk, state, after, rho = _chunk(1)
    learner = _learner(name, updates=2)
    weights = _weights(_values(name))

    @jax.jit
    def adapt(weights):
        phi = learner.begin(jax.random.key(1), weights)
        return learner.adapt(jax.random.key(2), weights, phi, chunk).fast

    @jax.jit
    def errors(weights):
        here, targets = _by_hand(name, weights, chunk, state, after, rho)
        return here - targets

    adapted = adapt(weights)
    expected = weights
    for _ in range(2):
        error = np.asarray(errors(expected)) / (T * E)
        moved = jax.tree.map(np.array, expected)
        [layer] = [moved] if "kernel" in moved else moved.values()
        column = chunk.action if name == "retrace" else np.zeros((T, E), int)
        np.subtract.at(layer["kernel"], (state, column), RATE * error)
        np.subtract.at(layer["bias"], column, RATE * error)
        expected = moved
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), adapted, expected)


def test_the_policy_that_acts_is_mixed_with_the_uniform_one():
    chunk, *_ = _chunk(2)
    learner = _learner("vtrace", epsilon=0.4)

    @jax.jit
    def predict(weights):
        return learner.predict(weights, learner.begin(jax.random.key(1), weights), chunk)

    outputs = jax.device_get(predict(_initial(learner)))
    states = np.argmax(chunk.observation, -1)
    expected = 0.6 * PI[states] + 0.2
    np.testing.assert_allclose(np.exp(outputs.distribution), expected, rtol=1e-6)
    np.testing.assert_allclose(
        np.exp(outputs.log_prob),
        np.take_along_axis(expected, np.asarray(chunk.action)[..., None], -1)[..., 0],
        rtol=1e-6,
    )


def _actor(name, **options):
    correction = inner.Correction(name, GAMMA, 0.8, 2.0, 1.0)
    return inner.off_policy_actor(
        networks.policy(SPEC, Table()),
        _values(name),
        inner=optax.sgd(RATE),
        correction=correction,
        **options,
    )


@pytest.mark.parametrize("name", CORRECTIONS)
def test_the_actor_moves_along_the_advantages_of_the_targets(name):
    """Of a table of logits the gradient is known: the action's indicator less the policy."""
    chunk, state, after, _ = _chunk(3)
    learner = _actor(name, normalize_advantages=False, value_coefficient=0.0)
    theta = _initial(learner)
    logits_of = networks.policy(SPEC, Table()).apply
    ends = chunk.reward, chunk.terminated, chunk.truncated
    values_of = _values(name)

    @jax.jit
    def run(theta):
        logits = logits_of(theta, jnp.eye(S))
        policy = jax.nn.softmax(logits)
        rho = policy[state, chunk.action] / jnp.exp(chunk.log_prob)
        values = values_of.states(theta["value"], jnp.eye(S), policy)
        here, following = values[state], values[after]
        common = rho, GAMMA, 0.8
        if name == "retrace":
            pairs = chunk.observation.reshape(-1, S), chunk.action.reshape(-1)
            taken = values_of.actions(theta["value"], *pairs).reshape(T, E)
            worth = losses.retrace_targets(taken, *ends, following, *common, 1.0)
        else:
            if name == "vtrace":
                targets = losses.vtrace_targets(here, *ends, following, *common, 2.0, 1.0)
            else:
                targets = losses.per_decision_returns(*ends, following, *common, 2.0)
            worth = losses.next_step_returns(targets, *ends, following, GAMMA)
        phi = learner.begin(jax.random.key(1), theta)
        adapted = learner.adapt(jax.random.key(2), theta, phi, chunk).fast
        return logits, rho, worth - here, logits_of(adapted, jnp.eye(S))

    logits, rho, advantage, found = jax.device_get(run(theta))
    policy = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    weight = np.minimum(rho, 2.0) * advantage / (T * E)
    expected = logits.copy()
    # The kernel of a one-hot observation and the bias both move the logits.
    gradient = weight[..., None] * (np.eye(A)[chunk.action] - policy[state])
    np.add.at(expected, state, RATE * gradient)
    expected += RATE * gradient.sum((0, 1))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def _finite_difference(function, theta, size=1e-5):
    leaves, tree = jax.tree.flatten(theta)
    direction = [np.cos(np.arange(leaf.size)).reshape(leaf.shape) for leaf in leaves]
    moved = [
        jax.tree.unflatten(
            tree, [leaf + sign * size * d for leaf, d in zip(leaves, direction, strict=True)]
        )
        for sign in (1, -1)
    ]
    at = jax.jit(jax.value_and_grad(function))
    slope = jax.device_get(jax.tree.leaves(at(theta)[1]))
    along = sum(np.sum(one * d) for one, d in zip(slope, direction, strict=True))
    return along, (at(moved[0])[0] - at(moved[1])[0]) / (2 * size)


@pytest.mark.parametrize("name", CORRECTIONS)
@pytest.mark.parametrize("kind", ["values", "actor"])
def test_derivatives_through_the_adaptation(name, kind):
    """Targets, ratios and advantages of an update depend on theta, and the gradient knows."""
    chunk, *_ = _chunk(4)
    if kind == "values":
        learner = _learner(name, updates=3)
    else:
        learner = _actor(name, updates=3, entropy_coefficient=0.1, normalize_advantages=False)
    theta = _initial(learner)
    support = jax.tree.map(lambda leaf: np.stack([leaf, leaf[::-1]]), chunk)

    def loss(theta):
        phi = learner.begin(jax.random.key(1), theta)
        phi, _ = replay(learner, theta, phi, support, jax.random.key(2))
        outputs = learner.predict(theta, phi, chunk)
        return jnp.sum(jnp.sin(outputs.value) + outputs.log_prob)

    exact, numeric = _finite_difference(loss, theta)
    np.testing.assert_allclose(exact, numeric, rtol=1e-5)


def test_advantages_times_clipped_ratios_by_hand():
    """Normalised before the ratios; the divisor stands beside, for every step."""
    chunk, *_ = _chunk(6)
    chunk = jax.tree.map(lambda leaf: leaf[:2, :1], chunk)
    columns: Any = np.array([[0, 0], [7, 8], [1, 5], [3, 0.5]])[..., None]
    found = Estimates(*columns)
    estimated = jax.jit(with_estimates, static_argnums=3)
    plain = jax.device_get(estimated(chunk, found, 2.0, False))
    np.testing.assert_allclose(plain.advantage[:, 0], [2 * 1, 0.5 * 5])
    np.testing.assert_allclose(plain.target[:, 0], [7, 8])
    np.testing.assert_allclose(plain.scale, np.ones((2, 1)))
    # Mean 3 and deviation 2.
    normalized = jax.device_get(estimated(chunk, found, 2.0, True))
    np.testing.assert_allclose(normalized.advantage[:, 0], [2 * -1, 0.5 * 1])
    np.testing.assert_allclose(normalized.scale, np.full((2, 1), 2))


@pytest.mark.parametrize("kind", ["values", "actor"])
def test_the_actor_is_noisy_and_its_mode_is_not(kind):
    """Without noise of the sampler the most probable action of the mixture is taken."""
    learner = _learner("vtrace", epsilon=0.4) if kind == "values" else _actor("vtrace", epsilon=0.4)
    theta = _initial(learner)
    actor = actor_of(learner)
    assert actor.records == ("next_observation",)

    @jax.jit
    def act(noise, observation):
        phi = learner.begin(jax.random.key(0), theta)
        seen = ActorInput(observation, jnp.int32(-1), jnp.zeros(()), jnp.ones((), bool))
        return actor.act(noise, theta, phi, (), seen)

    policies: Any = PI
    if kind == "actor":
        logits = jax.jit(networks.policy(SPEC, Table()).apply)(theta, np.eye(S))
        policies = scipy.special.softmax(np.asarray(logits), axis=-1)
    for row, policy in zip(np.eye(S), policies, strict=True):
        for action in range(A):
            output, memory = act(100.0 * np.eye(A)[action], row)
            assert (output.action, output.mode, memory) == (action, np.argmax(policy), ())
            expected = 0.6 * policy[action] + 0.4 / A
            np.testing.assert_allclose(np.exp(output.log_prob), expected, rtol=1e-6)


def test_equal_advantages_have_finite_derivatives():
    chunk, *_ = _chunk(5)
    learner = _actor("vtrace")
    one = jax.tree.map(lambda leaf: leaf[:1, :1], chunk)
    theta = _initial(learner)

    def loss(theta):
        phi = learner.begin(jax.random.key(1), theta)
        adapted = learner.adapt(jax.random.key(2), theta, phi, one)
        return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(adapted.fast))

    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(jax.jit(jax.grad(loss))(theta)))
