"""One optimiser step from one meta-gradient."""

from typing import NamedTuple

import optax

from metajax.core.algorithm import Estimator, Outer, check_trainable
from metajax.core.family import Tree


class _Carry(NamedTuple):
    optimizer_state: Tree
    estimator: Tree


def once(estimator: Estimator, optimizer: optax.GradientTransformation) -> Outer:
    """Estimates a meta-gradient and takes one optimiser step.

    Args:
      estimator: For example ``backprop`` or ``displacement``.
      optimizer: Any optax transformation.

    Returns:
      the ``Outer``. Its ``info`` adds ``gradient_norm``.
    """

    def init(key, theta):
        check_trainable(theta)
        return _Carry(optimizer.init(theta), estimator.init(key, theta))

    def update(key, theta, carry):
        gradients, estimator_carry, info = estimator.estimate(key, theta, carry.estimator)
        updates, state = optimizer.update(gradients, carry.optimizer_state, theta)
        info = {**info, "gradient_norm": optax.tree.norm(gradients)}
        return optax.apply_updates(theta, updates), _Carry(state, estimator_carry), info

    return Outer(init, update)
