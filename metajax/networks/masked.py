"""A multilayer perceptron whose width and depth are numbers, not shapes."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from metajax.core.family import Tree
from metajax.networks.mlp import ACTIVATIONS

_SIZES = "num_units", "num_layers"


class MaskedMLP(nn.Module):
    """An MLP of the largest size that computes what a smaller one would.

    Units beyond ``num_units`` are 0 and layers beyond ``num_layers`` are left out. These two
    numbers stand among the weights, where no gradient reaches them, so that weights say by
    themselves what network they belong to. ``resize`` sets them.

    Args:
      max_units: units of each layer.
      max_layers: hidden layers.
      activation: one of ``ACTIVATIONS``.
    """

    max_units: int
    max_layers: int
    activation: str = "relu"

    @nn.compact
    def __call__(self, observation: jax.Array) -> jax.Array:
        """Maps observations ``[B, O]`` of any shape O to features ``[B, max_units]``."""
        largest = self.max_units, self.max_layers
        num_units, num_layers = (
            jax.lax.stop_gradient(self.param(name, nn.initializers.constant(size), ()))
            for name, size in zip(_SIZES, largest, strict=True)
        )
        kept = jnp.arange(self.max_units) < num_units
        hidden = observation.reshape(observation.shape[0], -1)
        for index in range(self.max_layers):
            layer = nn.Dense(self.max_units, kernel_init=nn.initializers.glorot_uniform())
            output = jnp.where(kept, ACTIVATIONS[self.activation](layer(hidden)), 0)
            hidden = output if index == 0 else jnp.where(index < num_layers, output, hidden)
        return hidden


def resize(
    weights: dict[str, Any], num_units: int | jax.Array, num_layers: int | jax.Array
) -> Tree:
    """Initial weights of a ``q_network`` on a ``MaskedMLP``, as those of a smaller network.

    Kernels are scaled to the variance that the small network's initialisation has:
    Glorot's in the layers and one over the inputs in the heads.

    Args:
      weights: from ``QNetwork.init``, so those of the largest network.
      num_units, num_layers: of the smaller one; may be traced.
    """

    def scaled(layer, factor):
        return {**layer, "kernel": layer["kernel"] * jnp.sqrt(factor)}

    torso = dict(weights["torso"])
    for name in [name for name in torso if name not in _SIZES]:
        num_inputs, max_units = torso[name]["kernel"].shape
        inputs = num_inputs if name == "Dense_0" else num_units
        torso[name] = scaled(torso[name], (num_inputs + max_units) / (inputs + num_units))
    torso |= {
        name: jnp.asarray(size, jnp.float32)
        for name, size in zip(_SIZES, (num_units, num_layers), strict=True)
    }
    max_units = torso["Dense_0"]["bias"].size
    heads = {
        name: scaled(head, max_units / num_units)
        for name, head in weights.items()
        if name != "torso"
    }
    return {**heads, "torso": torso}
