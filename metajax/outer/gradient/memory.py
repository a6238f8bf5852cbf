"""The return of whole trials as an objective, for learners that adapt in their memory."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from metajax import losses
from metajax.core.problem import run_sampled
from metajax.core.types import Chunk, Learner, Objective, Outputs, Source, TaskFamily


class WholeTrial(NamedTuple):
    """A collected trial.

    Attributes:
      chunk: all of it, annotated, leaves ``[T, E, ...]``.
      filled: which part of the batch's transitions happened, the same for all trials.
    """

    chunk: Chunk
    filled: jax.Array


def whole_trial(
    learner: Learner,
    source: Source,
    family: TaskFamily,
    *,
    loss: Callable[[Outputs, Chunk], jax.Array],
    value_coefficient: float | jax.Array = 0.5,
    entropy_coefficient: float | jax.Array = 0.0,
    normalize_advantages: bool = True,
) -> Objective:
    """The return of trials that a learner spends in one task with one memory.

    Tasks share the learner's parameters, so all trials of a block are unrolled as
    streams of one batch. Every transition of the batch has the same weight, however
    the tasks are laid over blocks.

    Args:
      learner: with a value function, for example ``memory_learner``'s.
      source: of whole trials.
      family: where tasks come from.
      loss: of the policy, a mean over the transitions of a chunk.
      value_coefficient: weight of half the squared error of the value.
      entropy_coefficient: weight of the policy's entropy, nats.
      normalize_advantages: to mean 0 and deviation 1 over the whole batch of trials.
    """

    def collect(key, theta):
        trial, info = run_sampled(learner, source, family, key, theta, num_adaptations=0)
        return WholeTrial(trial.query, jnp.ones(())), info

    def prepare(items):
        chunk, mask = items.chunk, items.chunk.mask
        if normalize_advantages:
            advantage, scale = losses.normalize(chunk.advantage, mask, chunk.target)
            chunk = chunk._replace(advantage=advantage, scale=scale * chunk.scale)
        return WholeTrial(chunk, items.filled * jnp.mean(mask))

    def total(theta, items):
        number = items.filled.shape[0]
        chunk = _fold(items.chunk)
        weight = number * jnp.mean(chunk.mask) / items.filled[0]
        outputs = learner.unroll(theta, (), learner.memory(theta), chunk)
        policy_loss = loss(outputs, chunk)
        squares = 0.5 * jnp.square(outputs.value - chunk.target)
        value_loss = losses.masked_mean(squares, chunk.mask)
        entropy = losses.masked_mean(outputs.entropy, chunk.mask)
        value = policy_loss + value_coefficient * value_loss - entropy_coefficient * entropy
        info = {
            "loss": value,
            "policy_loss": policy_loss,
            "value_loss": value_loss,
            "entropy": entropy,
        }
        return weight * value, jax.tree.map(lambda leaf: weight * leaf, info)

    def of_one(theta, item):
        return total(theta, jax.tree.map(lambda leaf: leaf[None], item))

    return Objective(collect, prepare, of_one, total=total)


def score_loss(outputs: Outputs, chunk: Chunk) -> jax.Array:
    """The policy gradient of A2C (Mnih et al. 2016, section 4)."""
    return losses.score_surrogate(outputs.log_prob, chunk.advantage, chunk.mask)


def _fold(chunks: Chunk) -> Chunk:
    """Trials ``[n, T, E, ...]`` as streams of one chunk, ``[T, n E, ...]``."""

    def fold(leaf):
        number, num_steps, num_streams, *rest = leaf.shape
        return jnp.moveaxis(leaf, 0, 1).reshape(num_steps, number * num_streams, *rest)

    last = chunks.last_observation
    folded = chunks._replace(last_observation=(), scale=())
    return jax.tree.map(fold, folded)._replace(last_observation=last.reshape(-1, *last.shape[2:]))
