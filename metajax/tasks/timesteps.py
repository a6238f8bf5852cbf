"""Time steps of the families that are written here."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from metajax.core.types import TimeStep


def time_step(
    observation: jax.Array,
    reward: jax.Array | float = 0.0,
    *,
    terminated: jax.Array | bool = False,
    truncated: jax.Array | bool = False,
) -> TimeStep:
    """The outcome of ``reset``, by default, or of ``advance``: a step before any auto-reset.

    Args:
      observation: ``[O]``, also the final observation.
      reward: Scalar; cast to float32.
      terminated, truncated: Bool scalars.
    """
    return TimeStep(
        observation=observation,
        reward=jnp.asarray(reward, jnp.float32),
        terminated=jnp.asarray(terminated, bool),
        truncated=jnp.asarray(truncated, bool),
        final_observation=observation,
    )
