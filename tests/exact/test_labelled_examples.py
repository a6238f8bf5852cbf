"""Meta-gradients on labelled examples, through the registered algorithms, in float64.

With SGD of rate 1 a meta-iteration moves theta by minus the meta-gradient, and reports the
meta-loss at the theta that it began from.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree
from vectors import raveled

import metajax
from metajax import inner, networks
from metajax.algorithms.optimizers.hand_designed import HandDesignedOptimizer
from metajax.algorithms.optimizers.lstm_optimizer import LSTMOptimizer

SIZES = {"num_tasks": 2, "optimizer": "sgd", "learning_rate": 1.0, "devices": 1}
REGRESSION = {**SIZES, "num_streams": 5, "num_query": 7, "hidden_sizes": (5, 4)}
OPTIMIZER = {**SIZES, "num_streams": 3, "inner_steps": 8, "window": 3}
LSTM = {**OPTIMIZER, "lstm_size": 3}
MLP = {**OPTIMIZER, "rule_sizes": (4, 3), "output_scale": 1.0}
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


@pytest.mark.parametrize(
    "options",
    [pytest.param({}, marks=pytest.mark.further), {"inner_steps": 2, "every_step": True}],
    ids=str,
)
def test_maml_on_sinusoids(options):
    algorithm = metajax.make(
        "maml", metajax.tasks.make("sinusoid"), activation="tanh", **REGRESSION, **options
    )
    step, theta, carry = _step(algorithm)
    _, info, _ = step(theta, carry)
    returns = info["returns"] if options else info["returns"][-1]
    np.testing.assert_allclose(info["loss"], -np.mean(returns), rtol=1e-12)
    _assert_gradient(step, theta, carry)


@pytest.mark.parametrize(
    "name", [pytest.param("fomaml", marks=pytest.mark.further), "reptile", "joint"]
)
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


# --- Metric learners ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("prototypical", {}),
        pytest.param("matching", {"context_steps": 2}, marks=pytest.mark.further),
        ("relation", {}),
    ],
)
def test_meta_gradient_through_comparisons(name, options):
    family = metajax.tasks.make("gaussian-blobs", num_classes=3, num_features=2)
    sizes = {"embedding_size": 3, "activation": "tanh", **REGRESSION, **options}
    _assert_gradient(*_step(metajax.make(name, family, **sizes)))


# --- A learned optimiser -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options"),
    [
        pytest.param("lstm-optimizer", LSTM, marks=pytest.mark.further),
        ("mlp-optimizer", MLP),
    ],
    ids=["lstm", "mlp"],
)
def test_truncated_gradient_of_a_learned_optimizer(name, options):
    """In the first window of optimisations, and in the next, which begins where that ended."""
    family = metajax.tasks.make("quadratics", size=3)
    algorithm = metajax.make(name, family, second_order=True, **options)
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

        def of_life(life):
            weights, rule = life.phi
            total = loss(weights, life.task)
            for _ in range(LSTM["window"]):
                gradient = jax.grad(loss)(jax.lax.stop_gradient(weights), life.task)
                step, rule = tx.update(gradient, rule)
                weights = optax.apply_updates(weights, step)
                total += loss(weights, life.task)
            return total / (LSTM["window"] + 1)

        return jnp.mean(jax.vmap(of_life)(lives))

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


def test_steps_of_an_mlp_rule_by_hand():
    """Two steps on a matrix, written out here."""
    rng = np.random.default_rng(0)
    gradients, weights = rng.normal(size=(2, 2, 3)), rng.normal(size=(2, 3))

    @jax.jit
    def run(key):
        theta = jax.tree.map(jnp.float64, inner.init_mlp_rule(key, hidden_sizes=(5,)))
        tx = inner.mlp_rule(theta, scale=0.3)
        first, state = tx.update(gradients[0], tx.init(weights), weights)
        return theta, first, tx.update(gradients[1], state, weights)[0]

    theta, *steps = jax.device_get(run(KEY))
    decays = np.array([0.5, 0.9, 0.99, 0.999, 0.9999])[:, None, None]
    momenta, squares = 0.0, 0.0
    for count, (gradient, step) in enumerate(zip(gradients, steps, strict=True)):
        momenta = decays * momenta + (1 - decays) * gradient
        squares = 0.999 * squares + 0.001 * gradient**2
        inverse = 1 / np.sqrt(squares + 1e-8)
        known = np.stack([gradient, weights, inverse, *momenta, *(momenta * inverse)])
        known /= np.sqrt(np.mean(known**2, axis=(1, 2), keepdims=True) + 1e-5)
        scales = np.array([1, 3, 10, 30, 100, 300, 1e3, 3e3, 1e4, 3e4, 1e5])
        time = np.tanh(count / scales - 1)
        for row, column in np.ndindex(2, 3):
            hidden = np.append(known[:, row, column], time)
            hidden = np.maximum(hidden @ theta[0]["kernel"] + theta[0]["bias"], 0)
            direction, magnitude = hidden @ theta[1]["kernel"] + theta[1]["bias"]
            expected = 0.3 * direction * np.exp(1e-3 * magnitude)
            np.testing.assert_allclose(step[row, column], expected, rtol=1e-5)


def test_the_window_is_shorter_than_an_optimization():
    with pytest.raises(metajax.OptionError, match=r"window: 8 is not possible; allowed: fewer"):
        LSTMOptimizer(inner_steps=8, window=8)


def test_steps_of_hand_designed_optimizers_by_hand():
    """Two steps of each."""
    rng = np.random.default_rng(0)
    (first, second), rate, decay = rng.normal(size=(2, 3)), 0.1, 0.8
    # By the formulas of Tieleman and Hinton (2012) and of Kingma and Ba (2015).
    squares = 0.1 * first**2, 0.09 * first**2 + 0.1 * second**2
    mean = (0.09 * first + 0.1 * second) / (1 - 0.9**2)
    variance = (0.000999 * first**2 + 0.001 * second**2) / (1 - 0.999**2)
    expected: dict[Any, Any] = {
        "sgd": (first, second),
        "momentum": (first, decay * first + second),
        "nag": ((1 + decay) * first, second + decay * (decay * first + second)),
        "rmsprop": (first / np.sqrt(squares[0]), second / np.sqrt(squares[1])),
        "adam": (np.sign(first), mean / np.sqrt(variance)),
    }

    @jax.jit
    def run(theta, gradients):
        found = {}
        for name in expected:
            options = HandDesignedOptimizer(inner_optimizer=name, momentum=decay)
            tx, found[name] = options.optimizer_of(theta), []
            state = tx.init(gradients[0])
            for gradient in gradients:
                step, state = tx.update(gradient, state)
                found[name].append(step)
        return found

    found = jax.device_get(run({"inner_lr": rate}, (first, second)))
    for name, steps in expected.items():
        np.testing.assert_allclose(found[name], -rate * np.array(steps), rtol=1e-5, err_msg=name)


# --- The LSTM whose cell state are the weights --------------------------------------------


def test_a_step_of_a_meta_lstm_by_hand():
    """The second step of one weight, after gates that were not zero."""
    gradients, values, weight = np.array([0.7, -0.2]), np.array([1.3, 0.4]), np.array([0.6])

    @jax.jit
    def run(key):
        theta = inner.init_meta_lstm_rule(key, hidden_size=3, rate=0.2)
        theta = jax.tree.map(lambda leaf: jnp.float64(leaf) + 0.1, theta)
        tx = inner.meta_lstm_rule(theta)
        weights, state, found = jnp.asarray(weight), tx.init(weight), []
        for gradient, value in zip(gradients, values, strict=True):
            steps, state = tx.update(gradient[None], state, weights, value=value)
            weights = optax.apply_updates(weights, steps)
            found.append(weights)
        return theta, *found

    theta, *found = jax.device_get(run(KEY))
    layer = theta["layer"]

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    hidden, cell, gates, cells = np.zeros(3), np.zeros(3), {"input": 0.0, "forget": 0.0}, weight[0]
    assert np.isclose(sigmoid(theta["input"]["bias"] - 0.1), 0.2)
    for gradient, value, after in zip(gradients, values, found, strict=True):
        inputs = [np.log(abs(gradient)) / 10, np.sign(gradient), np.log(value) / 10, 1.0]
        pre = inputs @ layer["input"] + hidden @ layer["hidden"] + layer["bias"]
        enter, forget, candidate, leave = np.split(pre, 4)
        cell = sigmoid(forget) * cell + sigmoid(enter) * np.tanh(candidate)
        hidden = sigmoid(leave) * np.tanh(cell)
        for name, gate in gates.items():
            read = np.array([*hidden, cells, gate])
            gates[name] = sigmoid(read @ theta[name]["kernel"] + theta[name]["bias"])
        cells = gates["forget"] * cells - gates["input"] * gradient
        np.testing.assert_allclose(after, [cells], rtol=1e-6)


def _meta_lstm(**options):
    return metajax.make(
        "lstm-meta-learner",
        metajax.tasks.make("sinusoid"),
        activation="tanh",
        inner_steps=2,
        inner_lr=0.2,
        lstm_size=3,
        **{**REGRESSION, **options},
    )


def test_meta_gradient_of_the_lstm_meta_learner():
    _assert_gradient(*_step(_meta_lstm(second_order=True)))


def test_first_order_meta_gradient_of_the_lstm_meta_learner_by_hand():
    """Gradients and losses that were met are constants; weights and gates are not."""
    algorithm = _meta_lstm(num_tasks=1)
    state, family = _begun(algorithm), algorithm.family
    network = networks.predictor(family.spec, networks.MLP((5, 4), "tanh"))

    def loss(weights, examples):
        return jnp.mean((network.apply(weights, examples.inputs) - examples.targets) ** 2)

    @jax.jit
    def by_hand(key):
        key_task, key_trial = jax.random.split(jax.random.split(key, 1)[0])
        trial = algorithm.adapt(key_trial, state.theta, family.sample(key_task))
        support = jax.tree.map(lambda leaf: leaf[0], trial.support)

        def met(theta):
            """What the two steps see."""
            tx = inner.meta_lstm_rule(theta["rule"])
            weights, rule, seen = theta["weights"], None, []
            for _ in range(2):
                value, gradient = jax.value_and_grad(loss)(weights, support)
                seen.append((value, gradient))
                rule = tx.init(weights) if rule is None else rule
                steps, rule = tx.update(gradient, rule, weights, value=value)
                weights = optax.apply_updates(weights, steps)
            return seen

        def after(theta, seen):
            tx = inner.meta_lstm_rule(theta["rule"], second_order=True)
            weights = theta["weights"]
            rule = tx.init(weights)
            for value, gradient in seen:
                steps, rule = tx.update(gradient, rule, weights, value=value)
                weights = optax.apply_updates(weights, steps)
            return loss(weights, trial.query)

        expected = jax.grad(after)(state.theta, met(state.theta))
        return expected, algorithm.step(key, state)[0].theta

    expected, after = jax.device_get(by_hand(KEY))
    for leaf, start, end in zip(
        *map(jax.tree.leaves, (expected, jax.device_get(state.theta), after)), strict=True
    ):
        np.testing.assert_allclose(start - end, leaf, rtol=1e-7, atol=1e-12)
