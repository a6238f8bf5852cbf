"""Dtypes and records: what an adapter to somebody else's environment needs."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from metajax.core.family import Tree


def strong(value: Any, dtype: Any) -> jax.Array:
    """An array of exactly that dtype: a weak one would change in a scan's carry."""
    if jnp.issubdtype(dtype, jax.dtypes.extended):
        return value
    return jnp.asarray(value, dtype)


def cast(dtypes: Tree, tree: Tree) -> Tree:
    """``tree`` with the dtypes that a tree of the same structure gives."""
    return jax.tree.map(lambda dtype, leaf: strong(leaf, dtype), dtypes, tree)


def scalar(value: Any, dtype: Any) -> jax.Array:
    """An array without axes; for what environments return with an axis of one."""
    return jnp.reshape(jnp.asarray(value, dtype), ())


def common_dtypes(first: Tree, second: Tree) -> Tree:
    """The dtypes that hold the leaves of both of two trees of arrays."""

    def common(a, b):
        return a.dtype if a.dtype == b.dtype else jnp.promote_types(a.dtype, b.dtype)

    return jax.tree.map(common, first, second)


def conform(nominal: Tree, drawn: Tree) -> Tree:
    """``drawn`` as arrays with the dtypes of ``nominal``.

    Python numbers count as float32 and int32. A float where ``nominal`` has an
    integer is rounded to the nearest one.
    """

    def one(reference, value):
        if isinstance(reference, bool):
            return strong(value, jnp.bool)
        if isinstance(reference, float):
            return strong(value, jnp.float32)
        dtype = jnp.int32 if isinstance(reference, int) else jnp.result_type(reference)
        is_float = jnp.issubdtype(jnp.result_type(value), jnp.floating)
        if jnp.issubdtype(dtype, jnp.integer) and is_float:
            value = jnp.round(value)
        return strong(value, dtype)

    return jax.tree.map(one, nominal, drawn)


def field_names(record: Any) -> list[str]:
    """Names of the fields of a dataclass or ``NamedTuple``."""
    if dataclasses.is_dataclass(record):
        return [field.name for field in dataclasses.fields(record)]
    return list(getattr(record, "_fields", ()))


def replace(record: Any, **changes: Any) -> Any:
    """A copy of a dataclass or ``NamedTuple`` with some fields changed."""
    if hasattr(record, "_replace"):
        return record._replace(**changes)
    return dataclasses.replace(record, **changes)
