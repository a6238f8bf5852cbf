"""Few-shot classification of Gaussian classes."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

from metajax.core.options import AtLeast, Count, Options, Positive

if TYPE_CHECKING:
    import jax

    from metajax.core.family import DataFamily, Key


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

        spec = DataSpec("gaussian-blobs", shape[1:], self.num_classes, classes=True)
        return DataFamily(spec, sample, draw)


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
