"""Bootstrapped meta-gradients: the learner catches up with where it will be."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from metajax.core.algorithm import Estimator, Info
from metajax.core.family import Tree
from metajax.core.layout import Layout
from metajax.core.problem import Problem
from metajax.core.replay import DERIVATIVES, adaptations
from metajax.core.types import AdaptFn, Learner
from metajax.data.acting import actor_of
from metajax.losses import masked_mean
from metajax.outer.gradient.windows import Window, of_windows

Matching = Callable[[Tree, Tree, Tree, Tree], jax.Array]
"""``(theta, phi, target, chunk) -> scalar``: how far phi is from the target."""


def bootstrapped(
    problem: Problem,
    layout: Layout,
    matching: Matching,
    *,
    window: int,
    target_steps: int,
    teacher: Learner,
    derivative: str = "exact",
) -> Estimator:
    """The gradient of the distance to a target of the learner's own, in N lifetimes that go on.

    ``d/dtheta matching(phi_K(theta), target)``. The target is phi after L further adaptations, the
    last one of them by the teacher, and a constant. The meta-gradient goes through K adaptations
    and still sees K + L ahead. With one step of plain gradient descent as the target and half
    the squared distance of weights, it is that of ``truncated`` times the step size.

    Lifetimes, carry and ``info`` are those of ``of_windows``, with windows of K + L chunks;
    ``info`` has the ``loss``, the distance.

    Args:
      problem: A lifetime, whose ``num_adaptations`` is its length. Its theta need not be weights.
      layout: Blocks and devices of the tasks.
      matching: The distance, judged on the last chunk; for example ``matching_outputs``.
      window: K, number of adaptations to differentiate through.
      target_steps: L, number of further adaptations to the target.
      teacher: A learner with the same phi that takes the last of them, with the objective that
        theta is learned for.
      derivative: One of ``metajax.core.replay.DERIVATIVES``.

    Source: Flennerhag et al. (2022), "Bootstrapped meta-learning", equations 2 and 3.
    Deviation: the learner goes on after adapting to the last chunk as to any other.
    """
    learner, adapt = problem.learner, DERIVATIVES[derivative](problem.learner.adapt)
    distance = functools.partial(target_distance, learner, teacher, adapt, matching, window)
    return of_windows(problem, layout, window + target_steps - 1, distance)


def target_distance(
    learner: Learner,
    teacher: Learner,
    adapt: AdaptFn,
    matching: Matching,
    window: int,
    theta: Tree,
    item: Window,
) -> tuple[jax.Array, Info]:
    """The distance to the target of one window; arguments as ``bootstrapped`` takes them."""
    first, further = (
        jax.tree.map(lambda leaf, part=part: leaf[part], item.support)
        for part in (slice(window), slice(window, None))
    )
    keys = item.keys
    phi, _ = adaptations(learner, theta, item.phi, first, keys[:window], adapt=adapt)
    fixed, target = jax.lax.stop_gradient((theta, phi))
    target, _ = adaptations(learner, fixed, target, further, keys[window:-1])
    target = teacher.adapt(teacher.noise(keys[-1]), fixed, target, item.query)
    distance = matching(theta, phi, jax.lax.stop_gradient(target), item.query)
    return distance, {"loss": distance}


def matching_outputs(learner: Learner, value_coefficient: float | jax.Array = 0.0) -> Matching:
    """Divergence from the target's policy, and from its values.

    ``mean KL(target || policy) + value_coefficient * mean (value - target's)^2 / 2``

    Source: Flennerhag et al. (2022), section 5.
    """
    divergence = actor_of(learner).divergence

    def matching(theta, phi, target, chunk):
        now, aim = (learner.predict(theta, one, chunk) for one in (phi, target))
        apart = masked_mean(divergence(aim.distribution, now.distribution), chunk.mask)
        error = masked_mean(jnp.square(now.value - aim.value), chunk.mask)
        return apart + 0.5 * value_coefficient * error

    return matching
