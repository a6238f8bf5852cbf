"""A learned optimiser: a small MLP that turns what is known of each coordinate into a step."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from metajax.core.family import Key, Tree

MOMENTUM_DECAYS = (0.5, 0.9, 0.99, 0.999, 0.9999)
"""Decays of the running means of gradients."""
SQUARE_DECAY = 0.999
"""Decay of the running mean of squared gradients."""
TIMESCALES = (1, 3, 10, 30, 100, 300, 1000, 3000, 10_000, 30_000, 100_000)
"""Timescales of the features ``tanh(steps / timescale - 1)``, in steps."""
NUM_INPUTS = 3 + 2 * len(MOMENTUM_DECAYS) + len(TIMESCALES)
FLOOR = 1e-8
"""Constant added to the running mean of squares before its root."""
FEATURE_FLOOR = 1e-5
"""Constant added to the mean square of a feature before its root."""
MAGNITUDE_SCALE = 1e-3
"""Factor of the logarithm of a step's size."""


class MLPRuleState(NamedTuple):
    """Memory of ``mlp_rule``.

    Attributes:
      steps: Int32, number of steps so far.
      momenta: Running means of the gradients, leaves ``[M, ...]``.
      squares: Running mean of the squared gradients, as the weights.
    """

    steps: jax.Array
    momenta: Tree
    squares: Tree


def init_mlp_rule(key: Key, *, hidden_sizes: Sequence[int] = (32, 32)) -> Tree:
    """Initial parameters of ``mlp_rule``: layers with LeCun-normal kernels and zero biases."""
    sizes = [NUM_INPUTS, *hidden_sizes, 2]
    keys = jax.random.split(key, len(sizes) - 1)
    initial = jax.nn.initializers.lecun_normal()
    return [
        {"kernel": initial(one, (size, after)), "bias": jnp.zeros(after)}
        for one, size, after in zip(keys, sizes[:-1], sizes[1:], strict=True)
    ]


def mlp_rule(
    theta: Tree, *, scale: float | jax.Array = 0.01, second_order: bool = False
) -> optax.GradientTransformation:
    """An optimiser whose step is the output of an MLP, the same for every coordinate.

    ``step_i = scale * direction_i * exp(0.001 * magnitude_i)``

    The MLP reads of each coordinate its gradient and weight, running means of its gradients
    with several horizons, the same divided by the root of the running mean square, and the
    inverse of that root, each divided by its root mean square over the coordinates of the
    array; and the time, as ``tanh`` of several scales. With trained parameters it is an optax
    transformation like any other; its update needs the weights.

    Args:
      theta: Parameters from ``init_mlp_rule``, of any sizes.
      scale: Factor of the step.
      second_order: Differentiate through the gradients that the network reads. Without it they
        are constants for a meta-gradient.

    Source: Metz et al. (2019), "Understanding and correcting pathologies in the training of
    learned optimizers", with the constants of their published code; second moments as in Metz et
    al. (2020), "Tasks, stability, architecture, and compute: training more effective learned
    optimizers, and using them to train themselves". Deviation: a larger ``scale`` than 0.001,
    for optimisations of hundreds of steps.
    """

    def init(params):
        def zeros(leaf):
            return jnp.zeros((len(MOMENTUM_DECAYS), *leaf.shape), leaf.dtype)

        count = jnp.zeros((), jnp.int32)
        return MLPRuleState(
            count, jax.tree.map(zeros, params), jax.tree.map(jnp.zeros_like, params)
        )

    def update(updates, state, params=None):
        if params is None:
            raise ValueError("mlp_rule needs the weights: update(updates, state, params)")
        gradients = updates if second_order else jax.lax.stop_gradient(updates)

        def mean(old, gradient):
            decay = jnp.array(MOMENTUM_DECAYS, old.dtype)
            decay = decay.reshape(-1, *(1,) * gradient.ndim)
            return decay * old + (1 - decay) * gradient

        def mean_square(old, gradient):
            return SQUARE_DECAY * old + (1 - SQUARE_DECAY) * jnp.square(gradient)

        momenta = jax.tree.map(mean, state.momenta, gradients)
        squares = jax.tree.map(mean_square, state.squares, gradients)
        time = jnp.tanh(state.steps / jnp.array(TIMESCALES, theta[0]["bias"].dtype) - 1)

        def step(*known):
            steps = scale * _output(theta, features(*known).astype(time.dtype), time)
            return steps.reshape(known[0].shape).astype(known[0].dtype)

        steps = jax.tree.map(step, gradients, params, momenta, squares)
        return steps, MLPRuleState(state.steps + 1, momenta, squares)

    return optax.GradientTransformation(init, update)


def features(
    gradient: jax.Array, weight: jax.Array, momenta: jax.Array, square: jax.Array
) -> jax.Array:
    """Inputs of ``mlp_rule`` for the n coordinates of an array, without the time, ``[n, F]``."""
    inverse = jax.lax.rsqrt(square + FLOOR)
    columns = jnp.stack([gradient, weight, inverse, *momenta, *(momenta * inverse)])
    columns = columns.reshape(len(columns), -1)
    sizes = jnp.mean(jnp.square(columns), axis=1, keepdims=True)
    return (columns * jax.lax.rsqrt(sizes + FEATURE_FLOOR)).T


def _output(theta: Tree, inputs: jax.Array, time: jax.Array) -> jax.Array:
    """``direction exp(magnitude)`` of n coordinates, ``[n]``."""
    hidden = jnp.concatenate([inputs, jnp.tile(time, (len(inputs), 1))], axis=1)
    for layer in theta[:-1]:
        hidden = jax.nn.relu(hidden @ layer["kernel"] + layer["bias"])
    direction, magnitude = (hidden @ theta[-1]["kernel"] + theta[-1]["bias"]).T
    return direction * jnp.exp(MAGNITUDE_SCALE * magnitude)
