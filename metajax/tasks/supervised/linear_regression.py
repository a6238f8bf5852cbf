"""Linear regression, whose best predictor is known."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, NamedTuple

from metajax.core.options import Count, Options, Positive

if TYPE_CHECKING:
    import jax

    from metajax.core.family import DataFamily, Examples


class Line(NamedTuple):
    """The function ``weights . x + bias``.

    Attributes:
      weights: ``[num_features]``.
      bias: Scalar.
    """

    weights: jax.Array
    bias: jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class LinearRegression(Options):
    """Linear regression: ``y = w . x + b + noise``.

    The entries of w, b and x are standard normal, so that the posterior of a task is Gaussian
    and ``bayes_predictions`` are the best there are.

    Attributes:
      num_features: Coordinates of an input.
      noise: Standard deviation of the noise of the targets.
    """

    num_features: Count = 4
    noise: Positive = 0.5

    def build(self) -> DataFamily:
        """The family; tasks are ``Line(weights, bias)``."""
        import jax

        from metajax.core.family import DataFamily, DataSpec, Examples

        def sample(key):
            key_weights, key_bias = jax.random.split(key)
            weights = jax.random.normal(key_weights, (self.num_features,))
            return Line(weights, jax.random.normal(key_bias))

        def draw(key, task, num_examples):
            key_inputs, key_noise = jax.random.split(key)
            inputs = jax.random.normal(key_inputs, (num_examples, self.num_features))
            noise = self.noise * jax.random.normal(key_noise, (num_examples, 1))
            return Examples(inputs, (inputs @ task.weights + task.bias)[:, None] + noise)

        def bayes(support, inputs):
            return bayes_predictions(support, inputs, self.noise)

        spec = DataSpec("linear-regression", (self.num_features,), 1)
        return DataFamily(spec, sample, draw, bayes=bayes)


def bayes_predictions(support: Examples, inputs: jax.Array, noise: float) -> jax.Array:
    """Means ``[m, 1]`` of the targets given a support set, with the least squared error of all.

    Ridge regression with the penalty ``noise^2``, bias included.

    Args:
      support: Examples of a task of ``LinearRegression``, ``[n, F]`` and ``[n, 1]``.
      inputs: ``[m, F]``.
      noise: Standard deviation of the noise.
    """
    import jax.numpy as jnp

    def with_one(rows):
        return jnp.concatenate([rows, jnp.ones((len(rows), 1), rows.dtype)], axis=1)

    rows = with_one(support.inputs)
    precision = rows.T @ rows + noise**2 * jnp.eye(rows.shape[1])
    return with_one(inputs) @ jnp.linalg.solve(precision, rows.T @ support.targets)
