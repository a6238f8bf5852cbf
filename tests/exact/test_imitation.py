"""Policies of demonstrations, and cloning, against sums that are written out here."""

from typing import Any

import jax
import numpy as np

import metajax
from metajax import inner, losses, networks
from metajax.inner.imitation import encoded

KEY = jax.random.key(0)
SPEC = metajax.Spec("squares", (2,), metajax.Discrete(3), 2)
DOUBLE = networks.Predictor(lambda key: 2.0, lambda weights, rows: weights * rows)
SUM = networks.Predictor(lambda key: 1.0, lambda weights, rows: weights * rows @ np.ones((5, 2)))
ITSELF = networks.Policy(lambda key: (), lambda weights, rows: rows, None, networks.categorical(7))
"""A head whose logits are its inputs."""
OBSERVATION = np.array([[[0.0, 0.0], [1.0, 0.0]], [[0.0, 0.5], [9.0, 9.0]]])
ACTION = np.array([[0, 1], [2, 2]])
MASK = np.array([[True, True], [True, False]])
SEEN: Any = np.array([0.5, 0.0])


def _chunk(observation: Any, action: Any, mask: Any) -> metajax.Chunk:
    no: Any = np.zeros(mask.shape)
    return metajax.Chunk(observation, action, no, no > 0, no > 0, mask, no)


def _logits(learner, theta):
    """Of ``SEEN``, before and after the demonstrations: as a chunk is predicted, and acted on."""
    query = _chunk(SEEN[None, None], np.zeros((1, 1), int), np.ones((1, 1), bool))
    noise: Any = np.zeros(())
    seen = metajax.ActorInput(SEEN, noise, noise, noise)

    @jax.jit
    def run(theta):
        phi = learner.begin(KEY, theta)
        found = []
        for one in (phi, learner.adapt(KEY, theta, phi, _chunk(OBSERVATION, ACTION, MASK))):
            predicted = learner.predict(theta, one, query).distribution[0, 0]
            acted, _ = learner.actor.act(noise, theta, one, (), seen)
            found.append((predicted, acted.mode))
        return found

    before, after = jax.device_get(run(theta))
    for logits, mode in (before, after):
        assert mode == np.argmax(logits)
    return before[0], after[0]


def test_attention_to_demonstrated_steps_by_hand():
    learner = inner.matching_policy(SPEC, DOUBLE, ITSELF, num_steps=4)
    before, after = _logits(learner, {"embedding": 2.0, "head": ()})
    np.testing.assert_array_equal(before, [1, 0, 0, 0, 0, 0, 0])
    # Doubled, the distances are 1 to the left and to the right, and sqrt(2) to the third.
    weights = np.exp([-1, -1, -2]) / np.exp([-1, -1, -2]).sum()
    embedded = np.array([[0, 0], [2, 0], [0, 1]])
    expected = [1, 0, *(weights @ embedded), *weights]
    np.testing.assert_allclose(after, expected, rtol=1e-6)


def test_a_prototype_of_demonstrated_steps_by_hand():
    learner = inner.pooled_policy(SPEC, DOUBLE, SUM, ITSELF)
    before, after = _logits(learner, {"embedding": 2.0, "step": 1.0, "head": ()})
    np.testing.assert_array_equal(before, [1, 0, 0, 0])
    # Each step is the sum of its doubled position and of one, for its action: 1, 3 and 2.
    np.testing.assert_allclose(after, [1, 0, 2, 2], rtol=1e-6)


def test_continuous_actions_are_read_within_their_bounds():
    spec = metajax.Spec("box", (1,), metajax.Box((-0.1, 0.0), (0.1, 4.0)), 1)
    actions: Any = np.array([[0.1, 1.0], [-0.1, 2.0]])
    read = jax.device_get(encoded(spec, actions))
    np.testing.assert_allclose(read, [[1, -0.5], [-1, 0]], atol=1e-6)


def test_the_gradient_of_cloning_is_probability_less_choice():
    logits = np.array([[[1.0, 0.0, -1.0], [0.5, 0.5, 0.0]], [[2.0, 1.0, 0.0], [0.0, 9.0, 9.0]]])
    policy = networks.Policy(
        lambda key: logits.reshape(4, 3),
        lambda weights, observation: weights,
        None,
        networks.categorical(3),
    )
    chunk = _chunk(OBSERVATION, ACTION, MASK)

    def loss(weights):
        return losses.cloning_loss(inner.policy_outputs(policy)(weights, chunk), chunk)

    value, gradient = jax.device_get(jax.jit(jax.value_and_grad(loss))(policy.init(KEY)))
    probability = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    chosen = np.eye(3)[ACTION]
    errors = -np.log((probability * chosen).sum(axis=-1))
    np.testing.assert_allclose(value, errors[MASK].mean(), rtol=1e-6)
    expected = np.where(MASK[..., None], probability - chosen, 0) / 3
    np.testing.assert_allclose(gradient.reshape(2, 2, 3), expected, atol=1e-6)
