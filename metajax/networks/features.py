"""Checks of networks passed in by users."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from metajax.core.family import DataSpec, Spec
from metajax.core.options import OptionError


def check_network(network: Any, spec: Spec | DataSpec) -> None:
    """Checks a torso by tracing it: a module from observations ``[B, O]`` to ``[B, F]``.

    Raises:
      OptionError: If ``network`` is not such a module.
    """
    if not isinstance(network, nn.Module):
        name = getattr(network, "__name__", repr(network))
        meant = f"did you mean {name}()? " if isinstance(network, type) else ""
        raise OptionError(
            "network", f"{name} is not a module; {meant}allowed: an instance of a flax.linen.Module"
        )
    if isinstance(spec, DataSpec):
        one = spec.input_shape
    else:
        one = spec.observation_shape if spec.num_indices is None else (spec.num_indices,)
    shape = (2, *one)
    features, _ = jax.eval_shape(
        network.init_with_output, jax.random.key(0), jax.ShapeDtypeStruct(shape, jnp.float32)
    )
    given = getattr(features, "shape", None)
    if given is None or len(given) != 2 or given[0] != 2:
        what = "no array" if given is None else f"features of shape {given}"
        raise OptionError(
            "network",
            f"{type(network).__name__} gives {what} for observations of shape {shape}; allowed: "
            "(2, F), a row of features for each",
        )
