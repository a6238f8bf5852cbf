"""Pretext tasks: training of features before any task is adapted to."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from metajax import losses, networks
from metajax.core.family import DataFamily, DataSpec, Key, Tree
from metajax.core.options import OptionError
from metajax.core.problem import Problem
from metajax.core.types import Learner
from metajax.data.few_shot import few_shot
from metajax.networks import Predictor
from metajax.tasks.pairs import pairs

Embed = Callable[[Tree, jax.Array], jax.Array]
"""``(weights, inputs) -> [n, F]``."""


class Pretext(NamedTuple):
    """Training of a predictor's torso behind another head.

    Attributes:
      problem: Trials without adaptation, scored by accuracy. Theta is a pair: the weights of
        the predictor, of whose own head nothing depends, and those of the other head.
      head: ``(key) -> weights`` of the other head.
    """

    problem: Problem
    head: Callable[[Key], Tree]


def all_classes(
    family: DataFamily, model: Predictor, num_examples: int, *, cosine: bool = False
) -> Pretext:
    """Classification of all classes of a family at once.

    Args:
      family: A family with a ``pool``.
      model: The predictor whose torso is trained.
      num_examples: Number of examples of a trial.
      cosine: See ``metajax.networks.predictor``.

    Source: Chen et al. (2019), "A closer look at few-shot classification", section 3.1.

    Raises:
      OptionError: for a family whose tasks share no classes.
    """
    if family.pool is None:
        raise OptionError(
            "pretraining",
            f'"classes" is not possible on {family.spec.name}, whose tasks share no classes; '
            'allowed: a family such as "glyphs" and "image-folder", or "contrastive"',
        )
    features, size = _features(family, model)
    spec = DataSpec("features", (size,), family.pool.spec.num_outputs, classes=True)
    head = networks.predictor(spec, networks.MLP(()), cosine=cosine)
    return _pretext(family.pool, model, features, head, num_examples)


def contrastive(
    family: DataFamily,
    model: Predictor,
    *,
    num_tasks: int,
    set_size: int,
    projection_size: int = 64,
    temperature: float | jax.Array = 0.5,
) -> Pretext:
    """Each member of a pair is to be told from all others by the angles of projected features.

    The pairs are those of ``metajax.tasks.pairs.pairs``. A set of examples with values is
    represented by the mean of ``features(x) * y``: minus half the slope of the squared error
    of a linear head, at the head that is zero. The projection is an MLP with one hidden layer.

    Args:
      family: The family.
      model: The predictor whose torso is trained.
      num_tasks, set_size: See ``metajax.tasks.pairs.pairs``.
      projection_size: Number of outputs of the projection.
      temperature: See ``metajax.losses.similarity_logits``.

    Source: Chen et al. (2020), "A simple framework for contrastive learning of visual
    representations", section 2. Deviations: the members of a pair are examples of one class in
    place of two augmentations of one image, and sets of examples are our own.
    """
    spec, (embed, size) = family.spec, _features(family, model)
    if not spec.classes:
        embed, size = _of_sets(spec, embed), size * spec.num_outputs
    projected = DataSpec("features", (size,), projection_size)
    projection = networks.predictor(projected, networks.MLP((size,)))

    def similarities(weights, embedded):
        return losses.similarity_logits(projection.apply(weights, embedded), temperature)

    tasks = pairs(family, num_tasks, set_size)
    head = projection._replace(apply=similarities)
    return _pretext(tasks, model, embed, head, tasks.spec.num_outputs)


def _pretext(
    tasks: DataFamily, model: Predictor, embed: Embed, head: Predictor, num_examples: int
) -> Pretext:
    def init(key):
        key_model, key_head = jax.random.split(key)
        return model.init(key_model), head.init(key_head)

    def predict(theta, phi, data):
        del phi
        weights, own = theta
        return head.apply(own, embed(weights, data.inputs))

    learner = Learner(init, lambda key, theta: (), lambda noise, theta, phi, data: phi, predict)
    problem = few_shot(
        tasks, learner, num_adaptations=0, num_streams=num_examples, num_query=num_examples
    )
    return Pretext(problem, head.init)


def _features(family: DataFamily, model: Predictor) -> tuple[Embed, int]:
    """The features of a predictor, and their number F."""
    features = model.features
    assert features is not None
    one = jnp.zeros((1, *family.spec.input_shape))
    weights = jax.eval_shape(model.init, jax.random.key(0))
    return features, jax.eval_shape(features, weights, one).shape[1]


def _of_sets(spec: DataSpec, features: Embed) -> Embed:
    """The mean of ``features(x) * y`` of sets ``[n, set_size, inputs + outputs]``."""

    def embed(weights, sets):
        inputs, targets = jnp.split(sets, [sets.shape[-1] - spec.num_outputs], axis=-1)
        rows = features(weights, inputs.reshape(-1, *spec.input_shape))
        rows = rows.reshape(*sets.shape[:2], -1)
        return jnp.einsum("nsf,nso->nfo", rows, targets).reshape(len(sets), -1) / sets.shape[1]

    return embed
