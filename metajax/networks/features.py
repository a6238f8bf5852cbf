"""Checks of networks passed in by users."""

from typing import Any

import flax.errors
import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx

from metajax.core.family import DataSpec, Spec
from metajax.core.options import OptionError


def check_network(network: Any, spec: Spec | DataSpec) -> None:
    """Checks a torso by tracing it: a module from observations ``[B, O]`` to ``[B, F]``.

    Raises:
      OptionError: If ``network`` is not such a module, or has other variables than parameters.
    """
    if not isinstance(network, nn.Module):
        cls = network if isinstance(network, type) else type(network)
        if issubclass(cls, nnx.Module):
            name = cls.__name__
            raise OptionError(
                "network",
                f"{name} is a module of flax.nnx; allowed: a flax.linen.Module, as "
                f"flax.nnx.bridge.to_linen({name}, ...) makes it with the arguments of {name} "
                "but rngs",
            )
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
    features = check_variables("network", network, jax.ShapeDtypeStruct(shape, jnp.float32))
    given = getattr(features, "shape", None)
    if given is None or len(given) != 2 or given[0] != 2:
        what = "no array" if given is None else f"features of shape {given}"
        raise OptionError(
            "network",
            f"{type(network).__name__} gives {what} for observations of shape {shape}; allowed: "
            "(2, F), a row of features for each",
        )


def check_variables(field: str, module: nn.Module, *inputs: Any) -> Any:
    """Traces a module, which must be a function of its parameters and inputs alone.

    Args:
      field: Name of the option, for the message.
      module, inputs: The module, and shapes and dtypes of what it is called with.

    Returns:
      Shape and dtype of its output.

    Raises:
      OptionError: For further variables, as of ``BatchNorm``, or random numbers, as of ``Dropout``.
    """

    def output(key, *inputs):
        variables = dict(module.init(key, *inputs))
        parameters = {"params": variables.pop("params", {})}
        if variables:
            raise OptionError(
                field,
                f"{type(module).__name__} has the variables {', '.join(sorted(variables))}; "
                "allowed: a module with parameters alone, LayerNorm in the place of BatchNorm",
            )
        return module.apply(parameters, *inputs)

    try:
        return jax.eval_shape(output, jax.random.key(0), *inputs)
    except flax.errors.InvalidRngError as error:
        raise OptionError(
            field,
            f"{type(module).__name__} draws random numbers when it is applied; allowed: a module "
            "that draws none, Dropout(rate, deterministic=True) or none in the place of Dropout",
        ) from error
