"""The multilayer perceptron, the usual torso in meta-RL papers."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": nn.relu,
    "tanh": jnp.tanh,
    "elu": nn.elu,
    "gelu": nn.gelu,
    "silu": nn.silu,
}


class Adapter(nn.Module):
    """A bottleneck that is added to what it reads, and changes nothing at initialisation.

    Source: Houlsby et al. (2019), "Parameter-efficient transfer learning for NLP", section 2.1.

    Args:
      size: Units of the bottleneck.
      activation: One of ``ACTIVATIONS``.
    """

    size: int
    activation: str = "relu"

    @nn.compact
    def __call__(self, hidden: jax.Array) -> jax.Array:
        """Maps ``[B, F]`` to ``[B, F]``."""
        inside = ACTIVATIONS[self.activation](nn.Dense(self.size, name="down")(hidden))
        up = nn.Dense(hidden.shape[-1], kernel_init=nn.initializers.zeros, name="up")
        return hidden + up(inside)


class MLP(nn.Module):
    """Dense layers, each followed by the activation.

    Kernels start Glorot-uniform and biases at zero, as in the code of Finn et al. (2017).

    Args:
      hidden_sizes: Units of each layer.
      activation: One of ``ACTIVATIONS``.
      adapter_size: Units of an ``Adapter`` behind each layer. Default: no adapters.
    """

    hidden_sizes: tuple[int, ...] = (100, 100)
    activation: str = "relu"
    adapter_size: int | None = None

    @nn.compact
    def __call__(self, observation: jax.Array) -> jax.Array:
        """Maps observations ``[B, O]`` of any shape O to features ``[B, F]``."""
        hidden = observation.reshape(observation.shape[0], -1)
        for index, size in enumerate(self.hidden_sizes):
            hidden = nn.Dense(size, kernel_init=nn.initializers.glorot_uniform())(hidden)
            hidden = ACTIVATIONS[self.activation](hidden)
            if self.adapter_size is not None:
                adapter = Adapter(self.adapter_size, self.activation, name=f"adapter_{index}")
                hidden = adapter(hidden)
        return hidden
