"""One update from fresh trials."""

from typing import NamedTuple

import jax
import optax

from metajax.core.types import Estimator, Outer, Tree


class _Carry(NamedTuple):
    optimizer_state: Tree
    estimator: Tree


def once(estimator: Estimator, optimizer: optax.GradientTransformation) -> Outer:
    """Estimates a meta-gradient from fresh trials and takes one optimiser step.

    Args:
      estimator: for example ``backprop`` or ``displacement``.
      optimizer: any optax transformation.

    Returns:
      the ``Outer``. Its ``info`` adds ``gradient_norm``.
    """

    def init(key, theta):
        return _Carry(optimizer.init(theta), estimator.init(key, theta))

    def update(key, theta, carry):
        gradients, estimator_carry, info = estimator.estimate(key, theta, carry.estimator)
        updates, state = optimizer.update(gradients, carry.optimizer_state, theta)
        info = {**info, "gradient_norm": optax.tree.norm(gradients)}
        return optax.apply_updates(theta, updates), _Carry(state, estimator_carry), info

    return Outer(init, update)


def finish_info(info: dict[str, jax.Array], num_tasks: int) -> dict[str, jax.Array]:
    """Turns a mean over tasks back into a total where the quantity is a count."""
    return {**info, "env_steps": info["env_steps"] * num_tasks}
