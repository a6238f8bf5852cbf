"""Reptile's direction: the displacement of the weights by adaptation."""

from collections.abc import Callable

import jax

from metajax.core import metrics
from metajax.core.algorithm import Estimator
from metajax.core.family import Tree
from metajax.core.layout import Layout, sum_rows
from metajax.core.options import OptionError
from metajax.core.problem import Problem
from metajax.core.types import Learner


def adapted_weights(learner: Learner) -> Callable[[Tree, Tree], Tree]:
    """``learner.weights``, of the structure of theta.

    Raises:
      OptionError: for a learner without adapted weights; when called, for one of which only a
        part of theta adapts.
    """
    weights_of = learner.weights
    if weights_of is None:
        raise OptionError(
            "learner", "has no adapted weights; allowed: a learner that adapts its weights"
        )

    def checked(theta: Tree, phi: Tree) -> Tree:
        weights = weights_of(theta, phi)
        if jax.tree.structure(weights) != jax.tree.structure(theta):
            raise OptionError(
                "learner",
                "adapts a part of theta, or by rates of its own; allowed: a learner whose theta "
                "is the initial weights, as in MAML",
            )
        return weights

    return checked


def displacement(problem: Problem, layout: Layout) -> Estimator:
    """``theta - mean(weights(theta, phi_K))``: descending it moves theta to the adapted weights.

    Nothing is differentiated but the inner loss, so memory and time per task are
    those of the trial. With ``optax.sgd(rate)`` the update is that of Reptile,
    ``theta + rate * mean(weights(theta, phi_K) - theta)``.

    Raises:
      OptionError: for a learner of which not all of theta adapts.

    Source: Nichol et al. (2018), "On first-order meta-learning algorithms", algorithm 2.
    """
    weights_of = adapted_weights(problem.learner)

    def block_sum(theta, keys):
        def of_task(key):
            trial, info = problem.run_sampled(key, theta)
            weights = weights_of(theta, trial.phi)
            return jax.tree.map(lambda start, end: start - end, theta, weights), info

        return sum_rows(jax.vmap(of_task)(keys))

    def estimate(key, theta, carry):
        keys = jax.random.split(key, layout.num_tasks)
        direction, info = layout.mean(block_sum, theta, keys)
        return direction, carry, metrics.from_mean(info, layout.num_tasks)

    return Estimator(init=lambda key, theta: (), estimate=estimate)
