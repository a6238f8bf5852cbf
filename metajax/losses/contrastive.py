"""Contrastive losses."""

import jax
import jax.numpy as jnp

from metajax.networks import unit_rows


def similarity_logits(embedded: jax.Array, temperature: float | jax.Array) -> jax.Array:
    """Cosines of each row with each other one, divided by the temperature, ``[n, n]``.

    A row is not compared with itself: its own logit is minus infinity. With the numbers of
    the partners as classes, the cross-entropy of these logits is NT-Xent.

    Args:
      embedded: ``[n, F]``, one row for each member of n / 2 pairs.
      temperature: Divisor of the cosines.

    Source: Chen et al. (2020), "A simple framework for contrastive learning of visual
    representations", equation 1.
    """
    units = unit_rows(embedded)
    itself = jnp.eye(len(units), dtype=bool)
    return jnp.where(itself, -jnp.inf, units @ units.T / temperature)


def partners(num_pairs: int) -> jax.Array:
    """The row of each row's partner, int32 ``[2 n]``, where row i and row n + i are a pair."""
    return (jnp.arange(2 * num_pairs, dtype=jnp.int32) + num_pairs) % (2 * num_pairs)
