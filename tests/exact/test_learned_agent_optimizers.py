"""Learned optimisers of agents: their inputs and steps by hand, and the gradient through agents."""

import functools

import jax
import jax.numpy as jnp
import mdp
import numpy as np
import optax
import pytest
from vectors import raveled

import metajax
from metajax import inner, networks
from metajax.core.family import Discrete, Spec
from metajax.core.problem import Noise
from metajax.outer.gradient.truncated import Window, window_loss

KEY = jax.random.key(0)
SPEC = Spec("states", (3,), Discrete(2), 5)


# --- Inputs ------------------------------------------------------------------------------


def test_places_of_layers():
    torso = networks.MLP((4,) * 11)
    policy = networks.policy(SPEC, torso, value_network=networks.MLP((4,)))
    values = networks.q_network(SPEC, networks.MLP((4, 4)), dueling=True)
    weights = jax.eval_shape(lambda: (policy.init(KEY), values.init(KEY)))
    of_policy, of_values = (inner.layer_places(one) for one in weights)
    assert of_policy["policy"]["torso"] == {
        f"Dense_{index}": {"bias": index / 11, "kernel": index / 11} for index in range(11)
    }
    assert of_policy["policy"]["Dense_0"] == {"bias": 1.0, "kernel": 1.0}
    assert of_policy["value"]["torso"]["Dense_0"]["kernel"] == 0
    assert of_policy["value"]["Dense_0"]["kernel"] == 1
    assert of_values["torso"]["Dense_1"]["bias"] == 0.5
    assert of_values["value"] == of_values["advantage"] == {"bias": 1.0, "kernel": 1.0}
    plain = {"params": {"Dense_0": {"kernel": 0.0}, "Dense_1": {"kernel": 0.0}}}
    assert inner.layer_places(plain)["params"]["Dense_1"]["kernel"] == 1
    assert inner.layer_places({"matrix": 0.0, "number": 0.0}) == {"matrix": 0, "number": 0}


def test_dormancy_by_hand():
    """Of a rectifier that is off, of one that is on, and of a head, which has no rectifier."""
    kernel = np.array([[1.0, -1.0, 2.0], [0.0, -2.0, 0.0], [1.0, 0.0, -1.0]], np.float32)
    head = np.array([[1.0, -1.0], [0.0, 3.0], [0.5, 0.5]], np.float32)
    weights = {
        "torso": {"Dense_0": {"kernel": kernel, "bias": np.zeros(3, np.float32)}},
        "advantage": {"kernel": head, "bias": np.array([0.0, -9.0], np.float32)},
        "scale": np.float32(2.0),
    }
    observation = np.array([[1.0, 1.0, 0.0], [2.0, 0.0, 1.0]], np.float32)
    hidden = np.maximum(observation @ kernel, 0).mean(axis=0)
    np.testing.assert_array_equal(hidden, [2.0, 0.0, 2.5])
    output = np.abs(np.maximum(observation @ kernel, 0) @ head + [0, -9]).mean(axis=0)
    activity = networks.q_network(SPEC, networks.MLP((3,))).activity
    assert activity is not None

    @jax.jit
    def run(weights):
        active = activity(
            {name: leaf for name, leaf in weights.items() if name != "scale"},
            jnp.asarray(observation),
        )
        return inner.dormancy(weights, active)

    found = run(weights)
    for part in ("kernel", "bias"):
        np.testing.assert_allclose(found["torso"]["Dense_0"][part], [4 / 3, 0, 5 / 3], rtol=1e-5)
        np.testing.assert_allclose(found["advantage"][part], output / output.mean(), rtol=1e-5)
    assert found["scale"] == 1


# --- Steps -------------------------------------------------------------------------------

INPUTS = ("layer", "dormancy", "progress")


def _weights(rng):
    """A policy's hidden layer of two units and its head, and a value's head."""
    layers = {"torso": {"Dense_0": {"kernel": rng.normal(size=(3, 2))}}}
    head = {"Dense_0": {"bias": rng.normal(size=2)}}
    return {"policy": {**layers, **head}, "value": {"kernel": rng.normal(size=(2, 1))}}


def test_steps_with_what_is_told_by_hand():
    """The second step of a rule with further inputs, a nominal optimiser and noise."""
    rng = np.random.default_rng(0)
    weights, *gradients = (_weights(rng) for _ in range(3))
    dormancy = jax.tree.map(lambda leaf: rng.uniform(size=leaf.shape[-1:]), weights)

    @jax.jit
    def run():
        options = {"inputs": INPUTS, "nominal": True, "noise": True}
        shapes = inner.init_mlp_rule(KEY, hidden_sizes=(5,), **options)
        theta = jax.tree.map(
            lambda leaf: jax.random.normal(jax.random.fold_in(KEY, leaf.size), leaf.shape, float),
            shapes,
        )
        tx = inner.mlp_rule(
            theta,
            scale=0.3,
            inputs=INPUTS,
            horizon=4,
            nominal=optax.sgd(0.2),
            noise="policy",
        )
        state = tx.init(weights)
        _, state = tx.update(gradients[0], state, weights, dormancy=dormancy, key=KEY)
        steps, _ = tx.update(gradients[1], state, weights, dormancy=dormancy, key=KEY)
        leaves, structure = jax.tree.flatten(weights["policy"])
        keys = structure.unflatten(list(jax.random.split(KEY, len(leaves))))
        drawn = jax.tree.map(
            lambda key, leaf: jax.random.normal(key, leaf.shape, float), keys, weights["policy"]
        )
        return theta, steps, drawn

    theta, steps, drawn = jax.device_get(run())
    noise = {"policy": drawn, "value": {"kernel": np.zeros((2, 1))}}
    places = {
        "policy": {"torso": {"Dense_0": {"kernel": 0.0}}, "Dense_0": {"bias": 1.0}},
        "value": {"kernel": 0.0},
    }

    def check(step, weight, first, second, dormancy, place, noise):
        decays = np.array([0.5, 0.9, 0.99, 0.999, 0.9999]).reshape(-1, *(1,) * weight.ndim)
        momenta = decays * (1 - decays) * first + (1 - decays) * second
        squares = 0.999 * 0.001 * first**2 + 0.001 * second**2
        inverse = 1 / np.sqrt(squares + 1e-8)
        known = np.stack([second, weight, inverse, *momenta, *(momenta * inverse)])
        axes = tuple(range(1, known.ndim))
        known /= np.sqrt(np.mean(known**2, axis=axes, keepdims=True) + 1e-5)
        for index in np.ndindex(weight.shape):
            told = [place, dormancy[index[-1]], 1 / 4]
            hidden = np.append(known[(slice(None), *index)], told)
            hidden = np.maximum(hidden @ theta[0]["kernel"] + theta[0]["bias"], 0)
            out = hidden @ theta[1]["kernel"] + theta[1]["bias"]
            expected = 0.3 * out[0] * np.exp(1e-3 * out[1]) - 0.2 * second[index] * np.exp(out[2])
            expected += 0.3 * out[3] * noise[index]
            np.testing.assert_allclose(step[index], expected, rtol=1e-5)

    jax.tree.map(check, steps, weights, *gradients, dormancy, places, noise)


@pytest.mark.parametrize("rule", ["mlp", "lstm"])
def test_a_rule_begins_as_its_nominal_optimizer(rule):
    rng = np.random.default_rng(0)
    weights = jax.tree.map(np.float32, _weights(rng))
    adam = optax.adam(0.1)

    @jax.jit
    def run(gradients):
        if rule == "mlp":
            theta = inner.init_mlp_rule(KEY, hidden_sizes=(5,), nominal=True)
            learned = inner.mlp_rule(theta, nominal=adam)
        else:
            theta = inner.init_lstm_rule(KEY, hidden_size=3, nominal=True)
            learned = inner.lstm_rule(theta, nominal=adam)
        found = []
        for tx in (learned, adam):
            state, steps = tx.init(weights), []
            for one in gradients:
                step, state = tx.update(one, state, weights)
                steps.append(step)
            found.append(steps)
        return found

    found, expected = run([jax.tree.map(np.float32, _weights(rng)) for _ in range(3)])
    for one, other in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_what_a_rule_needs_is_named():
    weights = jax.tree.map(np.float32, _weights(np.random.default_rng(0)))

    def update(inputs=(), noise=None, params=weights, **given):
        theta = inner.init_mlp_rule(KEY, hidden_sizes=(), inputs=inputs, noise=noise is not None)
        tx = inner.mlp_rule(theta, inputs=inputs, noise=noise)
        return tx.update(weights, tx.init(weights), params, **given)

    with pytest.raises(ValueError, match="needs the weights"):
        jax.eval_shape(functools.partial(update, params=None))
    with pytest.raises(ValueError, match="needs dormancy"):
        jax.eval_shape(functools.partial(update, inputs=("dormancy",)))
    with pytest.raises(ValueError, match="needs key"):
        jax.eval_shape(functools.partial(update, noise="policy"))
    with pytest.raises(ValueError, match="needs horizon"):
        inner.mlp_rule([], inputs=("progress",))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "l2o-actor-critic",
            {"window": 4, "lifetime": 64, "estimator": "pes"},
            "window: 4 .* lifetime",
        ),
        ("l2o-actor-critic", {"inner_optimizer": "lstm", "rule_sizes": (2, 3)}, "rule_sizes"),
        ("l2o-actor-critic", {"inner_optimizer": "lstm", "exploration": True}, "exploration"),
        ("l2o-dqn", {"conv_filters": (2,)}, "inputs"),
    ],
)
def test_what_does_not_fit_is_refused(name, options, message):
    family = metajax.tasks.make("catch", rows=4, columns=3)
    with pytest.raises(metajax.OptionError, match=message):
        metajax.make(name, family, **{"num_streams": 2, "num_steps": 8, **options})


# --- The gradient through an agent ---------------------------------------------------------


@pytest.mark.slow
def test_truncated_gradient_through_updates_of_an_agent():
    """By finite differences of the loss of a window, whose experience is fixed.

    The advantages in the loss are those of the agent that met each chunk, the ones that a chunk
    brings along; the advantages in the updates depend on theta.
    """
    algorithm = metajax.make(
        "l2o-actor-critic",
        mdp.family_of(mdp.STOCHASTIC),
        estimator="truncated",
        second_order=True,
        inputs=("progress", "layer"),
        output_scale=0.3,
        inner_lr=0.1,
        rule_sizes=(2,),
        hidden_sizes=(),
        window=2,
        num_tasks=1,
        num_streams=2,
        num_steps=3,
        lifetime=24,
    )
    learner, problem = algorithm.learner, algorithm.problem
    assert learner.actor is not None
    fixed = learner._replace(actor=learner.actor._replace(annotate=lambda theta, phi, chunk: chunk))
    loss = inner.ActorCriticSettings(discount=0.99).loss

    def begun():
        theta = learner.init(KEY)
        leaves, structure = jax.tree.flatten(theta)
        keys = jax.random.split(KEY, len(leaves))
        return structure.unflatten(
            [
                0.3 * jax.random.normal(key, leaf.shape, float)
                for key, leaf in zip(keys, leaves, strict=True)
            ]
        )

    flat, unravel = raveled(jax.jit(begun)())

    @jax.jit
    def windowed(point):
        theta, keys = unravel(point), jax.random.split(KEY, 3)
        task = problem.family.sample(KEY)
        life = problem.start(KEY, theta, task)
        phi = jax.tree.map(
            lambda leaf: leaf.astype(float) if leaf.dtype == jnp.float32 else leaf, life.phi
        )
        life = life._replace(phi=phi)
        # The keys of adaptations are those that a replay draws.
        adapt = jnp.append(jax.random.split(KEY, 2), KEY)
        _, chunks, _ = problem.proceed(Noise(keys, adapt), theta, life)
        support, query = (
            jax.tree.map(take, chunks) for take in (lambda x: x[:-1], lambda x: x[-1])
        )
        return jax.lax.stop_gradient(Window(phi, support, query, KEY))

    @jax.jit
    def found(point, item):
        def by(judge, theta):
            return window_loss(learner, judge, learner.adapt, loss, None, True, theta, item)[0]

        theta = unravel(point)
        return by(fixed, theta), *jax.value_and_grad(functools.partial(by, learner))(theta)

    item = windowed(flat)
    same, base, gradient = found(flat, item)
    gradient, _ = raveled(gradient)
    np.testing.assert_allclose(base, same, rtol=1e-9)
    assert np.abs(gradient).max() > 1e-4, "a gradient of zero would prove nothing"
    directions = np.random.default_rng(3).normal(size=(3, flat.size))
    for direction in [*directions, gradient / np.linalg.norm(gradient)]:
        above, below = (found(flat + sign * 1e-6 * direction, item)[0] for sign in (1, -1))
        np.testing.assert_allclose(
            gradient @ direction, (above - below) / 2e-6, rtol=1e-5, atol=1e-8
        )
