"""Functions of rows, applied to whole chunks."""

from collections.abc import Callable
from typing import Any

import jax


def over_steps(fn: Callable[..., Any], *inputs: Any) -> Any:
    """``fn`` of all transitions of a chunk as the rows of one batch.

    Args:
      fn: of trees with leaves ``[B, ...]``, to such a tree.
      inputs: its arguments, leaves ``[T, E, ...]``.

    Returns:
      what it gives with B = T E, leaves ``[T, E, ...]``.
    """
    num_steps, num_streams = jax.tree.leaves(inputs)[0].shape[:2]

    def flatten(leaf):
        return leaf.reshape(num_steps * num_streams, *leaf.shape[2:])

    def restore(leaf):
        return leaf.reshape(num_steps, num_streams, *leaf.shape[1:])

    return jax.tree.map(restore, fn(*jax.tree.map(flatten, inputs)))
