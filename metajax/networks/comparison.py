"""A learned comparison of classes with queries."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from metajax.networks.convolutions import (
    Convolutions,
    check_images,
    convolved,
    max_pool,
    normalized,
)
from metajax.networks.mlp import MLP


class Comparison(nn.Module):
    """A score of each pair of a class and a query, from what both are embedded as.

    Feature maps are joined along their channels and pass through blocks of convolutions, rows
    are joined end to end; an MLP and a linear layer follow. The first convolution of a pair is
    the sum of one of its class and one of its query, and so takes the time of single images.

    Args:
      filters: Number of filters of each block of convolutions; empty for embeddings in rows.
      sizes: Units of each hidden layer of the MLP.
      activation: One of ``ACTIVATIONS``.

    Source: Sung et al. (2018), "Learning to compare: relation network for few-shot learning",
    section 3.4: two blocks of 64 filters and a layer of 8 units. Deviation: layer normalisation
    as in ``Convolutions``.
    """

    filters: tuple[int, ...] = (64, 64)
    sizes: tuple[int, ...] = (8,)
    activation: str = "relu"

    @nn.compact
    def __call__(self, classes: jax.Array, queries: jax.Array) -> jax.Array:
        """Scores ``[q, classes]`` of embeddings ``[classes, ...]`` and ``[q, ...]``.

        Raises OptionError for embeddings that are no maps, or too small for the blocks.
        """
        if self.filters:
            check_images("relation_filters", queries.shape[1:], len(self.filters))
            shape = 3, 3, 2 * queries.shape[-1], self.filters[0]
            kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
            of_class, of_query = jnp.split(kernel, 2, axis=2)
            left, right = (
                convolved(images, part, (1, 1))
                for images, part in ((classes, of_class), (queries, of_query))
            )
            pairs = (left + right[:, None]).reshape(-1, *left.shape[1:])
            pairs = max_pool(normalized(pairs, self.activation))
            pairs = Convolutions(self.filters[1:], self.activation)(pairs)
        else:
            shape = len(queries), *classes.shape
            joined = jnp.broadcast_to(classes, shape), jnp.broadcast_to(queries[:, None], shape)
            pairs = jnp.concatenate(joined, axis=-1).reshape(-1, 2 * classes.shape[1])
        scores = nn.Dense(1)(MLP(self.sizes, self.activation)(pairs))
        return scores.reshape(len(queries), len(classes))
