"""A learned optimiser: a small MLP that turns what is known of each coordinate into a step."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from metajax.core.family import Key, Tree
from metajax.inner.rule_inputs import layer_places

MOMENTUM_DECAYS = (0.5, 0.9, 0.99, 0.999, 0.9999)
"""Decays of the running means of gradients."""
SQUARE_DECAY = 0.999
"""Decay of the running mean of squared gradients."""
TIMESCALES = (1, 3, 10, 30, 100, 300, 1000, 3000, 10_000, 30_000, 100_000)
"""Timescales of the features ``tanh(steps / timescale - 1)``, in steps."""
NUM_FEATURES = 3 + 2 * len(MOMENTUM_DECAYS)
"""Number of the inputs that come from gradients and weights."""
INPUTS = {"time": len(TIMESCALES), "progress": 1, "layer": 1, "dormancy": 1}
"""Further inputs by name, and how many numbers each is."""
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
      nominal: State of the nominal optimiser; None without one.
    """

    steps: jax.Array
    momenta: Tree
    squares: Tree
    nominal: Any = None


def init_mlp_rule(
    key: Key,
    *,
    hidden_sizes: Sequence[int] = (32, 32),
    inputs: Sequence[str] = ("time",),
    nominal: bool = False,
    noise: bool = False,
) -> Tree:
    """Initial parameters of ``mlp_rule``: layers with LeCun-normal kernels and zero biases.

    Args:
      hidden_sizes: Units of each hidden layer.
      inputs: Those of the rule, in the same order.
      nominal: Whether the rule has a nominal optimiser. The last layer is then zero, and the
        rule begins as that optimiser.
      noise: Whether the rule has noise.
    """
    sizes = [NUM_FEATURES + sum(INPUTS[one] for one in inputs), *hidden_sizes, 2 + nominal + noise]
    keys = jax.random.split(key, len(sizes) - 1)
    initial = jax.nn.initializers.lecun_normal()
    layers = [
        {"kernel": initial(one, (size, after)), "bias": jnp.zeros(after)}
        for one, size, after in zip(keys, sizes[:-1], sizes[1:], strict=True)
    ]
    if nominal:
        layers[-1] = jax.tree.map(jnp.zeros_like, layers[-1])
    return layers


def mlp_rule(
    theta: Tree,
    *,
    scale: float | jax.Array = 0.01,
    second_order: bool = False,
    inputs: Sequence[str] = ("time",),
    horizon: int | None = None,
    nominal: optax.GradientTransformation | None = None,
    noise: str | None = None,
) -> optax.GradientTransformationExtraArgs:
    """An optimiser whose step is the output of an MLP, the same for every coordinate.

    ``step_i = scale * direction_i * exp(0.001 * magnitude_i)``

    The MLP reads of each coordinate its gradient and weight, running means of its gradients
    with several horizons, the same divided by the root of the running mean square, and the
    inverse of that root, each divided by its root mean square over the coordinates of the
    array; and what ``inputs`` names. With trained parameters it is an optax transformation like
    any other; its update needs the weights.

    Args:
      theta: Parameters from ``init_mlp_rule``, of any sizes.
      scale: Factor of the step.
      second_order: Differentiate through the gradients and the dormancy that the network reads.
        Without it they are constants for a meta-gradient.
      inputs: Further inputs, among ``INPUTS``. "time": number of steps so far, as ``tanh`` of
        several scales. "progress": the same as a fraction of ``horizon``. "layer": place of the
        array's layer in its network, see ``metajax.inner.layer_places``. "dormancy": how active
        the unit is that the coordinate belongs to, see ``metajax.inner.dormancy``; the update
        then needs it as the extra argument ``dormancy``.
      horizon: Number of steps of an optimisation, for "progress".
      nominal: An optimiser whose step, times ``exp`` of a third output, is added.
      noise: Entry of the weights, a dict, whose steps get Gaussian noise of standard deviation
        ``scale * |output|``, exploration in the space of weights; the update then needs ``key``.

    Raises:
      ValueError: for "progress" without ``horizon``; in an update, for a missing argument.

    Source: Metz et al. (2019), "Understanding and correcting pathologies in the training of
    learned optimizers", with the constants of their published code; second moments as in Metz et
    al. (2020), "Tasks, stability, architecture, and compute: training more effective learned
    optimizers, and using them to train themselves". "progress", "layer", "dormancy" and noise:
    Goldie et al. (2024), "Can learned optimization make reinforcement learning less difficult?"
    (OPEN). A nominal optimiser: Harrison et al. (2022), "A closer look at learned
    optimization: stability, robustness, and inductive biases". Deviations: a larger ``scale``
    than 0.001, for optimisations of hundreds of steps; of OPEN the recurrent layer, the logarithms
    of gradients in place of their normalised values and the subtraction of the mean step are left
    out, and the fraction of passes over a batch, of which there is one.
    """
    if "progress" in inputs and horizon is None:
        raise ValueError('mlp_rule: the input "progress" needs horizon, the number of steps')

    def init(params):
        def zeros(leaf):
            return jnp.zeros((len(MOMENTUM_DECAYS), *leaf.shape), leaf.dtype)

        return MLPRuleState(
            jnp.zeros((), jnp.int32),
            jax.tree.map(zeros, params),
            jax.tree.map(jnp.zeros_like, params),
            None if nominal is None else nominal.init(params),
        )

    def update(updates, state, params=None, *, dormancy=None, key=None, **extra):
        del extra
        _check_given("the weights", params, True)
        _check_given('dormancy, for the input "dormancy"', dormancy, "dormancy" in inputs)
        _check_given("key, for its noise", key, noise is not None)
        read = updates, dormancy
        gradients, dormancy = read if second_order else jax.lax.stop_gradient(read)
        momenta = jax.tree.map(_means, state.momenta, gradients)
        squares = jax.tree.map(_mean_square, state.squares, gradients)
        told = _told(inputs, state.steps, horizon, params, dormancy)

        def outputs(told, *known):
            seen = jnp.concatenate([features(*known), *told], axis=1)
            return _outputs(theta, seen.astype(theta[0]["bias"].dtype))

        columns = jax.tree.map(
            outputs, told, gradients, params, momenta, squares, is_leaf=_is_columns
        )

        def step(columns, weight):
            return (scale * _direction(columns)).reshape(weight.shape).astype(weight.dtype)

        steps = jax.tree.map(step, columns, params)
        memory = None
        if nominal is not None:
            added, memory = nominal.update(gradients, state.nominal, params)
            steps = jax.tree.map(_with_nominal, steps, added, columns)
        if noise is not None:
            steps = {**steps, noise: _noisy(key, scale, steps[noise], columns[noise])}
        return steps, MLPRuleState(state.steps + 1, momenta, squares, memory)

    return optax.GradientTransformationExtraArgs(init, update)


def features(
    gradient: jax.Array, weight: jax.Array, momenta: jax.Array, square: jax.Array
) -> jax.Array:
    """Inputs of ``mlp_rule`` for the n coordinates of an array by themselves, ``[n, F]``."""
    inverse = jax.lax.rsqrt(square + FLOOR)
    columns = jnp.stack([gradient, weight, inverse, *momenta, *(momenta * inverse)])
    columns = columns.reshape(len(columns), -1)
    sizes = jnp.mean(jnp.square(columns), axis=1, keepdims=True)
    return (columns * jax.lax.rsqrt(sizes + FEATURE_FLOOR)).T


def _check_given(name: str, value: Any, needed: bool) -> None:
    if needed and value is None:
        raise ValueError(f"mlp_rule: update(updates, state, params, ...) needs {name}")


def _means(old: jax.Array, gradient: jax.Array) -> jax.Array:
    """Running means ``[M, ...]`` of gradients, one for each decay."""
    decay = jnp.array(MOMENTUM_DECAYS, old.dtype).reshape(-1, *(1,) * gradient.ndim)
    return decay * old + (1 - decay) * gradient


def _mean_square(old: jax.Array, gradient: jax.Array) -> jax.Array:
    return SQUARE_DECAY * old + (1 - SQUARE_DECAY) * jnp.square(gradient)


def _with_nominal(step: jax.Array, added: jax.Array, columns: jax.Array) -> jax.Array:
    """The step and that of the nominal optimiser, times ``exp`` of the third column."""
    factor = jnp.exp(columns[:, 2]).reshape(added.shape).astype(added.dtype)
    return step + factor * added


def _is_columns(leaf: Any) -> bool:
    return isinstance(leaf, tuple)


def _told(
    inputs: Sequence[str],
    steps: jax.Array,
    horizon: Any,
    params: Tree,
    dormancy: Tree,
) -> Tree:
    """The further inputs: for each array of n coordinates a tuple of columns ``[n, X]``."""

    def everywhere(value):
        return jax.tree.map(lambda leaf: jnp.tile(value, (leaf.size, 1)), params)

    known = {
        "time": lambda: everywhere(jnp.tanh(steps / jnp.array(TIMESCALES, float) - 1)),
        "progress": lambda: everywhere(jnp.minimum(steps / horizon, 1.0)),
        "layer": lambda: jax.tree.map(
            lambda leaf, place: jnp.full((leaf.size, 1), place), params, layer_places(params)
        ),
        "dormancy": lambda: jax.tree.map(
            lambda leaf, one: jnp.broadcast_to(one, leaf.shape).reshape(-1, 1), params, dormancy
        ),
    }
    trees = [known[one]() for one in inputs]
    return jax.tree.map(lambda leaf, *columns: columns, params, *trees)


def _outputs(theta: Tree, hidden: jax.Array) -> jax.Array:
    """Outputs ``[n, 2 or more]`` of the MLP for inputs ``[n, F]``."""
    for layer in theta[:-1]:
        hidden = jax.nn.relu(hidden @ layer["kernel"] + layer["bias"])
    return hidden @ theta[-1]["kernel"] + theta[-1]["bias"]


def _direction(columns: jax.Array) -> jax.Array:
    """``direction exp(magnitude)`` of n coordinates, ``[n]``."""
    return columns[:, 0] * jnp.exp(MAGNITUDE_SCALE * columns[:, 1])


def _noisy(key: Any, scale: float | jax.Array, steps: Tree, columns: Tree) -> Tree:
    """The steps with Gaussian noise of the standard deviation in the last column."""
    leaves, structure = jax.tree.flatten(steps)
    keys = structure.unflatten(list(jax.random.split(key, len(leaves))))

    def with_noise(step, columns, key):
        std = (scale * columns[:, -1]).reshape(step.shape).astype(step.dtype)
        return step + std * jax.random.normal(key, step.shape, step.dtype)

    return jax.tree.map(with_noise, steps, columns, keys)
