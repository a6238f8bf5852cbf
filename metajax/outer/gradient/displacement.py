"""Reptile's direction: where adaptation leads."""

import jax

from metajax.core import layout as batch
from metajax.core.problem import run_sampled
from metajax.core.types import Estimator, Learner, Source, TaskFamily
from metajax.outer.once import finish_info


def displacement(
    learner: Learner,
    source: Source,
    family: TaskFamily,
    tasks: batch.TaskMap,
    *,
    num_adaptations: int,
) -> Estimator:
    """``theta - mean(weights(phi_K))``: descending it moves theta to the adapted weights.

    Nothing is differentiated but the inner loss, so memory and time per task are
    those of the trial. With ``optax.sgd(rate)`` the update is that of Reptile,
    ``theta + rate * mean(weights(phi_K) - theta)``.

    Source: Nichol et al. (2018), "On first-order meta-learning algorithms",
    algorithm 2.
    """

    def block_sum(theta, keys):
        def of_task(key):
            trial, info = run_sampled(
                learner, source, family, key, theta, num_adaptations=num_adaptations
            )
            weights = learner.weights(trial.phi)
            direction = jax.tree.map(lambda start, end: start - end, theta, weights)
            return direction, info

        return batch.sum_rows(jax.vmap(of_task)(keys))

    def estimate(key, theta, carry):
        keys = jax.random.split(key, tasks.num_tasks)
        direction, info = tasks.mean(block_sum, theta, keys)
        return direction, carry, finish_info(info, tasks.num_tasks)

    return Estimator(init=lambda key, theta: (), estimate=estimate)
