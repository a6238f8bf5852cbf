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
      init: ``(key) -> weights``, a dict of flax parameters.
      apply: ``(weights, inputs [n, ...]) -> [n, outputs]``.
    """

    init: Callable[[jax.Array], Any]
    apply: Callable[[Any, jax.Array], jax.Array]


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
    output = nn.Dense(size, use_bias=bias, kernel_init=nn.initializers.glorot_uniform())
    module = nn.Sequential([network, output])

    def init(key):
        return module.init(key, jnp.zeros((1, *spec.input_shape)))["params"]

    def apply(weights: Any, inputs: jax.Array) -> Any:
        return module.apply({"params": weights}, inputs)

    return Predictor(init, apply)
