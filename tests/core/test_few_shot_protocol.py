"""Algorithms that learn from labelled examples: what is refused, and what some learn."""

import functools

import jax
import jax.numpy as jnp
import optax
import protocol
import pytest
import toys

import metajax
from metajax import inner
from metajax.tasks.supervised.gaussian_blobs import bayes_accuracy


@pytest.mark.parametrize(
    ("name", "family", "options", "words"),
    [
        ("maml", "sinusoid", {"discount": 0.9}, ["discount: has no meaning on sinusoid"]),
        ("maml", "sinusoid", {"outer": "trpo"}, ["outer: has no meaning", "labelled examples"]),
        ("joint", "sinusoid", {"horizon": 3}, ["horizon: has no meaning"]),
        ("maml", "catch", {"num_query": 3}, ["num_query: has no meaning on catch, an environ"]),
        ("rl2", "sinusoid", {}, ["family: sinusoid holds labelled examples", "an environment"]),
        ("prototypical", "sinusoid", {}, ["family: sinusoid has no classes", "gaussian-blobs"]),
        ("prototypical", "gaussian-blobs", {"num_streams": 4}, ["num_streams: 4", "at least 5"]),
        ("lstm-optimizer", "catch", {}, ["family: catch is an environment", "quadratics"]),
    ],
)
def test_what_does_not_fit_is_named(name, family, options, words):
    with pytest.raises(metajax.OptionError) as error:
        metajax.make(name, metajax.tasks.make(family), **options)
    for word in words:
        assert word in str(error.value)


@pytest.mark.xdist_group("maml on sinusoid")
def test_evaluation_on_more_shots_and_other_tasks():
    algorithm = protocol.run("maml on sinusoid").algorithm
    theta, key = algorithm.init(jax.random.key(0)).theta, jax.random.key(1)
    evaluation = metajax.evaluate(algorithm, key, theta, num_tasks=2, num_streams=11)
    assert evaluation.env_steps == 2 * (11 + toys.NUM_STREAMS), "the query set stays as it is"
    with pytest.raises(metajax.OptionError, match="family: quadratics has input_shape"):
        metajax.evaluate(algorithm, key, theta, metajax.tasks.make("quadratics"))


# --- Learning ----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "slack"), [("prototypical", 0.03), ("relation", 0.06), ("matching", 0.12)]
)
def test_comparisons_come_near_the_best_classifier(name, slack):
    family = metajax.tasks.make("gaussian-blobs", num_classes=4, num_features=3)
    algorithm = metajax.make(name, family, num_streams=40, hidden_sizes=(16,), embedding_size=8)
    state, _ = metajax.train(algorithm, jax.random.key(0), 300)
    key = jax.random.key(1)
    accuracy = metajax.evaluate(algorithm, key, state, num_tasks=500).mean()

    def best(key):
        key_task, key_examples = jax.random.split(key)
        return bayes_accuracy(key_examples, family, family.sample(key_task), 200)

    bound = jnp.mean(jax.vmap(best)(jax.random.split(key, 500)))
    assert accuracy[0] == pytest.approx(1 / 4)
    assert bound - slack < accuracy[1] < bound + 0.01


@pytest.mark.slow
def test_convolutions_learn_to_tell_new_glyphs_apart():
    train, test = (
        metajax.tasks.make("glyphs", split=split, size=16) for split in ("train", "test")
    )
    sizes = {"num_tasks": 8, "num_streams": 5, "num_query": 10, "embedding_size": 32}
    algorithm = metajax.make(
        "prototypical", train, conv_filters=(16,) * 3, hidden_sizes=(), **sizes
    )
    state, _ = metajax.train(algorithm, jax.random.key(0), 60)
    accuracy = metajax.evaluate(algorithm, jax.random.key(1), state, test, num_tasks=100).mean()
    assert accuracy[0] == pytest.approx(1 / 5)
    assert accuracy[1] > 0.7


LEARNED = {
    "lstm-optimizer": (inner.lstm_rule, {"lstm_size": 8}),
    "mlp-optimizer": (inner.mlp_rule, {"estimator": "pes"}),
}


@functools.cache
def _learned_optimizer(name):
    """The optimiser before and after a short training on quadratics."""
    family = metajax.tasks.make("quadratics", size=4)
    sizes = {"num_tasks": 32, "num_streams": 4, "inner_steps": 20, "window": 9}
    algorithm = metajax.make(
        name, family, learning_rate=0.01, devices=1, **sizes, **LEARNED[name][1]
    )
    untrained = algorithm.init(jax.random.key(0)).theta
    state, _ = metajax.train(algorithm, jax.random.key(0), 150)
    return algorithm, untrained, state.theta


@pytest.mark.slow
@pytest.mark.parametrize("name", LEARNED)
def test_a_learned_optimizer_is_better_than_untrained(name):
    algorithm, untrained, trained = _learned_optimizer(name)
    before, after = (
        -metajax.evaluate(algorithm, jax.random.key(1), theta, num_tasks=200).mean()
        for theta in (untrained, trained)
    )
    assert before[0] == after[0], "both start from the same weights"
    assert after[-1] < 0.3 * before[-1]
    assert after[-1] < 0.3 * after[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", LEARNED)
def test_a_learned_optimizer_is_an_optax_transformation(name):
    """It descends a parabola of any shape, compiled once, as any other does."""
    rule, (_, untrained, trained) = LEARNED[name][0], _learned_optimizer(name)
    goal = {"matrix": jnp.array([[1.0, -1.0], [0.5, 0.3]]), "number": jnp.float32(-0.7)}
    traces = []

    def loss(params):
        offsets = jax.tree.map(jnp.subtract, params, goal)
        return optax.tree.norm(offsets, squared=True)

    @jax.jit
    def step(theta, params, state):
        traces.append(1)
        value, gradient = jax.value_and_grad(loss)(params)
        tx = optax.chain(optax.clip_by_global_norm(10.0), rule(theta))
        updates, state = tx.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, value

    def minimum(theta):
        params = jax.tree.map(jnp.zeros_like, goal)
        tx = optax.chain(optax.clip_by_global_norm(10.0), rule(theta))
        state, values = tx.init(params), []
        for _ in range(20):
            params, state, value = step(theta, params, state)
            values.append(float(value))
        return values[0], values[-1]

    start, end = minimum(trained)
    _, worse = minimum(untrained)
    assert len(traces) == 1
    assert end < 0.2 * start
    assert end < 0.5 * worse
