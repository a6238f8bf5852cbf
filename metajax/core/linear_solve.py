"""Linear systems of which only products with the matrix are known."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from metajax.core.family import Tree


def conjugate_gradients(product: Callable[[Tree], Tree], vector: Tree, iterations: int) -> Tree:
    """The approximate solution x of ``A x = vector`` after some iterations from 0.

    One product an iteration; ``jax.scipy.sparse.linalg.cg`` takes one more, of the start. A
    residual of 0 ends it early, and so does a direction d with ``d A d <= 0``, along which there
    is no minimum; the solution found so far is returned. Reverse mode is not defined.

    Args:
      product: ``(x) -> A x`` for a symmetric A. It converges where A is positive definite.
      vector: The right-hand side, a tree.
      iterations: Largest number of products.

    Source: Hestenes and Stiefel (1952), "Methods of conjugate gradients for solving linear
    systems"; the end at negative curvature: Steihaug (1983), "The conjugate gradient method and
    trust regions in large scale optimization".
    """

    def go_on(state):
        *_, length, count = state
        return (length > 0) & (count < iterations)

    def iteration(state):
        solution, residual, direction, length, count = state
        image = product(direction)
        curvature = jnp.asarray(optax.tree.vdot(direction, image))
        convex = curvature > 0
        step = jnp.where(convex, length / curvature, 0.0)
        solution = optax.tree.add_scale(solution, step, direction)
        residual = optax.tree.add_scale(residual, -step, image)
        new_length = jnp.where(convex, optax.tree.vdot(residual, residual), 0.0)
        direction = optax.tree.add_scale(residual, new_length / length, direction)
        return solution, residual, direction, new_length, count + 1

    start = optax.tree.zeros_like(vector)
    begin = start, vector, vector, optax.tree.vdot(vector, vector), jnp.zeros((), jnp.int32)
    return jax.lax.while_loop(go_on, iteration, begin)[0]
