"""Meta-gradients on labelled examples, through the registered algorithms, in float64.

With SGD of rate 1 a meta-iteration moves theta by minus the meta-gradient, and reports the
meta-loss at the theta that it began from.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree
from vectors import raveled

import metajax
from metajax import inner, networks
from metajax.algorithms.optimizers.lstm_optimizer import LSTMOptimizer

SIZES = {"num_tasks": 2, "optimizer": "sgd", "learning_rate": 1.0, "devices": 1}
REGRESSION = {**SIZES, "num_streams": 5, "num_query": 7, "hidden_sizes": (5, 4)}
LSTM = {**SIZES, "num_streams": 3, "inner_steps": 8, "window": 3, "lstm_size": 3}
KEY = jax.random.key(1)


def _begun(algorithm):
    """The first training state, in float64."""

    @jax.jit
    def begin(key):
        return jax.tree.map(
            lambda leaf: leaf.astype(jnp.float64) if leaf.dtype == jnp.float32 else leaf,
            algorithm.init(key),
        )

    return begin(jax.random.key(0))


def _step(algorithm):
    """``(theta [P], carry) -> (meta-gradient [P], info)``, compiled, and theta as a vector."""
    state = _begun(algorithm)
    flat, unravel = raveled(state.theta)

    @jax.jit
    def step(point, carry):
        after, info = algorithm.step(KEY, state._replace(theta=unravel(point), carry=carry))
        return point - ravel_pytree(after.theta)[0], info, after.carry

    return step, flat, state.carry


def _assert_gradient(step, theta, carry, size=1e-5):
    gradient = np.asarray(step(theta, carry)[0])
    assert np.abs(gradient).max() > 1e-3, "a gradient of zero would prove nothing"
    directions = np.random.default_rng(3).normal(size=(4, theta.size))
    for direction in [*directions, gradient / np.linalg.norm(gradient)]:
        above, below = (step(theta + sign * size * direction, carry)[1]["loss"] for sign in (1, -1))
        difference = (above - below) / (2 * size)
        np.testing.assert_allclose(gradient @ direction, difference, rtol=1e-6, atol=1e-8)


# --- MAML and its relatives --------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"inner_steps": 2, "every_step": True}], ids=str)
def test_maml_on_sinusoids(options):
    algorithm = metajax.make(
        "maml", metajax.tasks.make("sinusoid"), activation="tanh", **REGRESSION, **options
    )
    step, theta, carry = _step(algorithm)
    _, info, _ = step(theta, carry)
    returns = info["returns"] if options else info["returns"][-1]
    np.testing.assert_allclose(info["loss"], -np.mean(returns), rtol=1e-12)
    _assert_gradient(step, theta, carry)


@pytest.mark.parametrize("name", ["fomaml", "reptile", "joint"])
def test_first_order_directions_by_hand(name):
    """On classes: the cross-entropy and its gradients written out here."""
    family = metajax.tasks.make("gaussian-blobs", num_classes=3, num_features=2)
    rate, steps = 0.3, {"fomaml": 2, "reptile": 2, "joint": 0}[name]
    algorithm = metajax.make(name, family, inner_lr=rate, inner_steps=steps, **REGRESSION)
    state = _begun(algorithm)
    network = networks.predictor(family.spec, networks.MLP((5, 4)))

    def loss(weights, examples):
        logits = network.apply(weights, examples.inputs)
        one_hot = jnp.eye(3)[examples.targets]
        return -jnp.mean(jnp.sum(one_hot * jax.nn.log_softmax(logits), axis=-1))

    def of_task(key):
        key_task, key_trial = jax.random.split(key)
        trial = algorithm.adapt(key_trial, state.theta, family.sample(key_task))
        weights = state.theta
        for index in range(steps):
            support = jax.tree.map(lambda leaf, index=index: leaf[index], trial.support)
            gradient = jax.grad(loss)(weights, support)
            weights = jax.tree.map(lambda w, g: w - rate * g, weights, gradient)
        if name == "reptile":
            return jax.tree.map(jnp.subtract, state.theta, weights)
        return jax.grad(loss)(weights, trial.query)

    tasks = jax.jit(jax.vmap(of_task))(jax.random.split(KEY, SIZES["num_tasks"]))
    expected = jax.tree.map(lambda leaf: np.mean(leaf, axis=0), jax.device_get(tasks))
    after, _ = jax.jit(algorithm.step)(KEY, state)
    state, after = jax.device_get((state, after))
    for leaf, start, end in zip(
        *map(jax.tree.leaves, (expected, state.theta, after.theta)), strict=True
    ):
        np.testing.assert_allclose(start - end, leaf, rtol=1e-9, atol=1e-12)


# --- Prototypical networks ---------------------------------------------------------------


def test_prototypical_logits_by_hand():
    """The embedding doubles its input, so that everything can be counted."""
    spec = metajax.DataSpec("points", (2,), 3, classes=True)
    double = networks.Predictor(lambda key: 2.0, lambda weights, inputs: weights * inputs)
    learner = inner.prototypes(spec, double)

    @jax.jit
    def run():
        inputs = jnp.array([[0.0, 0.0], [1.0, 1.0], [2.0, 0.0], [3.0, 1.0]])
        support = metajax.Examples(inputs, jnp.array([0, 1, 0, 1]))
        query = metajax.Examples(jnp.array([[1.0, 0.0], [2.0, 2.0]]), jnp.array([0, 1]))
        phi = learner.begin(KEY, 2.0)
        adapted = learner.adapt(KEY, 2.0, phi, support)
        return phi, adapted, learner.predict(2.0, adapted, query)

    phi, adapted, logits = run()
    np.testing.assert_array_equal(phi, np.zeros((3, 2)))
    np.testing.assert_array_equal(adapted, [[2, 0], [4, 2], [0, 0]])
    np.testing.assert_array_equal(logits, [[0, -8, -4], [-20, -4, -32]])


def test_prototypical_meta_gradient():
    family = metajax.tasks.make("gaussian-blobs", num_classes=3, num_features=2)
    algorithm = metajax.make(
        "prototypical", family, embedding_size=3, activation="tanh", **REGRESSION
    )
    _assert_gradient(*_step(algorithm))


# --- A learned optimiser -----------------------------------------------------------------


def test_truncated_gradient_of_a_learned_optimizer():
    """In the first window of optimisations, and in the next, which begins where that ended."""
    family = metajax.tasks.make("quadratics", size=3)
    algorithm = metajax.make("lstm-optimizer", family, second_order=True, **LSTM)
    step, theta, carry = _step(algorithm)
    _assert_gradient(step, theta, carry)
    _, _, later = step(theta, carry)
    assert np.abs(jax.tree.leaves(later.estimator.life.phi.rule)[0]).max() > 0
    _assert_gradient(step, theta, later)


def test_truncated_gradient_without_that_of_gradients_by_hand():
    """Andrychowicz et al. (2016), figure 2: the dashed edges are left out."""
    family = metajax.tasks.make("quadratics", size=3)
    algorithm = metajax.make("lstm-optimizer", family, **LSTM)
    state = _begun(algorithm)
    lives = state.carry.estimator.life

    def loss(weights, task):
        (kernel,) = jax.tree.leaves(weights)
        return jnp.mean((task.inputs @ kernel - task.targets) ** 2)

    def of_lives(theta):
        tx = inner.lstm_rule(theta, second_order=True)
        total = 0.0
        for index in range(SIZES["num_tasks"]):
            life = jax.tree.map(lambda leaf, index=index: leaf[index], lives)
            weights, rule = life.phi
            for number in range(LSTM["window"] + 1):
                total += loss(weights, life.task)
                if number < LSTM["window"]:
                    gradient = jax.grad(loss)(jax.lax.stop_gradient(weights), life.task)
                    step, rule = tx.update(gradient, rule)
                    weights = optax.apply_updates(weights, step)
        return total / SIZES["num_tasks"] / (LSTM["window"] + 1)

    expected, gradient = jax.jit(jax.value_and_grad(of_lives))(state.theta)
    after, info = jax.jit(algorithm.step)(KEY, state)
    gradient, state, after = jax.device_get((gradient, state, after))
    np.testing.assert_allclose(info["loss"], expected, rtol=1e-9)
    for leaf, start, end in zip(
        *map(jax.tree.leaves, (gradient, state.theta, after.theta)), strict=True
    ):
        np.testing.assert_allclose(start - end, leaf, rtol=1e-7, atol=1e-12)


def test_inputs_of_a_learned_optimizer_by_hand():
    gradients = np.array([1.0, -np.exp(-5.0), 0.0, 2 * np.exp(-11.0), -np.exp(20.0)])
    expected = [[0, 1], [-0.5, -1], [-1, 0], [-1, 2 / np.e], [2, -1]]
    np.testing.assert_allclose(jax.jit(inner.log_and_sign)(gradients), expected, rtol=1e-12)
    slopes = jax.jit(jax.vmap(jax.jacfwd(inner.log_and_sign)))(gradients)
    assert np.isfinite(slopes).all()


def test_the_window_is_shorter_than_an_optimization():
    with pytest.raises(metajax.OptionError, match=r"window: 8 is not possible; allowed: fewer"):
        LSTMOptimizer(inner_steps=8, window=8)
