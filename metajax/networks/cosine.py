"""Comparison by angles."""

import flax.linen as nn
import jax
import jax.numpy as jnp


def unit_rows(rows: jax.Array) -> jax.Array:
    """Vectors ``[..., F]`` scaled to length 1; zeros stay."""
    return rows * jax.lax.rsqrt(jnp.maximum(jnp.sum(jnp.square(rows), -1, keepdims=True), 1e-12))


class CosineHead(nn.Module):
    """Cosines between features and a vector for each output, times a scale.

    Source: Chen et al. (2019), "A closer look at few-shot classification", section 3.1,
    "Baseline++"; 10 is the scale of their published code where there are many classes.
    Deviation: class vectors have length 1, as in the paper; the code learns their lengths.

    Args:
      size: Number of outputs.
      scale: Factor of the cosines.
    """

    size: int
    scale: float = 10.0

    @nn.compact
    def __call__(self, features: jax.Array) -> jax.Array:
        """Maps ``[n, F]`` to ``[n, size]``."""
        shape = features.shape[-1], self.size
        kernel = self.param("kernel", nn.initializers.glorot_uniform(), shape)
        return self.scale * unit_rows(features) @ unit_rows(kernel.T).T
