"""A masked multilayer perceptron: width and depth as numbers instead of shapes."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from metajax.core.family import Tree
from metajax.networks.mlp import ACTIVATIONS

_SIZES = "num_units", "num_layers"


class MaskedMLP(nn.Module):
    """An MLP of fixed shape that can compute what any smaller MLP computes.

    Units beyond ``num_units`` output 0, and layers beyond ``num_layers`` are skipped. Both
    numbers are stored among the weights, under ``stop_gradient``, so that weights identify
    the network they belong to; ``resize`` sets them.

    Args:
      max_units: Units of each layer.
      max_layers: Number of hidden layers.
      activation: One of ``ACTIVATIONS``.
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
    """Initial weights of a ``q_network`` on a ``MaskedMLP``, resized to a smaller network.

    Kernels are rescaled to the initial variance of the smaller network: Glorot's in the
    layers, and one over the number of inputs in the heads.

    Args:
      weights: Weights of the largest network, from ``QNetwork.init``.
      num_units, num_layers: Size of the smaller network; may be traced.
    """

    def scaled(layer, factor):
        return {**layer, "kernel": layer["kernel"] * jnp.sqrt(factor)}

    torso = dict(weights["torso"])
    for name in [name for name in torso if name not in _SIZES]:
        num_inputs, max_units = torso[name]["kernel"].shape
        inputs = num_inputs if name == "Dense_0" else num_units
        torso[name] = scaled(torso[name], (num_inputs + max_units) / (inputs + num_units))
    sizes = zip(_SIZES, (num_units, num_layers), strict=True)
    torso |= {name: jnp.asarray(size, jnp.float32) for name, size in sizes}
    factor = torso["Dense_0"]["bias"].size / num_units
    heads = {name: scaled(head, factor) for name, head in weights.items() if name != "torso"}
    return {**heads, "torso": torso}
