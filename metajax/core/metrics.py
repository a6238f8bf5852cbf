"""Reports of trials, and how they are put together: the one place that knows sums from means.

An ``info`` maps names to arrays. ``env_steps`` counts transitions (or labelled examples) and
is summed over tasks and iterations; everything else is averaged.
"""

import jax.numpy as jnp

from metajax.core.algorithm import Info

SUMS = frozenset({"env_steps"})
"""Names of counts."""


def over_rows(info: Info) -> Info:
    """Reports ``[N, ...]`` of N tasks as one; counts as floats, which do not wrap around."""
    return {
        name: jnp.sum(leaf, axis=0, dtype=float) if name in SUMS else jnp.mean(leaf, axis=0)
        for name, leaf in info.items()
    }


def from_mean(info: Info, num_tasks: int) -> Info:
    """A report whose every entry is a mean over N tasks, with its counts as sums again."""
    return {name: leaf * num_tasks if name in SUMS else leaf for name, leaf in info.items()}
