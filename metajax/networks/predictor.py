"""Predictors for labelled examples: a torso and a linear output layer."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from metajax.core.family import DataSpec
from metajax.networks.cosine import CosineHead
from metajax.networks.features import check_network


class Predictor(NamedTuple):
    """A network from inputs to outputs, as pure functions of its weights.

    Attributes:
      init: ``(key) -> weights``, flax parameters ``{"predictor": {"torso": ..., "output": ...}}``.
      apply: ``(weights, inputs [n, ...]) -> [n, outputs]``.
      features: ``(weights, inputs [n, ...]) -> [n, F]``, the outputs of the torso;
        None without an output layer.
    """

    init: Callable[[jax.Array], Any]
    apply: Callable[[Any, jax.Array], jax.Array]
    features: Callable[[Any, jax.Array], jax.Array] | None = None


class _Output(nn.Module):
    torso: nn.Module
    output: nn.Module

    def __call__(self, inputs):
        return self.output(self.torso(inputs))

    def features(self, inputs):
        return self.torso(inputs)


def predictor(
    spec: DataSpec,
    network: nn.Module,
    *,
    num_outputs: int | None = None,
    bias: bool = True,
    cosine: bool = False,
) -> Predictor:
    """Builds a predictor for a family of labelled examples.

    Args:
      spec: Description of the family, with the input shape.
      network: Torso, any flax module from inputs ``[n, ...]`` to features ``[n, F]``.
      num_outputs: Number of outputs. Default: that of the family.
      bias: Add a bias to the outputs.
      cosine: Compare features with a vector for each output by their angle, see ``CosineHead``.

    Raises:
      OptionError: If ``network`` is not such a module.
    """
    check_network(network, spec)
    size = spec.num_outputs if num_outputs is None else num_outputs
    initial = nn.initializers.glorot_uniform()
    output = nn.Dense(size, use_bias=bias, kernel_init=initial)
    module = _Output(network, CosineHead(size) if cosine else output)

    def features(weights: Any, inputs: jax.Array) -> Any:
        return module.apply({"params": weights["predictor"]}, inputs, method="features")

    return without_output(spec, module)._replace(features=features)


def without_output(spec: DataSpec, module: nn.Module) -> Predictor:
    """A predictor of a module alone, from inputs ``[n, ...]`` to whatever it gives."""

    def init(key):
        return {"predictor": module.init(key, jnp.zeros((1, *spec.input_shape)))["params"]}

    def apply(weights: Any, inputs: jax.Array) -> Any:
        return module.apply({"params": weights["predictor"]}, inputs)

    return Predictor(init, apply)
