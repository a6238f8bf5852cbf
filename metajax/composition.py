"""A whole algorithm from its two halves."""

import jax

from metajax.core.algorithm import MetaAlgorithm, MetaState, Outer
from metajax.core.family import Family, Key, Tree
from metajax.core.problem import Problem
from metajax.core.types import Trial


def compose(
    problem: Problem,
    outer: Outer,
    *,
    microbatch: int | None = None,
    schedules: tuple[str, ...] = (),
) -> MetaAlgorithm:
    """Puts a problem under an outer rule.

    Args:
      problem: The learner in its tasks, from ``metajax.fresh``, ``continuing``, ``lifetime``
        or ``few_shot``; the one that the outer rule was built for.
      outer: How theta improves across tasks.
      microbatch: Largest number of tasks of a meta-test in one block. Default: chosen for the
        device.
      schedules: Names in the outer rule's ``info`` of learned settings.

    Returns:
      the ``MetaAlgorithm``.
    """

    @jax.jit  # op by op, the many small ones of a network would take seconds to compile
    def init(key):
        key_theta, key_carry = jax.random.split(key)
        theta = problem.learner.init(key_theta)
        return MetaState(theta, outer.init(key_carry, theta))

    def step(key, state):
        theta, carry, info = outer.update(key, state.theta, state.carry)
        return MetaState(theta, carry), info

    def adapt(
        key: Key,
        theta: Tree,
        task: Tree,
        *,
        family: Family | None = None,
        num_adaptations: int | None = None,
        num_streams: int | None = None,
        explore: bool = True,
    ) -> Trial:
        varied = problem.varied(
            family, num_adaptations=num_adaptations, num_streams=num_streams, explore=explore
        )
        return varied.run(key, theta, task)

    def deploy(state):
        return outer.deploy(state.theta, state.carry)

    return MetaAlgorithm(problem, init, step, adapt, deploy, microbatch, schedules)
