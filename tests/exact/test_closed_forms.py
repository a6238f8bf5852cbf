"""Meta-gradients and displacement where paper and pencil give them.

For the loss ``|w - c|^2 / 2``, K steps of rate a and d = mean(w - c) over tasks:
MAML's meta-gradient is ``(1-a)^(2K) d``, first-order MAML's ``(1-a)^K d`` and
Reptile's displacement ``(1 - (1-a)^K) d``. With a rate for each step, ``(1-a)^K``
is the product of the ``1 - a_k``; the multi-step loss averages MAML's over 0..K.
"""

import jax
import numpy as np
import optax
import pytest
import quadratic

from metajax import outer
from metajax.algorithms.gradient.meta_sgd import MetaSGD
from metajax.composition import compose
from metajax.core.layout import Layout
from metajax.core.replay import DERIVATIVES
from metajax.inner import part

NUM_TASKS = 6
RATES = {
    "one rate": (0.3,),
    "a rate for each step": (0.3, 0.1),
}


def _shrinkage(rates, num_adaptations):
    """Product of ``1 - a_k``; the last rate holds from then on."""
    steps = [*rates, *[rates[-1]] * num_adaptations][:num_adaptations]
    return np.prod(1 - np.array(steps))


START = np.arange(1.0, 1 + quadratic.SIZE)


@jax.jit
def _offsets(key):
    """``w - c`` for the tasks that a meta-batch of this key samples."""
    keys = jax.random.split(key, NUM_TASKS)
    sample = quadratic.family().sample
    return START - jax.vmap(lambda key: sample(jax.random.split(key)[0]))(keys)


def _mean_offset(key):
    return np.asarray(_offsets(key)).mean(axis=0)


def _estimates(estimators, theta, key):
    """Of several estimators in one program, which compiles faster."""

    def estimate(key, theta):
        return {name: one.estimate(key, theta, ())[0] for name, one in estimators.items()}

    return jax.jit(estimate)(key, theta)


@pytest.fixture(params=RATES)
def rates(request):
    return RATES[request.param]


@pytest.mark.parametrize(
    ("rates", "num_adaptations"),
    [
        ("one rate", 1),
        ("a rate for each step", 2),
        *(
            pytest.param(rates, number, marks=pytest.mark.further)
            for rates, number in (
                ("one rate", 2),
                ("one rate", 5),
                ("a rate for each step", 1),
                ("a rate for each step", 5),
            )
        ),
    ],
    indirect=["rates"],
)
def test_gradients_and_displacement(rates, num_adaptations):
    learner = quadratic.learner(rates)
    problem = quadratic.problem(learner, num_adaptations, 2)
    layout = Layout.build(NUM_TASKS, 3, 1, 1)
    key = jax.random.key(3)
    offset, shrinkage = _mean_offset(key), _shrinkage(rates, num_adaptations)

    objectives = {
        derivative: outer.post_adaptation(problem, quadratic.loss, derivative=derivative)
        for derivative in DERIVATIVES
    }
    objectives["every step"] = outer.post_adaptation(problem, quadratic.loss, every_step=True)
    estimators = {name: outer.backprop(one, layout) for name, one in objectives.items()}
    estimators["reptile"] = outer.displacement(problem, layout)
    expected = {
        "exact": shrinkage**2 * offset,
        "exact-remat": shrinkage**2 * offset,
        "first-order": shrinkage * offset,
        "reptile": (1 - shrinkage) * offset,
        "every step": np.mean(
            [_shrinkage(rates, count) ** 2 for count in range(num_adaptations + 1)]
        )
        * offset,
    }
    actual = _estimates(estimators, START, key)
    assert actual.keys() == expected.keys()
    for name, gradient in expected.items():
        np.testing.assert_allclose(actual[name], gradient, rtol=1e-12, err_msg=name)


def test_a_reptile_update_moves_towards_the_adapted_weights():
    """``theta + rate mean(phi - theta)``, composed as a user would."""
    learner = quadratic.learner((0.3,))
    problem = quadratic.problem(learner, 2)
    layout = Layout.build(NUM_TASKS, num_devices=1)
    estimator = outer.displacement(problem, layout)
    algorithm = compose(problem, outer.once(estimator, optax.sgd(0.5)))
    key = jax.random.key(4)
    state = algorithm.init(jax.random.key(0))
    moved, info = jax.jit(algorithm.step)(key, state)
    direction = (1 - 0.7**2) * _mean_offset(key)
    np.testing.assert_array_equal(state.theta, START)
    np.testing.assert_allclose(moved.theta, START - 0.5 * direction, rtol=1e-13)
    np.testing.assert_allclose(info["gradient_norm"], np.linalg.norm(direction), rtol=1e-12)
    assert info["env_steps"] == NUM_TASKS * 3


def test_meta_sgd_learns_its_rates():
    """``dL/da = -K (1-a)^(2K-1) mean((w-c)^2)`` a coordinate, with a rate of its own."""
    num_adaptations = 3
    learner = quadratic.learner(rule=MetaSGD().inner_rule(), partition=part("weights"))
    theta = {"weights": START, "rates": np.array([0.1, 0.3, 0.5])}
    problem = quadratic.problem(learner, num_adaptations)
    objective = outer.post_adaptation(problem, quadratic.loss)
    estimator = outer.backprop(objective, Layout.build(NUM_TASKS, num_devices=1))
    key = jax.random.key(5)
    gradient = _estimates({"maml": estimator}, theta, key)["maml"]
    offset, left = np.asarray(_offsets(key)), 1 - theta["rates"]
    np.testing.assert_allclose(
        gradient["rates"],
        -num_adaptations * left ** (2 * num_adaptations - 1) * np.mean(offset**2, axis=0),
        rtol=1e-12,
    )
    np.testing.assert_allclose(
        gradient["weights"], left ** (2 * num_adaptations) * offset.mean(axis=0), rtol=1e-12
    )
