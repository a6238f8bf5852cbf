"""Dtype conversions and record helpers for adapters."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from metajax.core.family import Tree


def strong(value: Any, dtype: Any) -> jax.Array:
    """An array of exactly ``dtype``; a weak dtype would change in the carry of a scan."""
    if jnp.issubdtype(dtype, jax.dtypes.extended):
        return value
    return jnp.asarray(value, jax.dtypes.canonicalize_dtype(dtype))


def cast(dtypes: Tree, tree: Tree) -> Tree:
    """``tree`` with the dtypes of a tree of the same structure."""
    return jax.tree.map(lambda dtype, leaf: strong(leaf, dtype), dtypes, tree)


def scalar(value: Any, dtype: Any) -> jax.Array:
    """A scalar of ``dtype``, also from an array ``[1]``, as some environments return."""
    return jnp.reshape(jnp.asarray(value, dtype), ())


def common_dtypes(first: Tree, second: Tree) -> Tree:
    """Leafwise promoted dtypes of two trees of arrays."""

    def common(a, b):
        return a.dtype if a.dtype == b.dtype else jnp.promote_types(a.dtype, b.dtype)

    return jax.tree.map(common, first, second)


def conform(nominal: Tree, drawn: Tree) -> Tree:
    """``drawn`` as arrays with the dtypes of ``nominal``.

    Python numbers count as float32 and int32. A float is rounded where ``nominal`` has an
    integer.
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
    """Field names of a dataclass or ``NamedTuple``; empty for anything else."""
    if dataclasses.is_dataclass(record):
        return [field.name for field in dataclasses.fields(record)]
    return list(getattr(record, "_fields", ()))


def replace(record: Any, **changes: Any) -> Any:
    """A copy of a dataclass or ``NamedTuple`` with some fields replaced."""
    if hasattr(record, "_replace"):
        return record._replace(**changes)
    return dataclasses.replace(record, **changes)
