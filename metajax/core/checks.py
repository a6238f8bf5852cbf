"""Checks of what the functions of the library are given."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from metajax.core.algorithm import MetaAlgorithm, MetaState
from metajax.core.family import DataFamily, TaskFamily
from metajax.core.kinds import show
from metajax.core.options import OptionError


def is_traced(tree: Any) -> bool:
    """Whether a leaf of a tree is traced by a transformation of jax."""
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(tree))


def check_algorithm(algorithm: Any) -> None:
    """Raises OptionError for anything but a ``MetaAlgorithm``."""
    if not isinstance(algorithm, MetaAlgorithm):
        allowed = 'allowed: one of metajax.make, for example metajax.make("maml", family)'
        raise OptionError("algorithm", f"{show(algorithm)} is not a MetaAlgorithm; {allowed}")


def check_family(family: Any) -> None:
    """Raises OptionError for anything but a family of tasks or of labelled examples."""
    if not isinstance(family, TaskFamily | DataFamily):
        raise OptionError(
            "family",
            f"{show(family)} is not a TaskFamily; allowed: one of metajax.tasks.make or "
            'metajax.tasks.from_gymnax, for example metajax.tasks.make("point-navigation")',
        )


def check_key(key: Any) -> None:
    """Raises OptionError for anything but one random key of jax."""
    dtype, shape = getattr(key, "dtype", None), getattr(key, "shape", None)
    typed = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)
    if not (typed and shape == ()) and not (dtype == np.uint32 and len(shape or ()) == 1):
        given = f"an array {list(shape)} of keys" if typed and shape else show(key)
        allowed = "allowed: one, for example jax.random.key(0), or jax.vmap over several"
        raise OptionError("key", f"{given} is not a random key; {allowed}")


def check_integer(field: str, value: Any, at_least: int, hint: str = "") -> None:
    """Raises OptionError for anything but an integer of at least ``at_least``."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        allowed = hint or f"allowed: at least {at_least}"
        raise OptionError(field, f"{show(value)} is not an integer; {allowed}")
    if value < at_least:
        raise OptionError(field, f"{value} is not possible; allowed: at least {at_least}")


def check_tree(field: str, given: Any, like: Any, allowed: str) -> None:
    """Raises OptionError for a tree of other arrays, or of such as are overwritten.

    Args:
      field: Name of the argument.
      given: Its value.
      like: Tree of the same structure; leaves need only ``shape`` and ``dtype``.
      allowed: What is allowed, in words.
    """
    try:
        found = _arrays(given)
    except TypeError:
        raise OptionError(field, f"{show(given)} holds no arrays; allowed: {allowed}") from None
    needed = _arrays(like)
    for path in needed | found:
        if found.get(path) != needed.get(path):
            names = [one.get(path) or "missing" for one in (found, needed)]
            problem = f"{path or 'it'} is {names[0]}, and should be {names[1]}"
            raise OptionError(field, f"belongs to something else: {problem}; allowed: {allowed}")
    if jax.tree.structure(given) != jax.tree.structure(like):
        raise OptionError(field, f"has another structure; allowed: {allowed}")
    deleted = (getattr(leaf, "is_deleted", None) for leaf in jax.tree.leaves(given))
    if not is_traced(given) and any(one() for one in deleted if one is not None):
        raise OptionError(field, "has been overwritten by training; copy what is used twice")


def deployed(algorithm: MetaAlgorithm, theta: Any) -> Any:
    """The meta-parameters of a meta-test, of a ``MetaState`` or such meta-parameters.

    Raises:
      OptionError: For those of another algorithm.
    """
    allowed = "the state that train ends with, or its theta"
    like = jax.eval_shape(algorithm.init, jax.random.key(0))
    if isinstance(theta, MetaState):
        check_tree("theta", theta, like, allowed)
        return algorithm.deploy(theta)
    check_tree("theta", theta, jax.eval_shape(algorithm.deploy, like), allowed)
    return theta


def _arrays(tree: Any) -> dict[str, str]:
    """Types of the arrays of a tree by path."""
    flat, _ = jax.tree_util.tree_flatten_with_path(jax.eval_shape(lambda: tree))
    return {jax.tree_util.keystr(path): f"{leaf.dtype}{list(leaf.shape)}" for path, leaf in flat}
