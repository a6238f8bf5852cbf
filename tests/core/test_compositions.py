"""Every kind of learner under every kind of outer rule: which pairs work, the documents say.

A pair is composed and traced, not compiled. ``pytest tests/core/test_compositions.py --pin``
writes the table of ``docs/concepts.md`` anew.
"""

import functools
import pathlib
import re

import jax
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
    "policy gradient, all weights": ("maml", {}),
    "policy gradient, the head": ("anil", {}),
    "policy gradient, a context": ("cavia", {}),
    "policy gradient, low rank": ("finetune", {"strategy": "low-rank"}),
    "policy gradient, learned rates": ("meta-sgd", {}),
    "examples, all weights": ("maml on sinusoid", {}),
    "examples, implicit": ("imaml on sinusoid", {}),
    "examples, learned optimizer": ("lstm-optimizer", {}),
    "examples, prototypes": ("prototypical", {}),
    "Q-learning": ("maml-dqn", {}),
    "actor-critic, learned settings": ("meta-gradient-actor-critic", {}),
    "memory": ("rl2", {}),
    "posterior sampling": ("thompson-sampling", {}),
}
"""Kinds of learners by an algorithm that has one."""
NUMBERS = {"Q-learning": losses.temporal_difference_loss}


@functools.cache
def _problem(learner):
    name, options = LEARNERS[learner]
    made = toys.make(name, toys.line(), **options) if options else protocol.make(name)
    problem = made.problem
    return problem if problem.num_adaptations else problem._replace(num_adaptations=0)


def _objective(problem, loss, **options):
    return outer.post_adaptation(problem, loss, **options)


def _once(estimator):
    return outer.once(estimator, optax.adam(1e-3))


def _gradient(problem, loss, layout, **options):
    return _once(outer.backprop(outer.post_adaptation(problem, loss, **options), layout))


def _passes(problem, loss, layout):
    objective = outer.post_adaptation(problem, loss)
    return outer.epochs(objective, optax.adam(1e-3), layout, num_epochs=2)


def _trust_region(problem, loss, layout):
    return outer.trust_region(outer.post_adaptation(problem, loss), layout)


def _evolution(problem, loss, layout):
    search = outer.evosax_search("open-es", 2)
    return outer.evolution(problem, layout.resized(2 * NUM_TASKS), search)


RULES = {
    "exact gradient": _gradient,
    "first order": functools.partial(_gradient, derivative="first-order"),
    "several passes": _passes,
    "trust region": _trust_region,
    "displacement": lambda problem, loss, layout: _once(outer.displacement(problem, layout)),
    "truncated": lambda problem, loss, layout: _once(
        outer.truncated(problem, layout, loss, window=1)
    ),
    "PES": lambda problem, loss, layout: _once(
        outer.evolution_gradient(problem, layout, loss, window=1)
    ),
    "evolution": _evolution,
    "joint": lambda problem, loss, layout: outer.joint(problem),
    "separate": lambda problem, loss, layout: outer.separate(
        _gradient(problem, loss, layout.resized(1)), layout
    ),
    "untrained": lambda problem, loss, layout: outer.untrained(problem, layout),
}


def _loss(learner, problem):
    if isinstance(problem.family, DataFamily):
        return losses.prediction_loss(problem.family.spec)
    return NUMBERS.get(learner, losses.policy_gradient_loss)


def _composed(learner, rule):
    problem = _problem(learner)
    layout = Layout.build(NUM_TASKS, num_devices=1)
    made = RULES[rule](problem, _loss(learner, problem), layout)
    if rule == "separate":
        init = problem.learner.init
        several = problem.learner._replace(
            init=lambda key: jax.vmap(init)(jax.random.split(key, NUM_TASKS))
        )
        problem = problem._replace(learner=several)
    return metajax.compose(problem, made)


def _refusal(learner, rule):
    """None for a pair that works, else the reason that the library gives."""
    try:
        algorithm = _composed(learner, rule)
        key = jax.random.key(0)
        state = jax.eval_shape(algorithm.init, key)
        after, info = jax.eval_shape(algorithm.step, key, state)
    except metajax.OptionError as error:
        return str(error)
    assert jax.tree.map(_shape, after) == jax.tree.map(_shape, state)
    assert {"returns", "env_steps"} <= set(info)
    return None


def _shape(leaf):
    return leaf.shape, leaf.dtype
