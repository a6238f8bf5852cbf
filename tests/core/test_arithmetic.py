"""Hand counts of matrix products against the compiler's count of programs without loops."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import pytest

import metajax
from metajax.core import arithmetic
from metajax.experiments.measurement import resolved_setting
from metajax.run.config import parse

NUM_TASKS, NUM_SAMPLES = 3, 40


def _flops(function, *arguments) -> float:
    analysis = jax.jit(function).lower(*arguments).compile().cost_analysis()
    assert analysis is not None
    return analysis["flops"]


def _init(key, widths):
    keys = jax.random.split(key, len(widths) - 1)
    shapes = itertools.pairwise(widths)
    return [jax.random.normal(k, shape) for k, shape in zip(keys, shapes, strict=True)]


def _forward(weights, inputs):
    hidden = inputs
    for matrix in weights[:-1]:
        hidden = jax.nn.relu(hidden @ matrix)
    return hidden @ weights[-1]


def _loss(weights, batch):
    inputs, actions, advantage = batch
    log_prob = -jnp.sum((actions - _forward(weights, inputs)) ** 2, axis=-1)
    return -jnp.mean(log_prob * advantage)


def _meta_loss(weights, support, query):
    for batch in support:
        gradients = jax.grad(_loss)(weights, batch)
        weights = jax.tree.map(lambda w, g: w - 0.1 * g, weights, gradients)
    return _loss(weights, query)


def _batches(key, widths, count):
    def batch(key):
        keys = jax.random.split(key, 3)
        shapes = ((NUM_TASKS, NUM_SAMPLES, widths[0]), (NUM_TASKS, NUM_SAMPLES, widths[-1]))
        leaves = [jax.random.normal(k, s) for k, s in zip(keys, shapes, strict=False)]
        return (*leaves, jax.random.normal(keys[2], (NUM_TASKS, NUM_SAMPLES)))

    return [batch(one) for one in jax.random.split(key, count)]


@pytest.mark.parametrize("widths", [(2, 100, 100, 2), (6, 80, 64, 64, 3)])
def test_products_of_one_pass(key, widths):
    weights = jax.eval_shape(lambda key: _init(key, widths), key)
    (batch,) = jax.eval_shape(lambda key: _batches(key, widths, 1), key)
    each = arithmetic.layer_products(widths)
    samples = NUM_TASKS * NUM_SAMPLES
    forward = _flops(jax.vmap(_forward, (None, 0)), weights, batch[0])
    gradient = _flops(jax.vmap(jax.grad(_loss), (None, 0)), weights, batch)
    # What the hand count leaves out is elementwise: less than a twentieth here.
    assert 1 <= forward / (samples * each.forward) < 1.05
    assert 1 <= gradient / (samples * each.gradient) < 1.05


@pytest.mark.parametrize("num_adaptations", [1, 2])
def test_products_of_the_second_order_meta_gradient(key, num_adaptations):
    widths = (2, 100, 100, 2)
    weights = jax.eval_shape(lambda key: _init(key, widths), key)
    *support, query = jax.eval_shape(lambda key: _batches(key, widths, num_adaptations + 1), key)
    gradient = jax.vmap(jax.grad(_meta_loss), (None, 0, 0))
    measured = _flops(gradient, weights, support, query)
    each = arithmetic.layer_products(widths)
    inner = num_adaptations * (each.gradient + each.second_order)
    counted = NUM_TASKS * NUM_SAMPLES * (inner + each.gradient)
    assert 1 <= measured / counted < 1.06


def _counted(*overrides: str):
    """The count of a setting, and its options."""
    names = ["family.name=point-navigation", "algorithm.name=maml"]
    config = parse("", [*names, *overrides])
    options = config.algorithm.options
    return options.arithmetic(config.family.options.build().spec), options


@pytest.mark.parametrize("name", ["maml", "anil", "cavia", "imaml"])
def test_products_of_the_whole_meta_gradient(key, name):
    """The package's own objective, tasks side by side, so that one pass is all there is."""
    one_at_a_time = {"updates_per_step": 1, "cg_iterations": 1} if name == "imaml" else {}
    options = metajax.algorithms.ALGORITHMS.get(name)(num_tasks=4, horizon=25, **one_at_a_time)
    family = metajax.tasks.make("point-navigation")
    problem = options.problem(family)
    objective = options.objective(problem)

    def collect(key):
        theta = problem.learner.init(key)
        return theta, jax.vmap(objective.collect, (0, None))(jax.random.split(key, 4), theta)[0]

    theta, items = jax.eval_shape(collect, key)
    gradient = jax.vmap(jax.grad(objective.loss, has_aux=True), (None, 0))
    measured = _flops(gradient, theta, items)
    counted = options.arithmetic(family.spec)
    assert counted is not None
    # Implicit gradients also need the network at the adapted weights, which is not counted.
    assert 1 <= measured / (counted.adaptation + counted.meta_gradient) < 1.12


def test_the_reference_setting_by_hand():
    counted, _ = _counted("algorithm.num-tasks=40")
    samples, every, inner = 40 * 20 * 100, 10_400, 10_200
    assert counted == (
        samples * 2 * 2 * every,
        samples * 2 * (2 * every + inner),
        samples * 2 * (4 * every + 5 * inner),
    )
    assert counted is not None
    assert counted.total == sum(counted)


@pytest.mark.parametrize(
    ("overrides", "meta_gradients"),
    [
        (("algorithm.name=fomaml",), 1),
        (("algorithm.name=joint",), 1),
        (("algorithm.name=reptile",), 0),
    ],
)
def test_other_algorithms(overrides, meta_gradients):
    counted, options = _counted(*overrides)
    samples = options.num_tasks * options.num_streams * 100
    each = arithmetic.layer_products([2, 100, 100, 2])
    assert counted is not None
    assert counted.rollouts == samples * (options.inner_steps + 1) * each.forward
    assert counted.adaptation == samples * options.inner_steps * each.gradient
    assert counted.meta_gradient == meta_gradients * samples * each.gradient


@pytest.mark.parametrize("option", ["outer=trpo", "baseline=value", "surrogate=emaml"])
def test_what_is_not_counted_is_not_guessed(option):
    assert _counted(f"algorithm.{option}")[0] is None


def test_q_learning_by_hand():
    """Lifetimes of 12 steps of 2 streams, 3 at a time; the buffer holds enough at the third."""
    overrides = (
        *("family.name=cartpole", "algorithm.name=dqn", "algorithm.num-tasks=5"),
        *("algorithm.num-streams=2", "algorithm.num-steps=3", "algorithm.lifetime=24"),
        *("algorithm.learning-starts=14", "algorithm.updates=2", "algorithm.batch-size=7"),
        *("algorithm.hidden-sizes=[6]", "algorithm.n-step=3"),
    )
    weights = 4 * 6 + 6 * 2
    acted = 5 * (24 + 6) * 2 * weights
    replayed = 5 * 2 * 2 * 7  # two adaptations of two updates of seven transitions
    gradient = 2 * (2 * weights + 6 * 2)
    expected = (acted, replayed * (gradient + 3 * 2 * 2 * weights), 0)
    assert _counted(*overrides)[0] == expected
    counted, _ = _counted(*overrides, "algorithm.double=false")
    assert counted is not None
    assert counted.adaptation == replayed * (gradient + 3 * 2 * weights)


def test_rl2_by_hand():
    """Trials of 20 pulls of 3 arms: inputs are one observation, 3 arms, reward and start."""
    names = ("family.name=bernoulli-bandit", "family.num-arms=3", "family.num-pulls=20")
    overrides = (*names, "algorithm.name=rl2", "algorithm.num-tasks=8", "algorithm.hidden-size=5")
    samples, of_data, of_hidden = 8 * 20, 6 * 3 * 5, 5 * (3 * 5 + 3) + 2 * 5 + 1
    expected = (
        samples * 2 * (of_data + of_hidden),
        0,
        samples * 4 * 2 * (2 * of_data + 3 * of_hidden),
    )
    assert _counted(*overrides)[0] == expected
    counted, _ = _counted(*overrides, "algorithm.outer=a2c")
    assert counted is not None
    assert counted.meta_gradient == expected[2] / 4
    for option in ("hidden-sizes=[4]", "readout-size=4"):
        assert _counted(*overrides, f"algorithm.{option}")[0] is None


def test_counts_that_are_those_of_another():
    maml, options = _counted()
    assert _counted("algorithm.name=meta-sgd")[0] == maml
    assert _counted("algorithm.name=maml-plus-plus")[0] == maml
    counted, _ = _counted("algorithm.outer=ppo", "algorithm.num-epochs=3")
    assert counted is not None
    assert counted[:2] == maml[:2]
    assert counted.meta_gradient == 3 * (maml.adaptation + maml.meta_gradient)
    sizes = "num-tasks=20", "population-size=4", f"hidden-sizes={list(options.hidden_sizes)}"
    counted, _ = _counted("algorithm.name=es-maml", *(f"algorithm.{one}" for one in sizes))
    assert counted == (2 * maml.rollouts, 2 * maml.adaptation, 0)


@pytest.mark.parametrize(
    "overrides", [["name=maml-plus-plus", "inner-steps=2"], ["name=rl2-reward-prediction"]]
)
def test_a_count_is_not_inherited_where_it_is_another(overrides):
    assert _counted(*(f"algorithm.{one}" for one in overrides))[0] is None


def test_devices_are_those_of_the_program():
    """Minibatches of five tasks are shared by one of two devices."""
    assert jax.local_device_count() == 2
    names = ["family.name=point-navigation", "algorithm.name=maml"]
    for overrides, devices in (
        ([], 2),
        (["algorithm.outer=ppo", "algorithm.num-minibatches=8"], 1),
    ):
        config = parse("", [*names, *overrides])
        assert resolved_setting(config, config.build()[1])["devices"] == devices
