"""The return of whole trials as an objective, for learners that adapt in their memory."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from metajax import losses
from metajax.core.algorithm import Objective, Terms
from metajax.core.problem import Problem
from metajax.core.types import Chunk
from metajax.data.side_by_side import merged


class WholeTrial(NamedTuple):
    """A collected trial.

    Attributes:
      chunk: The whole trial, annotated, leaves ``[T, E, ...]``.
      filled: Share of the batch's transitions that happened, the same for all trials.
    """

    chunk: Chunk
    filled: jax.Array


def whole_trial(problem: Problem, terms: Terms, *, normalize_advantages: bool = True) -> Objective:
    """A weighted sum of terms over trials that a learner spends in one task with one memory.

    Tasks share the learner's parameters, so all trials of a block are evaluated as
    streams of one batch. Every transition of the batch has the same weight, however
    the tasks are laid over blocks.

    Args:
      problem: A continuing trial, for example of ``memory_learner``.
      terms: Terms of the objective and their weights by name, each a mean over the
        transitions of a chunk: the policy's, the value's, the entropy's, auxiliary ones.
      normalize_advantages: Normalise advantages to mean 0 and deviation 1 over the whole
        batch of trials.

    Returns:
      the ``Objective``. Its ``info`` has ``loss`` and each term by name.
    """
    learner = problem.learner
    terms = dict(terms)

    def collect(key, theta):
        trial, info = problem.run_sampled(key, theta)
        return WholeTrial(trial.query, jnp.ones(())), info

    def prepare(items):
        chunk, mask = items.chunk, items.chunk.mask
        if normalize_advantages:
            advantage, scale = losses.normalize(chunk.advantage, mask, chunk.target)
            chunk = chunk._replace(advantage=advantage, scale=scale * chunk.scale)
        return WholeTrial(chunk, items.filled * jnp.mean(mask))

    def total(theta, items):
        number = items.filled.shape[0]
        chunk = merged(items.chunk)
        weight = number * jnp.mean(chunk.mask) / items.filled[0]
        outputs = learner.predict(theta, (), chunk)
        value, report = losses.evaluated(terms, theta, outputs, chunk)
        info = {"loss": value, **report}
        return weight * value, jax.tree.map(lambda leaf: weight * leaf, info)

    def of_one(theta, item):
        return total(theta, jax.tree.map(lambda leaf: leaf[None], item))

    return Objective(collect, prepare, of_one, total=total)
