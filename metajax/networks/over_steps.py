"""Batched functions applied to whole chunks."""

from collections.abc import Callable
from typing import Any

import jax


def over_steps(fn: Callable[..., Any], *inputs: Any) -> Any:
    """``fn`` applied to all transitions of a chunk as one batch of B = T E rows.

    Inputs and result have leaves ``[T, E, ...]``; ``fn`` gets and gives leaves ``[B, ...]``.
    """
    num_steps, num_streams = jax.tree.leaves(inputs)[0].shape[:2]

    def flatten(leaf):
        return leaf.reshape(num_steps * num_streams, *leaf.shape[2:])

    def restore(leaf):
        return leaf.reshape(num_steps, num_streams, *leaf.shape[1:])

    return jax.tree.map(restore, fn(*jax.tree.map(flatten, inputs)))
