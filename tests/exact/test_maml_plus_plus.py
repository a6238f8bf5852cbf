"""MAML++ on sine waves, in float64, in each phase of its schedules.

With SGD of rate 1 a meta-iteration moves theta by minus the meta-gradient, and reports the
meta-loss at the theta that it began from.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from vectors import raveled

import metajax
from metajax.algorithms.gradient.maml_plus_plus import MAMLPlusPlus

KEY = jax.random.key(1)
SIZES = {
    "num_tasks": 2,
    "num_streams": 5,
    "num_query": 7,
    "hidden_sizes": (5, 4),
    "devices": 1,
    "activation": "tanh",
    "inner_steps": 2,
    "optimizer": "sgd",
    "learning_rate": 1.0,
}
ANNEALED, EXACT = 2, 4
"""Iterations from which on the last loss alone counts, and derivatives are exact."""


def _algorithm(name, **options):
    return metajax.make(name, metajax.tasks.make("sinusoid"), **SIZES, **options)


@functools.cache
def _plus_plus():
    """``(theta, iteration) -> (meta-gradient, loss, returns)``, and theta."""
    algorithm = _algorithm(
        "maml-plus-plus", anneal_iterations=ANNEALED, first_order_iterations=EXACT
    )
    state = jax.jit(algorithm.init)(jax.random.key(0))

    @jax.jit
    def step(theta, iteration):
        start = state._replace(theta=theta, carry=state.carry._replace(iteration=iteration))
        after, info = algorithm.step(KEY, start)
        gradient = jax.tree.map(jnp.subtract, theta, after.theta)
        return gradient, info["loss"], info["returns"]

    def compiled(theta, iteration):
        return jax.device_get(step(theta, jnp.int32(iteration)))

    return compiled, jax.tree.map(lambda leaf: np.asarray(leaf, float), state.theta)


def _with_rates(theta, rate):
    rates = jax.tree.map(lambda leaf: np.full_like(leaf, rate), theta["rates"])
    return {**theta, "rates": rates}


def test_weights_of_the_losses_by_hand():
    options = MAMLPlusPlus(inner_steps=3, anneal_iterations=8)
    for iteration, done in ((0, 0), (2, 1 / 4), (4, 1 / 2), (8, 1), (50, 1)):
        early = (1 - done) / 3
        expected = [0, early, early, early + done]
        actual = jax.jit(options.loss_weights)(jnp.int32(iteration))
        np.testing.assert_allclose(actual, expected, rtol=1e-6)


def test_the_loss_moves_to_the_last_adaptation():
    """Scores are minus the losses after 0, 1 and 2 adaptations."""
    step, theta = _plus_plus()
    for iteration, weights in ((0, [0, 1 / 2, 1 / 2]), (1, [0, 1 / 4, 3 / 4]), (2, [0, 0, 1])):
        _, loss, returns = step(theta, iteration)
        np.testing.assert_allclose(loss, -np.dot(weights, returns), rtol=1e-12)


def test_the_first_order_phase_is_fomaml():
    step, theta = _plus_plus()
    theta = _with_rates(theta, 0.3)
    fomaml = _algorithm("fomaml", inner_lr=0.3)
    state = jax.jit(fomaml.init)(jax.random.key(0))._replace(theta=theta["weights"])
    after, info = jax.device_get(jax.jit(fomaml.step)(KEY, state))
    gradient, loss, _ = step(theta, ANNEALED)
    np.testing.assert_allclose(loss, info["loss"], rtol=1e-12)
    for start, end, mine in zip(
        *map(jax.tree.leaves, (theta["weights"], after.theta, gradient["weights"])), strict=True
    ):
        np.testing.assert_allclose(mine, start - end, rtol=1e-9, atol=1e-12)


def test_rates_learn_in_both_phases():
    """Those of the last step alike: no second derivative follows it."""
    step, theta = _plus_plus()
    early, late = (jax.tree.leaves(step(theta, at)[0]["rates"]) for at in (ANNEALED, EXACT))
    for first_order, exact in zip(early, late, strict=True):
        assert first_order.shape == (2,), "a rate for each step"
        np.testing.assert_allclose(first_order[1], exact[1], rtol=1e-9)
        assert abs(first_order[0] - exact[0]) > 1e-6
        assert abs(first_order[0]) > 1e-6


def test_exact_meta_gradient_of_weights_and_rates():
    step, theta = _plus_plus()
    flat, unravel = raveled(theta)
    slopes, size = raveled(step(theta, EXACT)[0])[0], 1e-5
    frozen = jax.tree.map(np.zeros_like, theta["weights"])
    of_rates = raveled({**_with_rates(theta, 1.0), "weights": frozen})[0]
    random = np.random.default_rng(3).normal(size=(3, flat.size))
    for direction in (*random, random[0] * of_rates, random[1] * of_rates):
        above, below = (step(unravel(flat + sign * size * direction), EXACT)[1] for sign in (1, -1))
        difference = (above - below) / (2 * size)
        np.testing.assert_allclose(slopes @ direction, difference, rtol=1e-6, atol=1e-9)


def test_a_rate_for_each_step_and_the_last_from_then_on():
    """With gradients of 1 in the weights, steps are minus the rates."""
    rule = MAMLPlusPlus(inner_steps=2).inner_rule()
    ones = {"a": jnp.ones(3), "b": jnp.ones(())}
    theta = {"weights": ones, "rates": {"a": jnp.array([0.3, 0.2]), "b": jnp.array([0.5, -0.1])}}

    @jax.jit
    def steps():
        transformation = rule(theta)

        def step(state, _):
            found, state = transformation.update(ones, state)
            return state, found

        _, found = jax.lax.scan(step, transformation.init(ones), length=3)
        return found

    found = jax.device_get(steps())
    np.testing.assert_allclose(found["a"], -np.outer([0.3, 0.2, 0.2], np.ones(3)))
    np.testing.assert_allclose(found["b"], [-0.5, 0.1, 0.1])
