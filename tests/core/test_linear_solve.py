"""Conjugate gradients against the solution of the dense system."""

import jax
import numpy as np

from metajax.core.linear_solve import conjugate_gradients


def test_as_many_iterations_as_dimensions_solve_the_system():
    rng = np.random.default_rng(0)
    root, right = rng.normal(size=(5, 5)), rng.normal(size=5)
    matrix = root @ root.T + np.eye(5)
    calls = []

    def product(tree):
        calls.append(tree)
        image = matrix @ jax.numpy.concatenate([tree["a"], tree["b"].reshape(-1)])
        return {"a": image[:1], "b": image[1:].reshape(2, 2)}

    vectors = {"a": right[:1], "b": right[1:].reshape(2, 2)}
    solve = jax.jit(conjugate_gradients, static_argnums=0)
    with jax.enable_x64(True):
        found = jax.device_get([solve(product, vectors, number) for number in (5, 1)])
        nothing = jax.tree.map(np.zeros_like, vectors)
        still = jax.device_get(solve(product, nothing, 5))
    solution, first = (np.concatenate([one["a"], one["b"].ravel()]) for one in found)
    np.testing.assert_allclose(solution, np.linalg.solve(matrix, right), rtol=1e-10)
    # The best multiple of the right-hand side, in the norm of the matrix.
    np.testing.assert_allclose(first, right * (right @ right) / (right @ matrix @ right))
    np.testing.assert_array_equal(still["a"], 0)
    assert len(calls) == 1  # in the loop alone


def test_negative_curvature_ends_with_the_solution_so_far():
    matrix, right = np.diag([2.0, -1.0]), np.array([2.0, 1.0])

    def solve(right):
        return jax.jit(lambda right: conjugate_gradients(lambda x: matrix @ x, right, 5))(right)

    with jax.enable_x64(True):
        found, none = jax.device_get([solve(right), solve(right[::-1] * [0, 1])])
    # First along the right-hand side, 5 / 7 of it; the next direction has negative curvature.
    np.testing.assert_allclose(found, right * 5 / 7)
    np.testing.assert_array_equal(none, 0)
