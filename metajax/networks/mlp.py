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


class MLP(nn.Module):
    """Dense layers, each followed by the activation.

    Kernels start Glorot-uniform and biases at zero, as in the code of Finn et al. (2017).

    Args:
      hidden_sizes: Units of each layer.
      activation: One of ``ACTIVATIONS``.
    """

    hidden_sizes: tuple[int, ...] = (100, 100)
    activation: str = "relu"

    @nn.compact
    def __call__(self, observation: jax.Array) -> jax.Array:
        """Maps observations ``[B, O]`` of any shape O to features ``[B, F]``."""
        hidden = observation.reshape(observation.shape[0], -1)
        for size in self.hidden_sizes:
            hidden = nn.Dense(size, kernel_init=nn.initializers.glorot_uniform())(hidden)
            hidden = ACTIVATIONS[self.activation](hidden)
        return hidden
