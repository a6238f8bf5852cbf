"""Learners that compare embeddings, against sums that are written out here."""

from typing import Any

import flax.linen as nn
import jax
import numpy as np

import metajax
from metajax import inner, losses, networks


def _examples(inputs: Any, targets: Any) -> metajax.Examples:
    return metajax.Examples(inputs, targets)


KEY = jax.random.key(1)
SPEC = metajax.DataSpec("points", (2,), 3, classes=True)
DOUBLE = networks.Predictor(lambda key: 2.0, lambda weights, inputs: weights * inputs)
"""An embedding with which everything can be counted."""
SUPPORT = _examples(
    np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 0.0], [3.0, 1.0]]), np.array([0, 1, 0, 1])
)
QUERY = _examples(np.array([[1.0, 0.0], [2.0, 2.0]]), np.array([0, 1]))


def _run(learner, theta, support=SUPPORT, query=QUERY):
    """phi before and after adaptation, and the predictions of each."""

    @jax.jit
    def run(theta):
        phi = learner.begin(KEY, theta)
        adapted = learner.adapt(KEY, theta, phi, support)
        return [(one, learner.predict(theta, one, query)) for one in (phi, adapted)]

    return jax.device_get(run(theta))


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _softmax(x):
    return np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)


def test_prototypical_logits_by_hand():
    (phi, _), (adapted, logits) = _run(inner.prototypes(SPEC, DOUBLE), 2.0)
    np.testing.assert_array_equal(phi, np.zeros((3, 2)))
    np.testing.assert_array_equal(adapted, [[2, 0], [4, 2], [0, 0]])
    np.testing.assert_array_equal(logits, [[0, -8, -4], [-20, -4, -32]])


# --- Matching networks -------------------------------------------------------------------


def _attended(support, members, query):
    """Probabilities of classes: softmax of cosines, times one-hot classes."""

    def unit(rows):
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)

    return _softmax(unit(query) @ unit(support).T) @ members


def test_matching_probabilities_by_hand():
    learner = inner.matching(SPEC, DOUBLE, num_support=4)
    (phi, before), (adapted, logits) = _run(learner, {"embedding": 2.0})
    assert phi.embedded.shape == (4, 2)
    assert np.ptp(before) == 0, "all classes alike"
    np.testing.assert_array_equal(adapted.embedded, 2 * SUPPORT.inputs)
    expected = _attended(2 * SUPPORT.inputs, np.eye(3)[SUPPORT.targets], 2 * QUERY.inputs)
    np.testing.assert_allclose(_softmax(logits), expected, atol=1e-11)
    # For the first query, cosines are 0, sqrt(1/2), 1 and 3 / sqrt(10).
    weights = np.exp([0, 0.5**0.5, 1, 3 / 10**0.5])
    np.testing.assert_allclose(_softmax(logits)[0, 1], weights[[1, 3]].sum() / weights.sum())


def _lstm(weights, x, hidden, cell):
    """One step: gates enter, forget, candidate and leave."""
    enter, forget, candidate, leave = np.split(
        x @ weights["input"] + hidden @ weights["hidden"] + weights["bias"], 4, axis=-1
    )
    cell = _sigmoid(forget) * cell + _sigmoid(enter) * np.tanh(candidate)
    return _sigmoid(leave) * np.tanh(cell), cell


def test_full_context_embeddings_by_hand():
    """Vinyals et al. (2016), appendix A."""
    steps, size = 2, 2
    context = networks.FullContext(steps)
    learner = inner.matching(SPEC, DOUBLE, num_support=4, context=context)
    embedded, queries = 2 * SUPPORT.inputs, 2 * QUERY.inputs
    random = np.random.default_rng(0)
    shapes = jax.eval_shape(context.init, KEY, embedded, queries)["params"]
    weights = jax.tree.map(lambda leaf: random.normal(size=leaf.shape), shapes)
    _, (_, logits) = _run(learner, {"embedding": 2.0, "context": weights})

    def passed(part, rows):
        hidden, cell, states = np.zeros(size), np.zeros(size), []
        for row in rows:
            hidden, cell = _lstm(weights[part], row, hidden, cell)
            states.append(hidden)
        return np.array(states)

    support = embedded + passed("forward", embedded) + passed("backward", embedded[::-1])[::-1]
    of_query, of_read = np.split(weights["reader"]["input"], 2)
    stacked = {
        "input": of_query,
        "hidden": np.concatenate([weights["reader"]["hidden"], of_read]),
        "bias": weights["reader"]["bias"],
    }
    found = []
    for query in queries:
        hidden, cell = np.zeros(size), np.zeros(size)
        for _ in range(steps):
            read = _softmax(support @ hidden) @ support
            after, cell = _lstm(stacked, query, np.concatenate([hidden, read]), cell)
            hidden = after + query
        found.append(hidden)
    expected = _attended(support, np.eye(3)[SUPPORT.targets], np.array(found))
    np.testing.assert_allclose(_softmax(logits), expected, atol=1e-11)


# --- Relation networks -------------------------------------------------------------------


class Linear(nn.Module):
    """The numbers 0.1 a - 0.2 b + 0.3 c + 0.4 d - 0.5 of a class (a, b) and a query (c, d)."""

    @nn.compact
    def __call__(self, classes, queries):
        weights = self.param("weights", lambda key: np.array([0.1, -0.2, 0.3, 0.4]))
        return classes @ weights[:2] + (queries @ weights[2:])[:, None] - 0.5


def test_relation_scores_and_their_error_by_hand():
    learner = inner.relations(SPEC, DOUBLE, Linear())
    theta = jax.jit(learner.init)(KEY)
    (phi, _), (means, scores) = _run(learner, theta)
    np.testing.assert_array_equal(phi, np.zeros((3, 2)))
    np.testing.assert_array_equal(means, [[2, 0], [4, 2], [0, 0]])
    # Classes give 0.2, 0 and 0, queries 0.6 and 2.8.
    numbers = np.array([[0.3, 0.1, 0.1], [2.5, 2.3, 2.3]])
    np.testing.assert_allclose(scores, _sigmoid(numbers))
    error = np.mean((_sigmoid(numbers) - np.eye(3)[QUERY.targets]) ** 2)
    np.testing.assert_allclose(jax.jit(losses.one_hot_error)(scores, QUERY), error)
    _, (_, logits) = _run(inner.relations(SPEC, DOUBLE, Linear(), logits=True), theta)
    np.testing.assert_allclose(logits, numbers)


def test_feature_maps_are_compared_by_the_convolution_of_both():
    """One block: the convolution of maps that are joined along their channels."""
    classes, queries = (
        np.random.default_rng(seed).normal(size=(number, 5, 4, 2))
        for seed, number in enumerate((3, 2))
    )
    module = networks.Comparison((3,), ())

    @jax.jit
    def run(key):
        params: Any = module.init(key, classes, queries)["params"]
        pairs = [np.concatenate([one, query], axis=-1) for query in queries for one in classes]
        joined: Any = np.stack(pairs)
        hidden = jax.lax.conv_general_dilated(
            joined, params["kernel"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return params, hidden, module.apply({"params": params}, classes, queries)

    params, hidden, scores = jax.device_get(run(KEY))
    mean, variance = (f(hidden, axis=(1, 2, 3), keepdims=True) for f in (np.mean, np.var))
    hidden = np.maximum((hidden - mean) / np.sqrt(variance + 1e-6), 0)
    pooled = hidden[:, :4].reshape(6, 2, 2, 2, 2, 3).max(axis=(2, 4)).reshape(6, -1)
    expected = (pooled @ params["Dense_0"]["kernel"]).reshape(2, 3)
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)
