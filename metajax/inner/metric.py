"""Classification by comparison in a learned space, without gradient steps in a task."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from metajax.core.family import DataSpec, Tree
from metajax.core.types import Learner
from metajax.networks import Predictor, unit_rows


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
        return jnp.zeros((spec.num_outputs, *_features(spec, embedding, theta)))

    def adapt(key, theta, phi, data):
        del key
        return _means(_members(spec, data.targets, phi), embedding.apply(theta, data.inputs))

    def predict(theta, phi, data):
        offsets = embedding.apply(theta, data.inputs)[:, None] - phi
        return -jnp.sum(jnp.square(offsets), axis=-1)

    return Learner(embedding.init, begin, adapt, predict, singly=False)


class SupportSet(NamedTuple):
    """Support examples as ``matching`` remembers them; zeros before adaptation.

    Attributes:
      embedded: ``[n, F]``.
      members: One-hot classes ``[n, classes]``.
    """

    embedded: jax.Array
    members: jax.Array


def matching(
    spec: DataSpec, embedding: Predictor, num_support: int, context: nn.Module | None = None
) -> Learner:
    """A learner that attends to the support examples, with the cosine of embeddings.

    ``probabilities = sum_i softmax_i(cos(f(x), g(x_i))) y_i``

    The predictions are the logarithms of these sums before normalisation, so that they are
    logits. Theta has the weights of both networks as "embedding" and "context".

    Args:
      spec: Description of a family with classes.
      embedding: The network from inputs ``[n, ...]`` to ``[n, F]``.
      num_support: Number n of support examples, which the fast state holds.
      context: Flax module from embeddings ``[n, F]`` of the support set and ``[q, F]`` of
        queries to others of these shapes, such as ``metajax.networks.FullContext``.
        Default: none.

    Source: Vinyals et al. (2016), "Matching networks for one shot learning", section 2.1.
    """

    def init(key):
        key_embedding, key_context = jax.random.split(key)
        weights: dict[str, Tree] = {"embedding": embedding.init(key_embedding)}
        if context is not None:
            one = jnp.zeros((1, *_features(spec, embedding, weights["embedding"])))
            weights["context"] = context.init(key_context, one, one)["params"]
        return weights

    def begin(key, theta):
        del key
        return SupportSet(
            jnp.zeros((num_support, *_features(spec, embedding, theta["embedding"]))),
            jnp.zeros((num_support, spec.num_outputs)),
        )

    def adapt(key, theta, phi, data):
        del key
        embedded = embedding.apply(theta["embedding"], data.inputs)
        return SupportSet(embedded, _members(spec, data.targets, phi.members))

    def predict(theta, phi, data):
        support, query = phi.embedded, embedding.apply(theta["embedding"], data.inputs)
        if context is not None:
            both: Any = context.apply({"params": theta["context"]}, support, query)
            support, query = both
        weights = jnp.exp(unit_rows(query) @ unit_rows(support).T)
        return jnp.log(jnp.maximum(weights @ phi.members, 1e-12))

    return Learner(init, begin, adapt, predict, singly=False)


def relations(
    spec: DataSpec, embedding: Predictor, relation: nn.Module, *, logits: bool = False
) -> Learner:
    """A learner that scores each pair of a class and a query with a learned network.

    ``scores = sigmoid(relation(mean embeddings of the classes, embedding(x)))``

    Theta has the weights of both networks as "embedding" and "relation". The fast state is
    the means, ``[classes, ...]``; before adaptation they are 0.

    Args:
      spec: Description of a family with classes.
      embedding: The network from inputs ``[n, ...]`` to embeddings ``[n, ...]`` of any shape.
      relation: Flax module from embeddings ``[classes, ...]`` and ``[q, ...]`` to numbers
        ``[q, classes]``, such as ``metajax.networks.Comparison``.
      logits: Predict these numbers themselves, without the sigmoid.

    Source: Sung et al. (2018), "Learning to compare: relation network for few-shot learning",
    section 3.2. Deviation: the mean of a class, which has one scale for any number of shots,
    in place of the sum.
    """

    def init(key):
        key_embedding, key_relation = jax.random.split(key)
        weights: dict[str, Tree] = {"embedding": embedding.init(key_embedding)}
        one = jnp.zeros((1, *_features(spec, embedding, weights["embedding"])))
        weights["relation"] = relation.init(key_relation, one, one)["params"]
        return weights

    def begin(key, theta):
        del key
        return jnp.zeros((spec.num_outputs, *_features(spec, embedding, theta["embedding"])))

    def adapt(key, theta, phi, data):
        del key
        embedded = embedding.apply(theta["embedding"], data.inputs)
        return _means(_members(spec, data.targets, phi), embedded)

    def predict(theta, phi, data):
        query = embedding.apply(theta["embedding"], data.inputs)
        scores: Any = relation.apply({"params": theta["relation"]}, phi, query)
        return scores if logits else jax.nn.sigmoid(scores)

    jax.eval_shape(init, jax.random.key(0))  # embeddings that cannot be compared are an error here
    return Learner(init, begin, adapt, predict, singly=False)


def _features(spec: DataSpec, embedding: Predictor, weights: Tree) -> tuple[int, ...]:
    """Shape of one embedding."""
    one = jnp.zeros((1, *spec.input_shape))
    return jax.eval_shape(embedding.apply, weights, one).shape[1:]


def _members(spec: DataSpec, targets: jax.Array, like: jax.Array) -> jax.Array:
    """One-hot classes ``[n, classes]``."""
    return jax.nn.one_hot(targets, spec.num_outputs, dtype=like.dtype)


def _means(members: jax.Array, embedded: jax.Array) -> jax.Array:
    """Mean embedding of each class, ``[classes, ...]``; 0 for classes without an example."""
    sums = members.T @ embedded.reshape(len(embedded), -1)
    means = sums / jnp.maximum(jnp.sum(members, axis=0), 1)[:, None]
    return means.reshape(-1, *embedded.shape[1:])
