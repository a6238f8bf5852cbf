"""Counting transitions where a learner lives as long as training does."""

import jax
import jax.numpy as jnp

from metajax.core.types import Chunk


def counted(env_steps: jax.Array, chunk: Chunk) -> jax.Array:
    """Transitions once a chunk is added, or about as many as an integer holds.

    Schedules depend on them, and a sum that wraps around would begin them anew.
    """
    size = chunk.mask.size
    return jnp.minimum(env_steps, jnp.iinfo(env_steps.dtype).max - size) + size
