"""Trees as vectors, for finite differences."""

from collections.abc import Callable

import jax
import numpy as np


def raveled(tree) -> tuple[np.ndarray, Callable]:
    """All numbers of a tree as one vector, and the way back, also of traced vectors."""
    leaves, structure = jax.tree.flatten(jax.device_get(tree))
    ends = np.cumsum([np.size(leaf) for leaf in leaves])

    def unravel(flat):
        parts = [
            flat[end - np.size(leaf) : end].reshape(np.shape(leaf))
            for leaf, end in zip(leaves, ends, strict=True)
        ]
        return jax.tree.unflatten(structure, parts)

    return np.concatenate([np.ravel(leaf) for leaf in leaves]), unravel
