"""Learners of which a part adapts, against MAML with all but that part frozen."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from metajax import inner, losses, networks, outer, tasks
from metajax.algorithms import ALGORITHMS
from metajax.core.replay import replay
from metajax.data.fresh import fresh

RATE, CONTEXT_SIZE = 0.3, 2
OPTIONS = {"hidden_sizes": (5, 4), "activation": "tanh", "inner_lr": RATE, "inner_clip": 1.0}


def _family():
    return tasks.make("point-navigation", episode_length=4)


def _learner(name, **options):
    return ALGORITHMS.get(name)(**OPTIONS, **options).learner(_family())


def _adapted(learner, theta):
    """Weights after two adaptations, and the meta-gradient."""
    problem = fresh(_family(), learner, num_adaptations=2, num_streams=3)
    objective = outer.post_adaptation(problem, losses.policy_gradient_loss)

    @jax.jit
    def run(theta):
        theta = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), theta)
        item, _ = objective.collect(jax.random.key(2), theta)
        gradient, _ = jax.grad(objective.loss, has_aux=True)(theta, item)
        phi = learner.begin(item.keys.begin, theta)
        phi, _ = replay(learner, theta, phi, item.support, item.keys.adapt)
        return learner.weights(theta, phi), gradient

    return jax.device_get(run(theta))


def _initial(learner):
    return jax.device_get(jax.jit(learner.init)(jax.random.key(1)))


def _assert_same(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for first, second in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-10, atol=1e-13)


def _clipped_descent(moves):
    """The rule of ``OPTIONS`` for the weights that ``moves``, ``(path) -> bool``, selects."""

    def labels(weights):
        return jax.tree.map_with_path(lambda path, _: moves(jax.tree_util.keystr(path)), weights)

    rule = optax.chain(inner.clip_by_global_norm(OPTIONS["inner_clip"]), optax.sgd(RATE))
    return optax.multi_transform({True: rule, False: optax.set_to_zero()}, labels)


@pytest.mark.parametrize("baseline", ["linear", pytest.param("value", marks=pytest.mark.further)])
def test_anil_is_maml_whose_torso_is_frozen(baseline):
    anil = _learner("anil", baseline=baseline)
    frozen = _clipped_descent(lambda path: "torso" not in path)
    options = {**OPTIONS, "inner_lr": 0.1, "inner_clip": None, "inner": frozen}
    maml = ALGORITHMS.get("maml")(**options, baseline=baseline).learner(_family())
    theta = _initial(anil)
    weights, gradient = _adapted(anil, theta)
    _assert_same((weights, gradient), _adapted(maml, theta))
    before, after = theta["policy"], weights["policy"]
    _assert_same(before.pop("torso"), after.pop("torso"))
    assert set(before) == {"Dense_0", "log_std"}
    moved = jax.tree.map(lambda one, other: np.abs(one - other).max() > 1e-4, before, after)
    assert all(jax.tree.leaves(moved))
    assert all(np.any(leaf) for leaf in jax.tree.leaves(gradient["policy"]["torso"]))


def test_cavia_is_maml_whose_weights_are_frozen():
    """The context is an input bias: here it is added to the bias of the first layer."""
    cavia = _learner("cavia", context_size=CONTEXT_SIZE)
    family = _family()
    plain = networks.policy(family.spec, networks.MLP((5, 4), "tanh"))
    size = family.spec.observation_shape[0]

    def apply(weights, observation):
        torso = weights["policy"]["torso"]
        kernel, bias = torso["Dense_0"]["kernel"], torso["Dense_0"]["bias"]
        first = {"kernel": kernel[:size], "bias": bias + weights["context"] @ kernel[size:]}
        policy = {**weights["policy"], "torso": {**torso, "Dense_0": first}}
        return plain.apply({"policy": policy}, observation)

    rule = _clipped_descent(lambda path: "context" in path)
    maml = inner.reinforce(plain._replace(apply=apply), rule)
    theta = _initial(cavia)
    weights, gradient = _adapted(cavia, theta)
    expected = _adapted(maml, {**theta, "context": np.zeros(CONTEXT_SIZE)})
    assert np.abs(expected[1].pop("context")).max() > 1e-3, "MAML learns where it starts, too"
    _assert_same((weights, gradient), expected)
    assert np.abs(weights["context"]).min() > 1e-3
    _assert_same(theta["policy"], weights["policy"])


def test_meta_sgd_with_equal_rates_is_maml():
    meta_sgd, maml = _learner("meta-sgd"), _learner("maml")
    theta = _initial(meta_sgd)
    for rates in jax.tree.leaves(theta["rates"]):
        np.testing.assert_allclose(rates, RATE, rtol=1e-6)
    theta["rates"] = jax.tree.map(lambda leaf: np.full(leaf.shape, RATE), theta["rates"])
    weights, gradient = _adapted(meta_sgd, theta)
    _assert_same((weights, gradient["weights"]), _adapted(maml, theta["weights"]))
