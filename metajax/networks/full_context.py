"""Embeddings of examples in the context of a whole support set."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from metajax.networks.recurrent import LSTM


class FullContext(nn.Module):
    """Full context embeddings of matching networks.

    A bidirectional LSTM reads the embeddings g' of the support set in their order, and
    ``g_i = g'_i + forward_i + backward_i``. A query f' reads them ``num_steps`` times:

    ``r = sum_i softmax_i(h . g_i) g_i;  h, c <- LSTM(f', [h, r], c);  h <- h + f'``

    from ``h = c = 0``, and its embedding is the last h.

    Args:
      num_steps: Number of times that a query reads the support set.

    Source: Vinyals et al. (2016), "Matching networks for one shot learning", section 2.1.2 and
    appendix A.
    """

    num_steps: int

    @nn.compact
    def __call__(self, support: jax.Array, query: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Maps embeddings of support ``[n, F]`` and query ``[q, F]`` to others of these shapes."""
        size = support.shape[-1]
        series = support[:, None]
        onward = LSTM(size, name="forward")(series)
        back = LSTM(size, name="backward")(series[::-1])[::-1]
        support = support + (onward + back)[:, 0]
        reader = LSTM(size, name="reader")
        hidden = cell = jnp.zeros_like(query)
        for _ in range(self.num_steps):
            read = jax.nn.softmax(hidden @ support.T) @ support
            # The weights of r stand beside those of f', which adds up to the same.
            inputs = jnp.concatenate([query, read], axis=-1)
            after, (_, cell) = reader.step((hidden, cell), inputs)
            hidden = after + query
        return support, hidden
