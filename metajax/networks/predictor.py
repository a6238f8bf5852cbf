"""Predictors for labelled examples: a torso and a linear output layer."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from metajax.core.family import DataSpec
from metajax.networks.features import check_network


class Predictor(NamedTuple):
    """A network from inputs to outputs, as pure functions of its weights.

    Attributes:
      init: ``(key) -> weights``, flax parameters ``{"predictor": {"torso": ..., "output": ...}}``.
      apply: ``(weights, inputs [n, ...]) -> [n, outputs]``.
    """

    init: Callable[[jax.Array], Any]
    apply: Callable[[Any, jax.Array], jax.Array]


class _Output(nn.Module):
    torso: nn.Module
    size: int
    bias: bool

    @nn.compact
    def __call__(self, inputs):
        initial = nn.initializers.glorot_uniform()
        output = nn.Dense(self.size, use_bias=self.bias, kernel_init=initial, name="output")
        return output(self.torso(inputs))


def predictor(
    spec: DataSpec, network: nn.Module, *, num_outputs: int | None = None, bias: bool = True
) -> Predictor:
    """Builds a predictor for a family of labelled examples.

    Args:
      spec: Description of the family, with the input shape.
      network: Torso, any flax module from inputs ``[n, ...]`` to features ``[n, F]``.
      num_outputs: Number of outputs. Default: that of the family.
      bias: Add a bias to the outputs.

    Raises:
      OptionError: If ``network`` is not such a module.
    """
    check_network(network, spec)
    size = spec.num_outputs if num_outputs is None else num_outputs
    return without_output(spec, _Output(network, size, bias))


def without_output(spec: DataSpec, module: nn.Module) -> Predictor:
    """A predictor of a module alone, from inputs ``[n, ...]`` to whatever it gives."""

    def init(key):
        return {"predictor": module.init(key, jnp.zeros((1, *spec.input_shape)))["params"]}

    def apply(weights: Any, inputs: jax.Array) -> Any:
        return module.apply({"params": weights["predictor"]}, inputs)

    return Predictor(init, apply)
