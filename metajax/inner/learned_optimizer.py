"""A learned optimiser: a recurrent network that turns each gradient into a step."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from metajax.core.family import Key, Tree
from metajax.networks.recurrent import LSTM, LSTM_GATES, Weights, cell_step

LARGEST_EXPONENT = 10.0
"""p of ``log_and_sign``."""


def log_and_sign(gradient: jax.Array) -> jax.Array:
    """Gradients of any size as two inputs of a network, ``[...]`` to ``[..., 2]``.

    ``(log|g| / p, sign(g))`` where ``|g| >= exp(-p)``, else ``(-1, exp(p) g)``, with p = 10.

    Source: Andrychowicz et al. (2016), appendix A.
    """
    size = jnp.abs(gradient)
    large = size >= jnp.exp(-LARGEST_EXPONENT)
    logarithm = jnp.log(jnp.where(large, size, 1)) / LARGEST_EXPONENT
    first = jnp.where(large, logarithm, -1)
    second = jnp.where(large, jnp.sign(gradient), jnp.exp(LARGEST_EXPONENT) * gradient)
    return jnp.stack([first, second], axis=-1)


def init_lstm_rule(
    key: Key, *, hidden_size: int = 20, num_layers: int = 2, nominal: bool = False
) -> Tree:
    """Initial parameters of ``lstm_rule``: its layers, and a linear output of one number.

    With ``nominal`` the output is two numbers and zero, so that the rule begins as its nominal
    optimiser.
    """
    *keys, key_output = jax.random.split(key, num_layers + 1)
    layers = []
    for index, one in enumerate(keys):
        inputs = jnp.zeros((1, 1, 2 if index == 0 else hidden_size))
        layers.append(LSTM(hidden_size).init(one, inputs)["params"])
    shape = hidden_size, 1 + nominal
    kernel = jax.nn.initializers.lecun_normal()(key_output, shape)
    kernel = jnp.zeros(shape) if nominal else kernel
    return {"layers": layers, "output": {"kernel": kernel, "bias": jnp.zeros(1 + nominal)}}


def lstm_rule(
    theta: Tree,
    *,
    scale: float = 0.1,
    second_order: bool = False,
    nominal: optax.GradientTransformation | None = None,
) -> optax.GradientTransformation:
    """An optimiser whose step is the output of a stacked LSTM, the same for every coordinate.

    ``step_i = scale * output(lstm(log_and_sign(gradient_i)))``. Each coordinate of the
    parameters has a memory of its own, the state of the transformation; all share ``theta``.
    With trained parameters it is an optax transformation like any other.

    Args:
      theta: Parameters from ``init_lstm_rule``, of any sizes.
      scale: Factor of the output.
      second_order: Differentiate through the gradients that the network reads. Without it they
        are constants for a meta-gradient, as in the paper.
      nominal: An optimiser whose step, times ``exp`` of a second output, is added (Harrison et
        al. 2022, "A closer look at learned optimization: stability, robustness, and inductive
        biases"). Default: none.

    Source: Andrychowicz et al. (2016), "Learning to learn by gradient descent by gradient
    descent", section 2.
    """
    layers = [Weights(**layer) for layer in theta["layers"]]

    def init(params):
        size = sum(leaf.size for leaf in jax.tree.leaves(params))

        def nothing(layer):
            return jnp.zeros((size, layer.hidden.shape[0]), layer.hidden.dtype)

        memory = tuple((nothing(layer), nothing(layer)) for layer in layers)
        return memory if nominal is None else (memory, nominal.init(params))

    def update(updates, state, params=None):
        gradient, unravel = ravel_pytree(updates)
        by_nominal: Any = ()
        if nominal is not None:
            state, by_nominal = state
        seen = gradient if second_order else jax.lax.stop_gradient(gradient)
        hidden = log_and_sign(seen.astype(layers[0].hidden.dtype))
        memory = []
        for layer, carry in zip(layers, state, strict=True):
            carry, _ = cell_step(LSTM_GATES, layer, carry, hidden)
            hidden = carry[0]
            memory.append(carry)
        steps = hidden @ theta["output"]["kernel"] + theta["output"]["bias"]
        moved = unravel((scale * steps[:, 0]).astype(gradient.dtype))
        if nominal is None:
            return moved, tuple(memory)
        added, by_nominal = nominal.update(unravel(seen), by_nominal, params)
        factors = unravel(jnp.exp(steps[:, 1]).astype(gradient.dtype))
        moved = jax.tree.map(lambda step, one, factor: step + factor * one, moved, added, factors)
        return moved, (tuple(memory), by_nominal)

    return optax.GradientTransformation(init, update)
