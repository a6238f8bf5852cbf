"""Classification by distances in a learned space, without gradient steps in a task."""

import jax
import jax.numpy as jnp

from metajax.core.family import DataSpec
from metajax.core.types import Learner
from metajax.networks import Predictor


def prototypes(spec: DataSpec, embedding: Predictor) -> Learner:
    """A learner whose fast state is the mean embedding of each class, ``[classes, F]``.

    ``logits = -|embedding(x) - prototypes|^2``

    Before adaptation all prototypes are 0, and so are those of classes without an example.

    Args:
      spec: Description of a family with classes.
      embedding: The network from inputs ``[n, ...]`` to ``[n, F]``; theta is its weights.

    Source: Snell et al. (2017), "Prototypical networks for few-shot learning", equations 1 and 2.
    """

    def begin(key, theta):
        del key
        one = jnp.zeros((1, *spec.input_shape))
        features = jax.eval_shape(embedding.apply, theta, one)
        return jnp.zeros((spec.num_outputs, features.shape[-1]), features.dtype)

    def adapt(key, theta, phi, data):
        del key
        members = jax.nn.one_hot(data.targets, spec.num_outputs, axis=0, dtype=phi.dtype)
        counts = jnp.sum(members, axis=1, keepdims=True)
        return members @ embedding.apply(theta, data.inputs) / jnp.maximum(counts, 1)

    def predict(theta, phi, data):
        offsets = embedding.apply(theta, data.inputs)[:, None] - phi
        return -jnp.sum(jnp.square(offsets), axis=-1)

    return Learner(embedding.init, begin, adapt, predict, singly=False)
