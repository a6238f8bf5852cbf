"""A check that a gradient can reach theta at all."""

from collections.abc import Callable

import jax

from metajax.core.family import Tree


def reads(of_theta: Callable[[Tree], Tree], theta: Tree) -> bool:
    """Whether the values of a function, not its shapes alone, are computed from theta.

    It is traced and not run; inside another traced function its operations are discarded.

    Args:
      of_theta: ``(theta) -> arrays``.
      theta: Where to trace it.
    """
    traced = jax.make_jaxpr(of_theta)(theta).jaxpr
    read = {id(var) for var in traced.outvars}
    for equation in reversed(traced.eqns):
        if any(id(var) in read for var in equation.outvars):
            read |= {id(var) for var in equation.invars}
    return any(id(var) in read for var in traced.invars)
