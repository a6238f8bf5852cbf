"""Losses of predictions for labelled examples."""

import jax
import jax.numpy as jnp
import optax

from metajax.core.family import DataSpec, Examples
from metajax.core.types import Loss


def squared_error(predicted: jax.Array, examples: Examples) -> jax.Array:
    """Mean squared error over examples and outputs."""
    return jnp.mean(jnp.square(predicted - examples.targets))


def cross_entropy(logits: jax.Array, examples: Examples) -> jax.Array:
    """Mean cross-entropy of the softmax of logits ``[n, classes]``, nats."""
    errors = optax.softmax_cross_entropy_with_integer_labels(logits, examples.targets)
    return jnp.mean(errors)


def prediction_loss(spec: DataSpec) -> Loss:
    """The loss that fits a family: ``cross_entropy`` for classes, else ``squared_error``."""
    return cross_entropy if spec.classes else squared_error
