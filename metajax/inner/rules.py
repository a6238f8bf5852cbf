"""Gradient clipping that can itself be differentiated."""

import jax
import jax.numpy as jnp
import optax


def clip_by_global_norm(max_norm: float | jax.Array) -> optax.GradientTransformation:
    """Scales updates down so that their global norm is at most ``max_norm``.

    Equal to ``optax.clip_by_global_norm``, but written on the squared norm. The
    norm itself has no derivative where all gradients are zero (a sparse-reward
    task that saw no reward), and optax's form then gives NaN meta-gradients.
    """

    def update(updates, state, params=None):
        del params
        squared = sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(updates))
        scale = jax.lax.rsqrt(jnp.maximum(squared / max_norm**2, 1))
        return jax.tree.map(lambda leaf: leaf * scale, updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)
