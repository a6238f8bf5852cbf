"""Strategies of fine-tuning: what they start as, what moves and by how much."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import metajax
from metajax import tasks
from metajax.algorithms import ALGORITHMS
from metajax.algorithms.gradient.finetune import Finetune

RATE, UPDATES = 0.1, 5
SIZES = {"hidden_sizes": (5, 4), "activation": "tanh", "inner_lr": RATE}
HEAD, TOP, BOTTOM = (
    ("predictor", "output"),
    *(("predictor", "torso", f"Dense_{index}") for index in (1, 0)),
)


def _trial(strategy, family=None, **options):
    """Theta, the start, its predictions, weights after each update, and the first gradient."""
    family = tasks.make("sinusoid") if family is None else family
    learner = Finetune(strategy=strategy, **SIZES, **options).learner(family)
    full = ALGORITHMS.get("joint")(**{**SIZES, "inner_lr": 1.0}).learner(family)
    weights_of = learner.weights
    assert weights_of is not None

    @jax.jit
    def run(key):
        theta = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), learner.init(key))
        data = family.draw(key, family.sample(key), 6)
        data = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), data)
        phi = learner.begin(key, theta)
        before = learner.predict(theta, phi, data)
        plain = full.begin(key, theta)
        gradient = jax.tree.map(jnp.subtract, theta, full.adapt(key, theta, plain, data).fast)

        def update(adapted, key):
            adapted = learner.adapt(key, theta, adapted, data)
            return adapted, weights_of(theta, adapted)

        _, after = jax.lax.scan(update, phi, jax.random.split(key, UPDATES))
        predicted = before, full.predict(theta, plain, data)
        return theta, weights_of(theta, phi), predicted, after, gradient

    return jax.device_get(run(jax.random.key(0)))


def _part(tree, path):
    for name in path:
        tree = tree[name]
    return tree


def _moved(before, after):
    return np.array([np.abs(leaf - after[name]).max() > 0 for name, leaf in before.items()])


@pytest.mark.parametrize("strategy", ["head", "adapters", "low-rank"])
def test_what_is_frozen_does_not_move(strategy):
    theta, start, predicted, after, _ = _trial(strategy, adapter_size=2, rank=2)
    last = jax.tree.map(lambda leaf: leaf[-1], after)
    np.testing.assert_allclose(*predicted, rtol=1e-12)
    plain = jax.tree.map(jnp.shape, theta)
    assert plain == jax.tree.map(jnp.shape, _trial_theta_of_joint())
    for path in (TOP, BOTTOM):
        moved = _moved(_part(theta, path), _part(last, path))
        assert moved.any() == (strategy == "low-rank")
    assert _moved(_part(theta, HEAD), _part(last, HEAD)).any()
    torso = last["predictor"]["torso"]
    if strategy == "adapters":
        assert set(torso) == {"Dense_0", "Dense_1", "adapter_0", "adapter_1"}
        for name in ("adapter_0", "adapter_1"):
            up = start["predictor"]["torso"][name]["up"]
            assert not up["kernel"].any()
            assert torso[name]["up"]["kernel"].any()
            assert torso[name]["down"]["kernel"].shape[1] == 2
        return
    assert set(torso) == {"Dense_0", "Dense_1"}
    if strategy == "low-rank":
        kernels = (_part(tree, TOP)["kernel"] for tree in (last, theta))
        assert np.linalg.matrix_rank(np.subtract(*kernels), tol=1e-9) == 2


def _trial_theta_of_joint():
    learner = ALGORITHMS.get("joint")(**SIZES).learner(tasks.make("sinusoid"))
    return jax.eval_shape(learner.init, jax.random.key(0))


def test_a_low_rank_update_by_hand():
    """The first gradient of ``up`` is that of the kernel behind ``down``, and ``down`` waits.

    Biases move by themselves.
    """
    family = tasks.make("sinusoid")
    learner = Finetune(strategy="low-rank", rank=2, **SIZES).learner(family)
    _, _, _, after, gradient = _trial("low-rank", rank=2)

    @jax.jit
    def begun(key):
        theta = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), learner.init(key))
        return theta, learner.begin(key, theta).fast

    theta, fast = jax.device_get(begun(jax.random.key(0)))
    names = "kernel", "bias"
    assert set(fast) == {"/".join((*path, name)) for path in (HEAD, TOP, BOTTOM) for name in names}
    for path in (HEAD, TOP, BOTTOM):
        bias = _part(after, path)["bias"][0] - _part(theta, path)["bias"]
        np.testing.assert_allclose(bias, -RATE * _part(gradient, path)["bias"], rtol=1e-6)
        down = fast["/".join((*path, "kernel"))]["down"]
        step = -RATE * down @ (down.T @ _part(gradient, path)["kernel"])
        found = _part(after, path)["kernel"][0] - _part(theta, path)["kernel"]
        np.testing.assert_allclose(found, step, rtol=1e-6, atol=1e-10)


def test_beside_low_rank_updates_the_standard_deviation_moves():
    family = tasks.make("point-navigation", episode_length=3)
    learner = Finetune(strategy="low-rank", rank=2, hidden_sizes=(5,)).learner(family)
    theta = jax.eval_shape(learner.init, jax.random.key(0))
    fast = jax.eval_shape(learner.begin, jax.random.key(0), theta).fast
    assert fast["policy/log_std"].shape == (2,)
    layers = "policy/Dense_0", "policy/torso/Dense_0"
    vectors = {"policy/log_std", *(f"{layer}/bias" for layer in layers)}
    assert set(fast) == {*vectors, *(f"{layer}/kernel" for layer in layers)}


def test_rates_fall_from_layer_to_layer():
    theta, _, predicted, after, gradient = _trial("layer-decay", layer_decay=0.5)
    np.testing.assert_allclose(*predicted, rtol=1e-12)
    for path, factor in ((HEAD, 1), (TOP, 0.5), (BOTTOM, 0.25)):
        for name, leaf in _part(theta, path).items():
            found = _part(after, path)[name][0] - leaf
            expected = -RATE * factor * _part(gradient, path)[name]
            np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-10)


def test_layers_begin_to_move_from_the_top():
    theta, _, _, after, gradient = _trial("gradual", unfreeze_every=2)
    for path, first in ((HEAD, 0), (TOP, 2), (BOTTOM, 4)):
        for name, leaf in _part(theta, path).items():
            states = np.concatenate([leaf[None], _part(after, path)[name]])
            moved = np.abs(np.diff(states, axis=0)).reshape(UPDATES, -1).max(axis=1) > 0
            np.testing.assert_array_equal(moved, np.arange(UPDATES) >= first)
    step = _part(after, HEAD)["kernel"][0] - _part(theta, HEAD)["kernel"]
    np.testing.assert_allclose(step, -RATE * _part(gradient, HEAD)["kernel"], rtol=1e-6)


@pytest.mark.parametrize("strategy", ["adapters", "low-rank", "layer-decay", "gradual"])
def test_policies_are_fine_tuned_too(strategy):
    """Shapes of a trial, and of theta, which are those of joint training."""
    family = tasks.make("point-navigation", episode_length=3)
    sizes = {"num_tasks": 2, "num_streams": 2, "hidden_sizes": (3,), "baseline": "value"}
    algorithm = metajax.make("finetune", family, strategy=strategy, **sizes)
    joint = metajax.make("joint", family, **sizes)
    state, other = (jax.eval_shape(one.init, jax.random.key(0)) for one in (algorithm, joint))
    assert state == other

    def adapt(theta, key):
        return algorithm.adapt(key, theta, family.sample(key), num_adaptations=2)

    trial = jax.eval_shape(adapt, state.theta, jax.random.key(0))
    assert trial.returns.shape == (3,)


def test_what_does_not_fit_is_named():
    with pytest.raises(
        metajax.OptionError, match='strategy: "gradual" is possible for an MLP alone'
    ):
        Finetune(strategy="gradual", network=object())
    with pytest.raises(metajax.OptionError, match=r"hidden_sizes: .* at least one hidden layer"):
        Finetune(strategy="adapters", hidden_sizes=())
