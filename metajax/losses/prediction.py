"""Losses of predictions on labelled examples."""

import jax
import jax.numpy as jnp
import optax

from metajax.core.family import DataSpec, Examples
from metajax.core.types import Loss


def squared_error(predicted: jax.Array, examples: Examples) -> jax.Array:
    """Mean squared error over examples and outputs."""
    return jnp.mean(jnp.square(predicted - examples.targets))


def cross_entropy(logits: jax.Array, examples: Examples) -> jax.Array:
    """Mean softmax cross-entropy of logits ``[n, classes]``, in nats."""
    errors = optax.softmax_cross_entropy_with_integer_labels(logits, examples.targets)
    return jnp.mean(errors)


def one_hot_error(scores: jax.Array, examples: Examples) -> jax.Array:
    """Mean squared error of scores ``[n, classes]``, of which that of the class should be 1."""
    one_hot = jax.nn.one_hot(examples.targets, scores.shape[-1], dtype=scores.dtype)
    return jnp.mean(jnp.square(scores - one_hot))


def prediction_loss(spec: DataSpec) -> Loss:
    """The loss of a family: ``cross_entropy`` for classification, else ``squared_error``."""
    return cross_entropy if spec.classes else squared_error
