"""A learned objective against plain loops, updates by hand and finite differences."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import mdp
import numpy as np
import optax
import pytest
import windows

from metajax import inner, losses, networks, outer
from metajax.core.layout import Layout
from metajax.data.lifetime import lifetime
from metajax.networks.learned_targets import unroll_back
from metajax.networks.recurrent import Weights

NUM_PREDICTIONS, NUM_STEPS, NUM_STREAMS, WINDOW = 2, 4, 2, 2
RATE, MATCH, DISCOUNT = 0.5, 0.3, 0.9
JUDGE = inner.ActorCriticSettings(discount=DISCOUNT, gae_lambda=0.8, value_coefficient=0.2)
REGULARIZERS = {
    "policy_entropy": 0.3,
    "prediction_entropy": 0.2,
    "policy_target": 0.1,
    "prediction_target": 0.4,
}
FAMILY = mdp.family_of(mdp.STOCHASTIC)
POLICY = networks.policy(FAMILY.spec, networks.MLP(()), value_network=networks.MLP(()))
PREDICTIONS = networks.readout(FAMILY.spec, networks.MLP(()), NUM_PREDICTIONS)
OBJECTIVE = networks.LearnedTargets(NUM_PREDICTIONS, 3, 2, DISCOUNT)


def _step(random, shape=(NUM_STEPS, NUM_STREAMS)):
    fields: dict[str, Any] = {
        "reward": random.normal(size=shape),
        "terminated": np.zeros(shape, bool),
        "ended": np.zeros(shape, bool),
        "probability": random.uniform(size=shape),
        "prediction": random.dirichlet(np.ones(NUM_PREDICTIONS), shape),
        "next_prediction": random.dirichlet(np.ones(NUM_PREDICTIONS), shape),
    }
    return networks.Step(**fields)


def test_the_lstm_reads_back_in_time_and_begins_anew_with_every_episode():
    random, size = np.random.default_rng(0), 3
    shapes: list[Any] = [(2, 4 * size), (size, 4 * size), (4 * size,)]
    weights: Any = Weights(*(random.normal(size=shape) for shape in shapes))
    xs, ended = random.normal(size=(5, 2, 2)), np.zeros((5, 2), bool)
    ended[2, 0] = ended[4, 1] = ended[1, 1] = True
    found = jax.jit(unroll_back)(weights, xs, ended)
    for stream in range(2):
        hidden = cell = np.zeros(size)
        for step in reversed(range(5)):
            if ended[step, stream]:
                hidden = cell = np.zeros(size)
            gates = xs[step, stream] @ weights.input + hidden @ weights.hidden + weights.bias
            enter, forget, candidate, leave = np.split(gates, 4)
            enter, forget, leave = (1 / (1 + np.exp(-one)) for one in (enter, forget, leave))
            cell = forget * cell + enter * np.tanh(candidate)
            hidden = leave * np.tanh(cell)
            np.testing.assert_allclose(found[step, stream], hidden, rtol=1e-10)


@pytest.fixture(scope="module")
def theta():
    with jax.enable_x64(True):
        random = np.random.default_rng(1)
        initial = jax.jit(OBJECTIVE.init)(jax.random.key(0), _step(random))
        return jax.tree.map(lambda leaf: leaf + 0.3 * random.normal(size=leaf.shape), initial)


def test_what_is_told_of_a_step(theta):
    """Nothing of another episode, and no prediction behind the end of this one."""
    random = np.random.default_rng(2)
    step = _step(random)
    step.ended[1], step.terminated[1] = True, True
    other = step._replace(
        reward=np.where(np.arange(NUM_STEPS)[:, None] > 1, 9.0, step.reward),
        next_prediction=np.where(step.terminated[..., None], 0.5, step.next_prediction),
    )
    apply = jax.jit(OBJECTIVE.apply)
    one, two = jax.device_get((apply(theta, step), apply(theta, other)))
    for left, right in zip(one, two, strict=True):
        np.testing.assert_array_equal(left[:2], right[:2])
        assert (left[2:] != right[2:]).all()


LEARNER = inner.objective_learner(
    POLICY,
    PREDICTIONS,
    OBJECTIVE,
    _step(np.random.default_rng(0)),
    optimizer=optax.sgd(RATE),
    judge=JUDGE,
    prediction_coefficient=MATCH,
)
START = LEARNER.begin


def _begin(key, theta):
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float64), START(key, theta))


LEARNER = LEARNER._replace(begin=_begin)
PROBLEM = lifetime(FAMILY, LEARNER, num_adaptations=9, num_streams=NUM_STREAMS, num_steps=NUM_STEPS)


def _of_agent(weights, chunk):
    """Log-probabilities of the actions, of all actions, of predictions now and next; values."""

    def linear(name, observation):
        head = weights[name]["Dense_0"]
        return observation @ head["kernel"] + head["bias"]

    seen, then = chunk.observation, chunk.next_observation
    log_policy = jax.nn.log_softmax(linear("policy", seen))
    log_prob = jnp.take_along_axis(log_policy, chunk.action[..., None], axis=-1)[..., 0]
    now, later = (jax.nn.log_softmax(linear("prediction", one)) for one in (seen, then))
    value, after = (linear("value", one)[..., 0] for one in (seen, then))
    return log_prob, log_policy, now, later, value, after


def _targets(theta, weights, chunk):
    log_prob, _, now, later, _, _ = _of_agent(weights, chunk)
    step = networks.Step(
        chunk.reward,
        chunk.terminated,
        chunk.terminated | chunk.truncated,
        jnp.exp(log_prob),
        jnp.exp(now),
        jnp.exp(later),
    )
    found: Any = OBJECTIVE.apply(theta, step)
    weight, logits = found
    return weight, jax.nn.log_softmax(logits)


def _advantages(weights, chunk):
    """Time limits bootstrap; so does the end of the chunk."""
    _, _, _, _, value, after = _of_agent(weights, chunk)
    error = chunk.reward + DISCOUNT * after - value
    found, following = [], jnp.zeros(NUM_STREAMS)
    for step in reversed(range(NUM_STEPS)):
        following = error[step] + DISCOUNT * 0.8 * following * ~chunk.truncated[step]
        found.append(following)
    return jax.lax.stop_gradient(jnp.stack(found[::-1])), jax.lax.stop_gradient(value)


@jax.jit
def _updated(theta, weights, chunk):
    """One step, the loss of each part written down by hand."""
    weight, target = _targets(theta, weights, chunk)
    advantage, before = _advantages(weights, chunk)

    def loss(weights):
        log_prob, _, now, _, value, _ = _of_agent(weights, chunk)
        divergence = jnp.sum(jnp.exp(now) * (now - target), axis=-1)
        error = 0.5 * 0.2 * (value - before - advantage) ** 2
        return jnp.mean(-weight * log_prob + MATCH * divergence + error)

    slopes = jax.grad(loss)(weights)
    return jax.tree.map(lambda one, slope: one - RATE * slope, weights, slopes)


@jax.jit
def _judged(theta, weights, fixed, chunk):
    """The policy gradient with the advantages of a fixed agent, and the regularisers."""
    log_prob, log_policy, now, _, _, _ = _of_agent(weights, chunk)
    weight, target = _targets(theta, weights, chunk)
    more = 0.1 * weight**2 + 0.4 * jnp.sum(jnp.exp(target) ** 2, axis=-1)
    for scale, surprise in ((0.3, log_policy), (0.2, now)):
        more += scale * jnp.sum(jnp.exp(surprise) * surprise, axis=-1)
    return jnp.mean(-log_prob * _advantages(fixed, chunk)[0]), jnp.mean(more)


def _by_hand(theta, base, item):
    """The meta-objective of a window; advantages are those of the agent under ``base``."""
    chunks = [jax.tree.map(lambda leaf, i=i: leaf[i], item.support) for i in range(WINDOW)]
    weights = fixed = item.phi.fast
    total = 0.0
    for chunk in chunks:
        total += _judged(theta, weights, fixed, chunk)[1]
        weights, fixed = _updated(theta, weights, chunk), _updated(base, fixed, chunk)
    loss, last = _judged(theta, weights, fixed, item.query)
    return loss + (total + last) / (WINDOW + 1), loss, weights


@pytest.mark.further
def test_the_meta_gradient_is_that_of_finite_differences(theta):
    """Through two updates, their LSTM and all regularisers, in one random direction and theta."""
    estimator = outer.truncated(
        PROBLEM,
        Layout.build(1, num_devices=1, whole=True),
        losses.score_loss,
        window=WINDOW,
        step_loss=inner.objective_regularizer(**REGULARIZERS),
    )

    @jax.jit
    def run(theta):
        found, item, after = windows.estimated(estimator, PROBLEM, WINDOW, theta)
        return found, item, after.life.phi

    (gradient, _, info), item, phi = jax.device_get(run(theta))
    assert item.support.truncated.any(), "an episode ends within the window"
    _, loss, weights = _by_hand(theta, theta, item)
    np.testing.assert_allclose(info["loss"], loss, rtol=1e-9)
    lived = _updated(theta, weights, item.query)
    for one, other in zip(*map(jax.tree.leaves, (lived, phi.fast)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9)
    random, size = np.random.default_rng(3), 1e-5
    for _ in range(3):
        way = jax.tree.map(lambda leaf: random.normal(size=leaf.shape), theta)
        above, below = (
            _by_hand(jax.tree.map(lambda a, b, s=s: a + s * b, theta, way), theta, item)[0]
            for s in (size, -size)
        )
        pairs = zip(*map(jax.tree.leaves, (gradient, way)), strict=True)
        slope = sum(np.sum(np.asarray(one) * other) for one, other in pairs)
        np.testing.assert_allclose(slope, (above - below) / (2 * size), rtol=1e-6)
    leaves = itertools.chain(jax.tree.leaves(gradient))
    assert min(np.abs(np.asarray(leaf)).max() for leaf in leaves) > 1e-7
