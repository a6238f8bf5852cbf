"""Meta-objectives over collected trials."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from metajax import losses
from metajax.core.problem import DERIVATIVES, replay, run_sampled
from metajax.core.types import Chunk, Key, Learner, Objective, Outputs, Source, TaskFamily, Tree


class TrialItem(NamedTuple):
    """A collected trial, as the objective of ``post_adaptation`` needs it.

    Attributes:
      support: chunks that were adapted to, leaves ``[K, T, E, ...]``.
      query: the chunk after the last adaptation, leaves ``[T, E, ...]``.
      key: replays the adaptations.
      prediction: action distribution that acted in the query chunk.
      credit: what the ``emaml`` term multiplies the log-probability of the
        support chunks with (scalar, 0 unless an estimator fills it in).
    """

    support: Chunk
    query: Chunk
    key: Key
    prediction: Tree
    credit: jax.Array


def policy_gradient_loss(outputs: Outputs, chunk: Chunk) -> jax.Array:
    """``-sum(log_prob * advantage) / (T E)``, for one gradient step from fresh trials.

    Advantages are taken back to reward units and the sum is over the whole
    horizon, so that the gradient is that of the mean return over tasks, divided by
    T. With advantages normalised within each task, a solved task, whose advantages
    are small, would weigh as much as one that is not.
    """
    filled = jnp.mean(chunk.mask, dtype=outputs.log_prob.dtype)
    advantage = chunk.advantage * chunk.scale
    return filled * losses.score_surrogate(outputs.log_prob, advantage, chunk.mask)


def ratio_loss(outputs: Outputs, chunk: Chunk) -> jax.Array:
    """The likelihood-ratio surrogate, for a trust region."""
    return losses.likelihood_ratio_surrogate(
        outputs.log_prob, chunk.log_prob, chunk.advantage, chunk.mask
    )


def clipped_loss(clip: float | jax.Array) -> Callable[[Outputs, Chunk], jax.Array]:
    """PPO's clipped surrogate, for several passes over the same trials."""

    def loss(outputs, chunk):
        return losses.clipped_surrogate(
            outputs.log_prob, chunk.log_prob, chunk.advantage, chunk.mask, clip
        )

    return loss


def with_value_error(
    loss: Callable[[Outputs, Chunk], jax.Array], coefficient: float | jax.Array = 0.5
) -> Callable[[Outputs, Chunk], jax.Array]:
    """A loss of the policy and ``coefficient`` times the mean squared error of its values."""

    def total(outputs, chunk):
        squares = jnp.square(outputs.value - chunk.target)
        return loss(outputs, chunk) + coefficient * losses.masked_mean(squares, chunk.mask)

    return total


def temporal_difference_loss(outputs: Outputs, chunk: Chunk) -> jax.Array:
    """Half the mean squared error of the action values against their targets."""
    return 0.5 * losses.masked_mean(jnp.square(outputs.value - outputs.target), chunk.mask)


def return_error(discount: float | jax.Array) -> Callable[[Outputs, Chunk], jax.Array]:
    """Half the mean squared error of action values against ``following_returns``."""

    def loss(outputs, chunk):
        error = outputs.value - following_returns(outputs, chunk, discount)
        return 0.5 * losses.masked_mean(jnp.square(error), chunk.mask)

    return loss


def behaviour_loss(discount: float | jax.Array) -> Callable[[Outputs, Chunk], jax.Array]:
    """The policy gradient of the policy that acts on action values, for its epsilon.

    ``-mean(log_prob * (G - expected value))``, where G are ``following_returns``. Through the
    values themselves nothing is differentiated.
    """

    def loss(outputs, chunk):
        value = following_returns(outputs, chunk, discount)
        advantage = value - jax.lax.stop_gradient(outputs.expected_value)
        return losses.score_surrogate(outputs.log_prob, advantage, chunk.mask)

    return loss


def following_returns(outputs: Outputs, chunk: Chunk, discount: float | jax.Array) -> jax.Array:
    """Discounted returns up to the last step of a chunk, or to the end of the episode.

    ``[T, E]``, not to be differentiated; the last reward of each is the target of that step,
    which holds what comes after it.
    """
    ends = chunk.done.at[-1].set(True)
    known = jnp.where(ends, outputs.target, chunk.reward)
    return jax.lax.stop_gradient(losses.backward_sums(known, discount * ~ends))


def post_adaptation(
    learner: Learner,
    source: Source,
    family: TaskFamily,
    *,
    num_adaptations: int,
    loss: Callable[[Outputs, Chunk], jax.Array] = policy_gradient_loss,
    derivative: str = "exact",
    every_step: bool = False,
    entropy_coefficient: float | jax.Array = 0.0,
) -> Objective:
    """The return after K adaptations, as a function of theta: the goal of MAML.

    Args:
      learner: what adapts.
      source: where its chunks come from.
      family: where its tasks come from.
      num_adaptations: K. With 0 this is joint training on all tasks.
      loss: of the adapted learner on the query chunk.
      derivative: one of ``metajax.core.problem.DERIVATIVES``.
      every_step: count the mean loss after 0..K adaptations, not the last alone: the
        multi-step loss of Antoniou et al. (2019), "How to train your MAML", section
        4, with equal weights and with the policy before any adaptation among them,
        which keeps that policy from running away. The chunks are there anyway.
      entropy_coefficient: weight of the entropy of the adapted policy, nats.

    Source: Finn et al. (2017), equation 4 and algorithm 3.
    """
    adapt = DERIVATIVES[derivative](learner.adapt)

    def adapted(theta, item, observe=lambda phi, chunk: ()):
        phi, observed = replay(learner, adapt, theta, item.support, item.key, observe)
        return learner.unroll(theta, phi, learner.memory(theta), item.query), observed

    def collect(key, theta):
        trial, info = run_sampled(
            learner, source, family, key, theta, num_adaptations=num_adaptations
        )
        prediction = learner.unroll(theta, trial.phi, learner.memory(theta), trial.query)
        item = TrialItem(
            trial.support, trial.query, trial.key, prediction.distribution, jnp.zeros(())
        )
        return jax.lax.stop_gradient((item, info))

    def meta_loss(theta, item):
        def loss_before(phi, chunk):
            return loss(learner.unroll(theta, phi, learner.memory(theta), chunk), chunk)

        if every_step:
            outputs, earlier = adapted(theta, item, loss_before)
            steps = jnp.append(earlier, loss(outputs, item.query))
        else:
            outputs, _ = adapted(theta, item)
            steps = loss(outputs, item.query)
        entropy = losses.masked_mean(outputs.entropy, item.query.mask)
        value = jnp.mean(steps) - entropy_coefficient * entropy
        return value, {"loss": value, "entropy": entropy}

    def divergence(item, old, new):
        return losses.masked_mean(learner.divergence(old, new), item.query.mask)

    return Objective(
        collect=collect,
        prepare=lambda items: items,
        loss=meta_loss,
        predict=lambda theta, item: adapted(theta, item)[0].distribution,
        divergence=divergence,
    )


def with_sampling_credit(
    objective: Objective, learner: Learner, derivative: str = "exact"
) -> Objective:
    """Adds E-MAML's term: credit for which samples the adaptation was given.

    ``-credit * sum log_prob(support)``, where the credit of a task is its return
    after adaptation less a baseline, in the units of the objective (``backprop``
    fills it in). Together with the ``score`` surrogate the gradient is that of the
    objective with sampled updates, ``E over support of V(adapted theta)``, and not
    of the one with expected updates that ``dice`` is right for.

    Source: Stadie et al. (2018), equation 9; Al-Shedivat et al. (2018),
    equation 7. We keep the sum over all support samples that the derivation
    gives, where published code takes a mean.
    """
    adapt = DERIVATIVES[derivative](learner.adapt)

    def loss(theta, item):
        def log_prob(phi, chunk):
            outputs = learner.unroll(theta, phi, learner.memory(theta), chunk)
            return jnp.sum(jnp.where(chunk.mask, outputs.log_prob, 0))

        value, info = objective.loss(theta, item)
        _, log_probs = replay(learner, adapt, theta, item.support, item.key, log_prob)
        return value - item.credit * jnp.sum(log_probs), info

    return objective._replace(loss=loss)
