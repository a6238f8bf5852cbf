"""Meta-gradients by differentiating the replay of each task's trial."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from metajax.core import metrics
from metajax.core.algorithm import Estimator, Objective
from metajax.core.layout import Layout, sum_rows, total_of


class RunningMean(NamedTuple):
    """Exponential mean of the return after adaptation, and whether it has begun."""

    value: jax.Array
    started: jax.Array


def backprop(objective: Objective, layout: Layout, *, sampling_credit: bool = False) -> Estimator:
    """The gradient of an objective, averaged over N fresh trials.

    Each block of tasks is collected without gradients, as wide as is best for
    rollouts; then the gradient of each task's replay is taken on its own, so that
    nothing of a trial has to be stored for the backward pass.

    Args:
      objective: The objective; its ``prepare`` is not used, as no block sees all tasks.
      layout: Blocks and devices of the tasks.
      sampling_credit: Fill in ``TrialItem.credit`` for the ``emaml`` term. Its
        baseline is a running mean of earlier iterations, which does not depend on
        the samples at hand and so leaves the estimate unbiased; the term is left
        out in the first iteration, which has no baseline.
    """
    gradient = jax.value_and_grad(objective.loss, has_aux=True)

    def block_sum(shared, keys):
        theta, mean = shared
        items, info = jax.vmap(objective.collect, (0, None))(keys, theta)
        if sampling_credit:
            items = items._replace(credit=_credit(items.query, mean))

        def of_task(item):
            (_, loss_info), gradients = gradient(theta, item)
            return gradients, loss_info

        gradients, loss_info = total_of(of_task, items, layout.gradient_microbatch)
        return gradients, {**sum_rows(info), **loss_info}

    def init(key, theta):
        del key, theta
        return RunningMean(jnp.zeros(()), jnp.zeros(())) if sampling_credit else ()

    def estimate(key, theta, carry):
        keys = jax.random.split(key, layout.num_tasks)
        gradients, info = layout.mean(block_sum, (theta, carry), keys)
        if sampling_credit:
            value = info["returns"][-1]
            mixed = 0.9 * carry.value + 0.1 * value
            carry = RunningMean(jnp.where(carry.started > 0, mixed, value), jnp.ones(()))
        return gradients, carry, metrics.from_mean(info, layout.num_tasks)

    return Estimator(init, estimate)


def _credit(query, mean):
    """In the units of ``losses.policy_gradient``: reward divided by the horizon."""
    returns = jnp.mean(jnp.sum(query.reward, axis=-2), axis=-1)
    return mean.started * (returns - mean.value) / query.mask.shape[-2]
