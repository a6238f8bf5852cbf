"""How active the units of a network are."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

from metajax.networks.mlp import ACTIVATIONS, MLP


def unit_activity(module: nn.Module, torso: MLP, weights: Any, observation: jax.Array) -> Any:
    """Mean absolute outputs ``[F]`` of the units of each layer, at the place of its dict.

    Args:
      module: Dense layers behind the torso, which is its entry ``torso``.
      torso: The torso, whose layers are followed by its activation.
      weights: Parameters of the module.
      observation: ``[B, O]``.
    """

    def is_dense(one, method):
        return isinstance(one, nn.Dense) and method == "__call__"

    _, found = module.apply(
        {"params": weights}, observation, capture_intermediates=is_dense, mutable="intermediates"
    )

    def active(path, outputs):
        if "torso" in path:
            outputs = ACTIVATIONS[torso.activation](outputs)
        return jnp.mean(jnp.abs(outputs), axis=0)

    flat: dict[Any, Any] = flatten_dict(dict(found)["intermediates"])
    return unflatten_dict({path[:-1]: active(path, one) for path, (one,) in flat.items()})
