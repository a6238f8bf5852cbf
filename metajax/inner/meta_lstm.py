"""The LSTM whose cell state are the weights that it trains."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from metajax.core.family import Key, Tree
from metajax.inner.learned_optimizer import log_and_sign
from metajax.networks.recurrent import LSTM, LSTM_GATES, Weights, cell_step

FORGET_BIAS = 5.0
"""Initial bias of the forget gate, which then keeps 0.993 of a weight."""
KERNEL_RANGE = 0.01
"""Initial kernels of the gates are uniform between plus and minus this."""


class MetaLSTMState(NamedTuple):
    """Memory of ``meta_lstm_rule`` for P coordinates.

    Attributes:
      layer: Carry of the first layer, a tuple of ``[P, H]``.
      gates: The gates of the last step by name, ``[P]`` each.
    """

    layer: tuple[jax.Array, ...]
    gates: dict[str, jax.Array]


def init_meta_lstm_rule(key: Key, *, hidden_size: int = 20, rate: float | jax.Array = 0.01) -> Tree:
    """Initial parameters of ``meta_lstm_rule``.

    Args:
      key: Random key.
      hidden_size: Units H of the first layer.
      rate: The input gate at the start, between 0 and 1: the step size of gradient descent.
    """
    key_layer, key_input, key_forget = jax.random.split(key, 3)

    def gate(key, bias):
        shape = (hidden_size + 2,)
        kernel = jax.random.uniform(key, shape, minval=-KERNEL_RANGE, maxval=KERNEL_RANGE)
        return {"kernel": kernel, "bias": jnp.asarray(bias, kernel.dtype)}

    return {
        "layer": LSTM(hidden_size).init(key_layer, jnp.zeros((1, 1, 4)))["params"],
        "input": gate(key_input, jnp.log(rate / (1 - rate))),
        "forget": gate(key_forget, FORGET_BIAS),
    }


def meta_lstm_rule(
    theta: Tree, *, second_order: bool = False
) -> optax.GradientTransformationExtraArgs:
    """An optimiser whose weights are the cell state of an LSTM, the same for every coordinate.

    ``weight_i <- forget_i * weight_i - input_i * gradient_i``

    ``gate_i = sigmoid(kernel [h_i, weight_i, previous gate_i] + bias)``, where h_i is the output
    of a first, ordinary LSTM layer on ``log_and_sign`` of the gradient and of the loss. The
    update needs the weights and, as ``value``, the loss.

    Args:
      theta: Parameters from ``init_meta_lstm_rule``, of any size.
      second_order: Differentiate through gradients and losses. Without it they are constants
        for a meta-gradient, as in the paper.

    Source: Ravi and Larochelle (2017), "Optimization as a model for few-shot learning",
    sections 3.1 to 3.4 and 5.
    """
    layer = Weights(**theta["layer"])

    def init(params):
        weights, _ = ravel_pytree(params)
        nothing = jnp.zeros((weights.size, layer.hidden.shape[0]), layer.hidden.dtype)
        closed = jnp.zeros_like(weights)
        return MetaLSTMState((nothing, nothing), {"input": closed, "forget": closed})

    def update(updates, state, params=None, *, value=None, **extra):
        del extra
        if params is None or value is None:
            raise ValueError("meta_lstm_rule needs the weights and, as value, the loss")
        if not second_order:
            updates, value = jax.lax.stop_gradient((updates, value))
        weights, unravel = ravel_pytree(params)
        gradient, _ = ravel_pytree(updates)
        seen = jnp.concatenate(
            [log_and_sign(gradient), log_and_sign(jnp.full_like(gradient, value))], axis=1
        )
        carry, _ = cell_step(LSTM_GATES, layer, state.layer, seen.astype(layer.hidden.dtype))

        def gate(name, previous):
            inputs = jnp.column_stack([carry[0], weights, previous])
            return jax.nn.sigmoid(inputs @ theta[name]["kernel"] + theta[name]["bias"])

        gates = {name: gate(name, previous) for name, previous in state.gates.items()}
        steps = (gates["forget"] - 1) * weights - gates["input"] * gradient
        gates = {name: leaf.astype(weights.dtype) for name, leaf in gates.items()}
        return unravel(steps.astype(weights.dtype)), MetaLSTMState(carry, gates)

    return optax.GradientTransformationExtraArgs(init, update)
