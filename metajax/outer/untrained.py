"""The outer rule of learners that there is nothing to improve about."""

import jax

from metajax.core import layout as batch
from metajax.core.problem import run_sampled
from metajax.core.types import Learner, Outer, Source, TaskFamily
from metajax.outer.once import finish_info


def untrained(
    learner: Learner,
    source: Source,
    family: TaskFamily,
    tasks: batch.TaskMap,
    *,
    num_adaptations: int = 0,
) -> Outer:
    """Leaves theta as it is and reports how it does on fresh tasks.

    So that a method without training runs, logs and resumes like any other. ``info`` has
    ``returns`` and ``env_steps``.
    """

    def block_sum(theta, keys):
        def of_task(key):
            _, info = run_sampled(
                learner, source, family, key, theta, num_adaptations=num_adaptations
            )
            return info

        return batch.sum_rows(jax.vmap(of_task)(keys))

    def update(key, theta, carry):
        info = tasks.mean(block_sum, theta, jax.random.split(key, tasks.num_tasks))
        return theta, carry, finish_info(info, tasks.num_tasks)

    return Outer(init=lambda key, theta: (), update=update)
