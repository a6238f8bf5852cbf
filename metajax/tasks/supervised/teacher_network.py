"""Functions and labels of random networks."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, Annotated, NamedTuple

from metajax.core.options import AtLeast, Count, Options

if TYPE_CHECKING:
    import jax

    from metajax.core.family import DataFamily

NUM_PROBES = 256
"""Inputs by which the outputs of a teacher are scaled."""
NUM_CANDIDATES = 64
"""Inputs among which an example of a class is found."""


class Layer(NamedTuple):
    """A layer of a teacher.

    Attributes:
      kernel: ``[inputs, outputs]``.
      bias: ``[outputs]``.
    """

    kernel: jax.Array
    bias: jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class TeacherNetwork(Options):
    """Teacher network: the values, or the labels, of random multilayer perceptrons.

    Kernels are Gaussian with variance ``2 / inputs`` and biases with variance 0.01, the
    activation is tanh, and inputs are standard normal. The outputs of a teacher are shifted
    and scaled to mean 0 and variance 1. With classes, the label of an input is its largest
    output, which makes all classes about equally frequent.

    Attributes:
      num_features: Coordinates of an input.
      hidden_sizes: Units of each hidden layer of a teacher.
      num_classes: Number of classes; "none" for regression of one value.
    """

    num_features: Count = 4
    hidden_sizes: tuple[Count, ...] = (16,)
    num_classes: Annotated[int, AtLeast(2)] | None = None

    def build(self) -> DataFamily:
        """The family; a task is the layers of its teacher, a tuple of ``Layer``."""
        import jax
        import jax.numpy as jnp

        from metajax.core.family import DataFamily, DataSpec, Examples

        num_classes, num_features = self.num_classes, self.num_features
        num_outputs = 1 if num_classes is None else num_classes
        sizes = [num_features, *self.hidden_sizes, num_outputs]

        def sample(key):
            key_probes, *keys = jax.random.split(key, len(sizes))
            layers = tuple(
                _layer(key, *shape)
                for key, shape in zip(keys, itertools.pairwise(sizes), strict=True)
            )
            values = outputs(layers, jax.random.normal(key_probes, (NUM_PROBES, num_features)))
            mean, scale = jnp.mean(values, axis=0), jnp.std(values, axis=0)
            *hidden, (kernel, bias) = layers
            return (*hidden, Layer(kernel / scale, (bias - mean) / scale))

        def draw(key, task, num_examples):
            if num_classes is None:
                inputs = jax.random.normal(key, (num_examples, num_features))
                return Examples(inputs, outputs(task, inputs))
            classes = jnp.arange(num_examples, dtype=jnp.int32) % num_classes
            shape = num_examples, NUM_CANDIDATES, num_features
            candidates = jax.random.normal(key, shape)
            ahead = _margins(outputs(task, candidates), classes)
            # The first of the class; where there is none, the one that comes nearest to it.
            found = jnp.argmax(jnp.minimum(ahead, 0), axis=1)
            return Examples(candidates[jnp.arange(num_examples), found], classes)

        name, classes = "teacher-network", num_classes is not None
        return DataFamily(
            DataSpec(name, (num_features,), num_outputs, classes=classes), sample, draw
        )


def outputs(layers: tuple[Layer, ...], inputs: jax.Array) -> jax.Array:
    """Outputs ``[..., outputs]`` of a teacher for inputs ``[..., num_features]``."""
    import jax.numpy as jnp

    *hidden, last = layers
    for kernel, bias in hidden:
        inputs = jnp.tanh(inputs @ kernel + bias)
    return inputs @ last.kernel + last.bias


def _layer(key: jax.Array, num_inputs: int, num_outputs: int) -> Layer:
    import jax

    key_kernel, key_bias = jax.random.split(key)
    kernel = (2 / num_inputs) ** 0.5 * jax.random.normal(key_kernel, (num_inputs, num_outputs))
    return Layer(kernel, 0.1 * jax.random.normal(key_bias, (num_outputs,)))


def _margins(values: jax.Array, classes: jax.Array) -> jax.Array:
    """The output of a class less the largest of the others, ``[n, M]`` of ``[n, M, k]``."""
    import jax
    import jax.numpy as jnp

    own = jax.nn.one_hot(classes, values.shape[-1], dtype=bool)[:, None]
    own_value = jnp.sum(jnp.where(own, values, 0), axis=-1)
    return own_value - jnp.max(jnp.where(own, -jnp.inf, values), axis=-1)
