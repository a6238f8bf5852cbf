"""Few-shot classification of Gaussian classes."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

from metajax.core.options import AtLeast, Count, Options, Positive

if TYPE_CHECKING:
    import jax

    from metajax.core.family import DataFamily, Examples, Key


@dataclasses.dataclass(frozen=True, kw_only=True)
class GaussianBlobs(Options):
    """Gaussian blobs: few-shot classification of points from Gaussian classes.

    Each task draws the means of its classes from a Gaussian. The points of a class are its
    mean plus Gaussian noise with standard deviation 1 in each coordinate.

    Attributes:
      num_classes: Number of classes.
      num_features: Coordinates of a point.
      spread: Standard deviation of each coordinate of the means.
    """

    num_classes: Annotated[int, AtLeast(2)] = 5
    num_features: Count = 4
    spread: Positive = 2.0

    def build(self) -> DataFamily:
        """The family; a task is the means of its classes, ``[num_classes, num_features]``."""
        import jax
        import jax.numpy as jnp

        from metajax.core.family import DataFamily, DataSpec, Examples

        shape = self.num_classes, self.num_features

        def sample(key):
            return self.spread * jax.random.normal(key, shape)

        def draw(key, task, num_examples):
            classes = jnp.arange(num_examples, dtype=jnp.int32) % self.num_classes
            noise = jax.random.normal(key, (num_examples, self.num_features))
            return Examples(task[classes] + noise, classes)

        def bayes(support, inputs):
            return bayes_logits(support, inputs, self.num_classes, self.spread)

        spec = DataSpec("gaussian-blobs", shape[1:], self.num_classes, classes=True)
        return DataFamily(spec, sample, draw, bayes=bayes)


def bayes_accuracy(key: Key, family: DataFamily, task: jax.Array, num_examples: int) -> jax.Array:
    """Accuracy of the optimal classifier that knows the task: the class of the nearest mean.

    A Monte-Carlo estimate; the closed form ``Phi(|m_0 - m_1| / 2)`` exists for two classes
    only.

    Args:
      key: Random key of the examples.
      family: A family of ``GaussianBlobs``.
      task: Means of the classes, ``[num_classes, num_features]``.
      num_examples: Number of examples to draw.
    """
    import jax.numpy as jnp

    examples = family.draw(key, task, num_examples)
    distances = jnp.sum(jnp.square(examples.inputs[:, None] - task), axis=-1)
    return jnp.mean(jnp.argmin(distances, axis=-1) == examples.targets)


def bayes_logits(
    support: Examples, inputs: jax.Array, num_classes: int, spread: float | jax.Array
) -> jax.Array:
    """Logits ``[m, num_classes]`` given a support set, with the highest accuracy of all.

    The log-densities of the predictive Gaussians of the classes: the posterior of a mean, from
    n points with the sum s, has the precision ``p = n + 1 / spread^2`` and the mean ``s / p``.

    Args:
      support: Examples of a task of ``GaussianBlobs``, ``[n, F]`` and ``[n]``.
      inputs: ``[m, F]``.
      num_classes: Number of classes.
      spread: Standard deviation of each coordinate of the means.
    """
    import jax
    import jax.numpy as jnp

    members = jax.nn.one_hot(support.targets, num_classes, dtype=inputs.dtype)
    precision = jnp.sum(members, axis=0) + 1 / spread**2
    means, variance = members.T @ support.inputs / precision[:, None], 1 + 1 / precision
    distances = jnp.sum(jnp.square(inputs[:, None] - means), axis=-1)
    return -0.5 * (distances / variance + inputs.shape[1] * jnp.log(variance))
