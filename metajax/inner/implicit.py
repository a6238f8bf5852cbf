"""Adaptation to a minimum, differentiated by what the minimum is and not by the way to it."""

from collections.abc import Callable

import jax

from metajax.core.family import Tree
from metajax.core.linear_solve import conjugate_gradients
from metajax.core.types import AdaptFn


def implicit(
    adapt: AdaptFn, slope: Callable[[Tree, Tree, Tree], Tree], *, cg_iterations: int = 5
) -> AdaptFn:
    """An adaptation whose meta-gradient is the implicit one at the weights that it ends with.

    Where the slope F of the inner objective is 0, ``d fast = -(dF/dfast)^-1 dF/dtheta d theta``:
    the implicit function theorem. The inverse is applied by conjugate gradients, whose products
    with the Hessian ``dF/dfast`` are those of one linearisation, so neither memory nor time of
    the backward pass grows with the number of updates. The state before the adaptation and the
    data get no gradient. Reverse mode alone is defined.

    Args:
      adapt: Descends to, or close to, the minimum; its phi is a ``DescentState``.
      slope: ``(theta, fast, data) -> F``, the gradient of the inner objective in the adapted
        weights, of their structure; its Hessian should be positive definite.
      cg_iterations: Products with the Hessian.

    Source: Rajeswaran et al. (2019), "Meta-learning with implicit gradients", section 3.
    """

    @jax.custom_vjp
    def adapted(noise, theta, phi, data):
        return adapt(noise, theta, phi, data)

    def forward(noise, theta, phi, data):
        after = adapt(noise, theta, phi, data)
        return after, (theta, after.fast, data)

    def backward(kept, cotangent):
        theta, fast, data = kept
        _, product = jax.linearize(lambda fast: slope(theta, fast, data), fast)
        solution = conjugate_gradients(product, cotangent.fast, cg_iterations)
        _, in_theta = jax.vjp(lambda theta: slope(theta, fast, data), theta)
        (gradient,) = in_theta(solution)
        return None, jax.tree.map(lambda leaf: -leaf, gradient), None, None

    adapted.defvjp(forward, backward)
    return adapted
