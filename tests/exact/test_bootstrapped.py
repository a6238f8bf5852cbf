"""Bootstrapped meta-gradients against closed forms, plain meta-gradients and finite differences."""

import jax
import jax.numpy as jnp
import mdp
import numpy as np
import optax
import pytest
import quadratic
import windows

from metajax import inner, networks, outer
from metajax.core.layout import Layout
from metajax.data.lifetime import lifetime

NUM_TASKS = 3
LAYOUT = Layout.build(NUM_TASKS, num_devices=1, whole=True)


def _squared_distance(theta, phi, target, chunk):
    del theta, chunk
    apart = jax.tree.map(lambda one, other: jnp.sum((one - other) ** 2), phi.fast, target.fast)
    return 0.5 * jnp.asarray(sum(jax.tree.leaves(apart)))


def test_the_gradient_on_a_quadratic_is_the_closed_form():
    """Two steps of rate a, two more to the target, and one of the teacher's rate."""
    rate, teachers = 0.3, 0.7

    def learner(rule):
        theta = {"rate": jnp.asarray(rate)}
        start = jnp.arange(1.0, 1 + quadratic.SIZE)
        changes = {"start": lambda key, theta: start}
        made = quadratic.learner(rule=rule, **changes)
        return made._replace(init=lambda key: theta)

    problem = quadratic.problem(learner(lambda theta: optax.sgd(theta["rate"])), 5)
    estimator = outer.bootstrapped(
        problem,
        LAYOUT,
        _squared_distance,
        window=2,
        target_steps=3,
        teacher=learner(lambda theta: optax.sgd(teachers)),
    )

    @jax.jit
    def run(theta):
        carry = estimator.init(jax.random.key(0), theta)
        gradient, after, info = estimator.estimate(jax.random.key(1), theta, carry)
        return carry, gradient, after, info

    carry, gradient, after, info = jax.device_get(run({"rate": np.float64(rate)}))
    centre, start = carry.life.task, carry.life.phi.fast
    adapted = centre + (1 - rate) ** 2 * (start - centre)
    target = centre + (1 - teachers) * (1 - rate) ** 2 * (adapted - centre)
    slope = -2 * (1 - rate) * (start - centre)
    expected = np.mean(np.sum((adapted - target) * slope, axis=-1))
    np.testing.assert_allclose(gradient["rate"], expected, rtol=1e-10)
    distance = 0.5 * np.sum((adapted - target) ** 2, axis=-1)
    np.testing.assert_allclose(info["loss"], distance.mean(), rtol=1e-10)
    # Five adaptations make a lifetime, so that all begin anew in new tasks.
    assert (after.life.task != centre).any(axis=-1).all()


FAMILY = mdp.family_of(mdp.STOCHASTIC)
POLICY = networks.policy(FAMILY.spec, networks.MLP(()), value_network=networks.MLP(()))
THETA = {"entropy": -1.0, "discount": 1.0, "rate": -1.0}
TEACHERS_RATE = 0.2


def _actor_critic(settings):
    return inner.actor_critic_learner(
        POLICY,
        optimizer=optax.identity(),
        settings=settings,
        init=lambda key: jax.tree.map(jnp.float64, THETA),
        start=lambda key, theta: jax.tree.map(jnp.float64, POLICY.init(key)),
    )


def _settings(theta):
    return inner.ActorCriticSettings(
        learning_rate=jnp.exp(theta["rate"]),
        discount=jax.nn.sigmoid(theta["discount"]),
        entropy_coefficient=jnp.exp(theta["entropy"]),
    )


REFERENCE = inner.ActorCriticSettings(learning_rate=TEACHERS_RATE, entropy_coefficient=0.0)
LEARNER, TEACHER = _actor_critic(_settings), _actor_critic(lambda theta: REFERENCE)
PROBLEM = lifetime(FAMILY, LEARNER, num_adaptations=20, num_streams=2, num_steps=3)


@pytest.mark.further
def test_one_step_of_descent_as_the_target_is_the_plain_meta_gradient():
    """Flennerhag et al. (2022), section 4: half the squared distance, times the step size."""
    own = outer.bootstrapped(
        PROBLEM, LAYOUT, _squared_distance, window=2, target_steps=1, teacher=TEACHER
    )
    plain = outer.truncated(PROBLEM, LAYOUT, REFERENCE.loss, window=2, judge=TEACHER)

    @jax.jit
    def both(theta):
        carry = plain.init(jax.random.key(0), theta)
        return [one.estimate(jax.random.key(1), theta, carry)[:2] for one in (own, plain)]

    theta = jax.tree.map(np.float64, THETA)
    (gradient, after), (expected, other) = jax.device_get(both(theta))
    for name, slope in expected.items():
        np.testing.assert_allclose(gradient[name], TEACHERS_RATE * slope, rtol=1e-8)
        assert abs(slope) > 1e-6, "zero would prove nothing"
    jax.tree.map(np.testing.assert_array_equal, after.life.phi.fast, other.life.phi.fast)


def test_the_gradient_of_the_divergence_is_that_of_finite_differences():
    """One step to the learner, three to a target that is found by plain steps."""
    window, target_steps = 1, 3
    estimator = outer.bootstrapped(
        PROBLEM,
        Layout.build(1, num_devices=1, whole=True),
        outer.matching_outputs(LEARNER, 0.5),
        window=window,
        target_steps=target_steps,
        teacher=TEACHER,
    )

    @jax.jit
    def run(theta):
        return windows.estimated(estimator, PROBLEM, window + target_steps - 1, theta)[:2]

    @jax.jit
    def distance(theta, phi, target, chunk):
        now, aim = (LEARNER.predict(theta, one, chunk) for one in (phi, target))
        log_now, log_aim = (jax.nn.log_softmax(one.distribution) for one in (now, aim))
        divergence = jnp.mean(jnp.sum(jnp.exp(log_aim) * (log_aim - log_now), axis=-1))
        return divergence + 0.25 * jnp.mean((now.value - aim.value) ** 2)

    def target_and_distance(theta, fixed, item):
        chunks = [jax.tree.map(lambda leaf, i=i: leaf[i], item.support) for i in range(3)]
        key = item.keys[0]  # nothing is drawn
        phi, target = (adapt(key, one, item.phi, chunks[0]) for one in (theta, fixed))
        for chunk in chunks[1:]:
            target = adapt(key, fixed, target, chunk)
        target = jax.jit(TEACHER.adapt)(key, fixed, target, item.query)
        return distance(theta, phi, target, item.query)

    adapt = jax.jit(LEARNER.adapt)
    theta = jax.tree.map(np.float64, THETA)
    (gradient, _, info), item = run(theta)
    np.testing.assert_allclose(info["loss"], target_and_distance(theta, theta, item), rtol=1e-9)
    for name in THETA:
        ends = [
            target_and_distance({**theta, name: theta[name] + step}, theta, item)
            for step in (1e-5, -1e-5)
        ]
        np.testing.assert_allclose(gradient[name], (ends[0] - ends[1]) / 2e-5, rtol=1e-6)
        assert abs(gradient[name]) > 1e-7, "zero would prove nothing"
