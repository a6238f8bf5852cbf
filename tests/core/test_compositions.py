"""Every kind of learner under every kind of outer rule: which pairs work, the documents say.

A pair is composed and traced, not compiled. ``pytest -m "" tests/core/test_compositions.py --pin``
writes the rows of the table in ``docs/concepts.md`` anew.
"""

import functools
import pathlib
import re

import jax
import numpy as np
import optax
import protocol
import pytest
import toys

import metajax
from metajax import losses, outer
from metajax.core.family import DataFamily
from metajax.core.layout import Layout

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "concepts.md"
NUM_TASKS = 2
LEARNERS = {
    "policy gradient, all weights": "maml",
    "policy gradient, the head": "anil",
    "policy gradient, a context": "cavia",
    "policy gradient, low rank": "finetune",
    "policy gradient, learned rates": "meta-sgd",
    "examples, all weights": "maml on sinusoid",
    "examples, implicit": "imaml on sinusoid",
    "examples, learned optimizer": "lstm-optimizer",
    "examples, prototypes": "prototypical",
    "Q-learning": "maml-dqn",
    "actor-critic, learned settings": "meta-gradient-actor-critic",
    "recurrent memory": "rl2",
    "posterior sampling": "thompson-sampling",
}
"""Kinds of learners, by the name of an algorithm that has one."""
QUICK = ("examples, all weights", "examples, learned optimizer", "posterior sampling")
REASONS = {
    "a": "adapts a part of theta",
    "b": "has no adapted weights",
    "c": "leaves no gradient in a window",
    "d": '"first-order" leaves no gradient',
    "e": "predicts nothing to keep close to",
    "f": "has no theta to train",
}
"""What the library says of pairs that cannot work, by the letter in the table."""


@functools.cache
def _problem(learner):
    name = LEARNERS[learner]
    if name == "finetune":
        return toys.make(name, toys.line(), strategy="low-rank", inner_steps=1).problem
    return protocol.make(name).problem


def _once(estimator):
    return outer.once(estimator, optax.adam(1e-3))


def _gradient(problem, loss, layout, **options):
    return _once(outer.backprop(outer.post_adaptation(problem, loss, **options), layout))


RULES = {
    "exact gradient": _gradient,
    "first order": functools.partial(_gradient, derivative="first-order"),
    "trust region": lambda problem, loss, layout: outer.trust_region(
        outer.post_adaptation(problem, loss), layout, cg_iterations=1, backtracks=1
    ),
    "displacement": lambda problem, loss, layout: _once(outer.displacement(problem, layout)),
    "truncated": lambda problem, loss, layout: _once(
        outer.truncated(problem, layout, loss, window=1)
    ),
    "persistent ES": lambda problem, loss, layout: _once(
        outer.evolution_gradient(problem, layout, loss, window=1)
    ),
    "evolution": lambda problem, loss, layout: outer.evolution(
        problem, layout.resized(2 * NUM_TASKS), outer.evosax_search("open-es", 2)
    ),
    "joint": lambda problem, loss, layout: outer.joint(problem),
    "separate": lambda problem, loss, layout: outer.separate(
        _gradient(problem, loss, layout.resized(1)), layout
    ),
}
"""Outer rules of a problem and a loss."""


def _loss(problem):
    if isinstance(problem.family, DataFamily):
        return losses.prediction_loss(problem.family.spec)
    if problem is _problem("Q-learning"):
        return losses.temporal_difference_loss
    return losses.policy_gradient_loss


def _composed(learner, rule):
    problem = _problem(learner)
    made = RULES[rule](problem, _loss(problem), Layout.build(NUM_TASKS, num_devices=1))
    if rule == "separate":
        init = problem.learner.init

        def of_each(key):
            return jax.vmap(init)(jax.random.split(key, NUM_TASKS))

        problem = problem._replace(learner=problem.learner._replace(init=of_each))
    return metajax.compose(problem, made)


def _found(learner, rule):
    """ "yes" for a pair that works, else the letter of the reason that the library gives."""
    try:
        algorithm = _composed(learner, rule)
        key = jax.random.key(0)
        state = jax.eval_shape(algorithm.init, key)
        after, info = jax.eval_shape(algorithm.step, key, state)
    except metajax.OptionError as error:
        (letter,) = (one for one, words in REASONS.items() if words in str(error))
        return letter
    assert jax.tree.map(_signature, after) == jax.tree.map(_signature, state)
    assert {"returns", "env_steps"} <= set(info)
    return "yes"


def _signature(leaf):
    return leaf.shape, leaf.dtype


def _cells(first):
    """The cells of a row of the table, by its first cell."""
    (row,) = re.findall(rf"^\| {first} \|(.*)\|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return [cell.strip() for cell in row.split("|")]


def test_the_table_has_a_column_for_each_outer_rule():
    assert _cells("learner") == [*RULES]


@pytest.mark.parametrize(
    "learner",
    [pytest.param(one, marks=[] if one in QUICK else [pytest.mark.slow]) for one in LEARNERS],
)
def test_pairs_work_where_the_table_says_so(learner, pytestconfig):
    found = [_found(learner, rule) for rule in RULES]
    if pytestconfig.getoption("pin"):
        text, row = PAGE.read_text(encoding="utf-8"), " | ".join([learner, *found])
        text = re.sub(rf"^\| {learner} \|.*$", f"| {row} |", text, flags=re.MULTILINE)
        PAGE.write_text(text, encoding="utf-8")
    assert _cells(learner) == found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("learner", "rule"),
    [("examples, prototypes", "persistent ES"), ("examples, learned optimizer", "evolution")],
)
def test_pairs_that_no_algorithm_has_run(learner, rule):
    algorithm = _composed(learner, rule)

    @jax.jit
    def run(key):
        state = algorithm.init(key)
        return state.theta, *algorithm.step(key, state)

    before, after, info = jax.device_get(run(jax.random.key(0)))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((after.theta, info)))
    moved = jax.tree.map(lambda one, other: (one != other).any(), before, after.theta)
    assert any(jax.tree.leaves(moved))
