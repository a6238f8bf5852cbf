"""The real policy through two inner steps, against finite differences.

A collected trial makes the objective a smooth function of theta (with tanh), so
central differences are an oracle for its gradient. Not so for ``dice``, whose
``stop_gradient`` gives the second derivative of an expectation that the value of
one sample does not show: enumeration is its oracle.
"""

import jax
import jax.numpy as jnp
import mdp
import numpy as np
import optax
import pytest
from vectors import raveled

from metajax import inner, losses, networks, outer, tasks
from metajax.algorithms import ALGORITHMS
from metajax.core.replay import replay
from metajax.data.fresh import fresh

NUM_STREAMS, HORIZON, NUM_ADAPTATIONS = 3, 4, 2
FAMILIES = {
    "gaussian": lambda: tasks.make("point-navigation", episode_length=HORIZON),
    "categorical": lambda: mdp.family_of(mdp.STOCHASTIC),
}


def _learner(family, *, baseline="linear", surrogate="score", rule=None):
    policy = networks.policy(
        family.spec,
        networks.MLP((5, 4), "tanh"),
        value_network=networks.MLP((3,), "tanh") if baseline == "value" else None,
    )
    return inner.reinforce(
        policy,
        optax.sgd(inner.step_sizes((0.4, 0.2))) if rule is None else rule,
        surrogate=surrogate,
        baseline=baseline,
        gae_lambda=0.9,
    )


def _objective(family, learner, **options):
    problem = fresh(family, learner, num_adaptations=NUM_ADAPTATIONS, num_streams=NUM_STREAMS)
    return outer.post_adaptation(problem, **options)


def _collect(objective, learner):
    @jax.jit
    def collect():
        theta = learner.init(jax.random.key(1))
        theta = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), theta)
        return theta, objective.collect(jax.random.key(2), theta)[0]

    return jax.device_get(collect())


def _assert_gradient(loss, theta, step=1e-5):
    flat, unravel = raveled(theta)
    at = jax.jit(jax.value_and_grad(lambda point: loss(unravel(point))))  # one program for both
    gradient = np.asarray(at(flat)[1])
    directions = np.random.default_rng(3).normal(size=(4, flat.size))
    assert np.abs(gradient).max() > 1e-3, "a gradient of zero would prove nothing"
    for direction in [*directions, gradient / np.linalg.norm(gradient)]:
        ahead, behind = (at(flat + sign * step * direction)[0] for sign in (1, -1))
        difference = (ahead - behind) / (2 * step)
        np.testing.assert_allclose(gradient @ direction, difference, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("name", "baseline"),
    [
        ("gaussian", "value"),
        pytest.param("gaussian", "linear", marks=pytest.mark.further),
        ("categorical", "linear"),
    ],
)
def test_exact_meta_gradient(name, baseline):
    family = FAMILIES[name]()
    learner = _learner(family, baseline=baseline)
    objective = _objective(family, learner, terms={"entropy": (-0.1, losses.term(losses.entropy))})
    theta, item = _collect(objective, learner)
    _assert_gradient(lambda point: objective.loss(point, item)[0], theta)


@pytest.mark.further  # test_partial_adaptation.py finds each equal to MAML
@pytest.mark.parametrize("name", ["anil", "cavia", "meta-sgd"])
def test_exact_meta_gradient_of_a_part_that_adapts(name):
    """The value network too, and in Meta-SGD the rates."""
    family = FAMILIES["gaussian"]()
    options = ALGORITHMS.get(name)(hidden_sizes=(5, 4), activation="tanh", baseline="value")
    learner = options.learner(family)
    loss = losses.total_of((1.0, losses.policy_gradient_loss), (1.0, losses.value_error))
    objective = _objective(family, learner, loss=loss)
    theta, item = _collect(objective, learner)
    _assert_gradient(lambda point: objective.loss(point, item)[0], theta)


def test_exact_meta_gradient_of_lvc_with_ratio_losses():
    family = FAMILIES["gaussian"]()
    learner = _learner(family, surrogate="lvc")
    ratio = _objective(family, learner, loss=losses.ratio_loss)
    clipped = _objective(family, learner, loss=losses.clipped_loss(0.5))
    theta, item = _collect(ratio, learner)
    # Elsewhere than at the parameters that collected: there the ratios are not 1.
    theta = jax.tree.map(lambda leaf: 1.02 * leaf, theta)
    _assert_gradient(lambda p: ratio.loss(p, item)[0] + clipped.loss(p, item)[0], theta)


def test_exact_meta_gradient_through_clipping_and_momentum():
    family = FAMILIES["gaussian"]()
    rule = optax.chain(inner.clip_by_global_norm(0.2), optax.sgd(0.4, momentum=0.9))
    learner = _learner(family, rule=rule)
    objective = _objective(family, learner)
    theta, item = _collect(objective, learner)
    _assert_gradient(lambda point: objective.loss(point, item)[0], theta)


def test_meta_gradient_with_respect_to_the_inner_rate():
    family = FAMILIES["gaussian"]()
    learner = _learner(family)
    theta, item = _collect(_objective(family, learner), learner)

    @jax.jit
    @jax.value_and_grad
    def loss(rate):
        swept = _learner(family, rule=optax.sgd(rate))
        return _objective(family, swept).loss(theta, item)[0]

    _, gradient = loss(0.3)
    difference = (loss(0.3 + 1e-5)[0] - loss(0.3 - 1e-5)[0]) / 2e-5
    np.testing.assert_allclose(gradient, difference, rtol=1e-6)
    assert abs(gradient) > 1e-3


@pytest.mark.parametrize("name", FAMILIES)
def test_first_order_is_the_gradient_at_the_adapted_weights(name):
    family = FAMILIES[name]()
    learner = _learner(family)
    objective = _objective(family, learner, derivative="first-order")
    theta, item = _collect(objective, learner)

    @jax.jit
    def both(theta):
        phi = learner.begin(item.keys.begin, theta)
        phi, _ = replay(learner, theta, phi, item.support, item.keys.adapt)

        def loss_at(weights):
            outputs = learner.predict(theta, phi._replace(fast=weights), item.query)
            return losses.policy_gradient_loss(outputs, item.query)

        actual = jax.grad(lambda point: objective.loss(point, item)[0])(theta)
        return actual, jax.grad(loss_at)(phi.fast)

    for got, wanted in zip(*map(jax.tree.leaves, both(theta)), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-10, atol=1e-13)


def test_recomputing_adaptations_and_replaying_a_trial_change_nothing():
    family = FAMILIES["gaussian"]()
    learner = _learner(family)
    plain = _objective(family, learner)
    remat = _objective(family, learner, derivative="exact-remat")
    theta, item = _collect(plain, learner)

    @jax.jit
    def gradients(theta):
        return [jax.grad(one.loss, has_aux=True)(theta, item)[0] for one in (plain, remat)]

    for one, other in zip(*map(jax.tree.leaves, gradients(theta)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-13)
    # The replay ends where the trial did: it predicts what acted in the query.
    assert plain.predict is not None
    again = jax.jit(plain.predict)(theta, item)
    for one, other in zip(*map(jax.tree.leaves, (item.prediction, again)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10)
