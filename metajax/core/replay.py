"""The exact replay of a trial's adaptations, and how to differentiate through them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from metajax.core.family import Key, Tree
from metajax.core.types import AdaptFn, Learner


def replay(
    learner: Learner,
    theta: Tree,
    phi: Tree,
    support: Tree,
    key: Key,
    *,
    adapt: AdaptFn | None = None,
    observe: Callable[[Tree, Tree], Any] = lambda phi, chunk: None,
) -> tuple[Tree, Any]:
    """The adaptations of a trial again, as a differentiable function of theta and phi.

    Args:
      learner: The learner of the trial.
      theta: Point of evaluation; at the trial's own theta the result is the trial's phi.
      phi: State at the start: ``learner.begin(trial.keys.begin, theta)`` for a whole trial.
      support: ``Trial.support``, leaves ``[K, ...]``.
      key: ``Trial.keys.adapt``. The replay is exact for generators that draw the same under
        ``vmap`` as without (all but "rbg" and "unsafe_rbg"), and for learners that draw nothing.
      adapt: ``learner.adapt`` wrapped by one of ``DERIVATIVES``. Default: ``learner.adapt``.
      observe: ``(phi, chunk) -> output``, evaluated for each chunk before its adaptation.

    Returns:
      phi after the K adaptations, and the outputs of ``observe``, ``[K, ...]``.
    """
    keys = jax.random.split(key, jax.tree.leaves(support)[0].shape[0])
    return adaptations(learner, theta, phi, support, keys, adapt=adapt, observe=observe)


def adaptations(
    learner: Learner,
    theta: Tree,
    phi: Tree,
    support: Tree,
    keys: Key,
    *,
    adapt: AdaptFn | None = None,
    observe: Callable[[Tree, Tree], Any] = lambda phi, chunk: None,
) -> tuple[Tree, Any]:
    """``replay`` with the key of each adaptation, ``[K]``."""
    update = learner.adapt if adapt is None else adapt

    def adaptation(phi, inputs):
        noise, chunk = inputs
        return update(noise, theta, phi, chunk), observe(phi, chunk)

    return jax.lax.scan(adaptation, phi, (jax.vmap(learner.noise)(keys), support))


def exact(adapt: AdaptFn) -> AdaptFn:
    """Differentiates through the adaptation as it is: second order."""
    return adapt


def first_order(adapt: AdaptFn) -> AdaptFn:
    """Replaces the Jacobian of each adaptation in phi by the identity.

    Source: first-order MAML, Finn et al. (2017), section 5.2.
    """

    def wrapped(noise: Tree, theta: Tree, phi: Tree, data: Tree, /) -> Tree:
        adapted = adapt(noise, *jax.lax.stop_gradient((theta, phi)), data)

        def straight_through(new, old):
            if not jnp.issubdtype(jnp.asarray(old).dtype, jnp.inexact):
                return new
            return jax.lax.stop_gradient(new) + (old - jax.lax.stop_gradient(old))

        return jax.tree.map(straight_through, adapted, phi)

    return wrapped


def rematerialized(adapt: AdaptFn) -> AdaptFn:
    """Recomputes each adaptation in the backward pass: memory flat in K."""
    return jax.checkpoint(adapt)


DERIVATIVES: dict[str, Callable[[AdaptFn], AdaptFn]] = {
    "exact": exact,
    "first-order": first_order,
    "exact-remat": rematerialized,
}
"""How to differentiate through the inner loop, by name."""
