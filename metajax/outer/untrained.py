"""The outer rule of learners with nothing to train."""

import jax

from metajax.core import metrics
from metajax.core.algorithm import Outer
from metajax.core.layout import Layout, sum_rows
from metajax.core.problem import Problem


def untrained(problem: Problem, layout: Layout) -> Outer:
    """Leaves theta as it is and reports its returns on fresh tasks.

    A method without training then runs, logs and resumes like any other. ``info`` has
    ``returns`` and ``env_steps``.
    """

    def block_sum(theta, keys):
        return sum_rows(jax.vmap(lambda key: problem.run_sampled(key, theta)[1])(keys))

    def update(key, theta, carry):
        info = layout.mean(block_sum, theta, jax.random.split(key, layout.num_tasks))
        return theta, carry, metrics.from_mean(info, layout.num_tasks)

    return Outer(init=lambda key, theta: (), update=update)
