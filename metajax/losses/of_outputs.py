"""Losses of a policy's ``Outputs`` on a ``Chunk``, and objectives of weighted terms.

A loss is ``(outputs, chunk) -> scalar``; a term also sees theta.
"""

import jax
import jax.numpy as jnp

from metajax.core.family import Tree
from metajax.core.types import Chunk, DivergenceFn, Loss, Outputs, Term
from metajax.losses.advantages import masked_mean
from metajax.losses.policy_gradient import (
    clipped_surrogate,
    dice_surrogate,
    likelihood_ratio_surrogate,
    score_surrogate,
)
from metajax.losses.recursion import backward_sums


def score_loss(outputs: Outputs, chunk: Chunk) -> jax.Array:
    """``score_surrogate`` of the chunk's actions: REINFORCE, A2C."""
    return score_surrogate(outputs.log_prob, chunk.advantage, chunk.mask)


def dice_loss(outputs: Outputs, chunk: Chunk) -> jax.Array:
    """``dice_surrogate`` of the chunk's actions."""
    return dice_surrogate(outputs.log_prob, chunk.advantage, chunk.mask)


def ratio_loss(outputs: Outputs, chunk: Chunk) -> jax.Array:
    """``likelihood_ratio_surrogate`` of the chunk's actions: low-variance curvature, TRPO."""
    return likelihood_ratio_surrogate(outputs.log_prob, chunk.log_prob, chunk.advantage, chunk.mask)


def cloning_loss(outputs: Outputs, chunk: Chunk) -> jax.Array:
    """Mean of minus the log-probability of the chunk's actions, nats: behaviour cloning."""
    return -masked_mean(outputs.log_prob, chunk.mask)


def clipped_loss(clip: float | jax.Array) -> Loss:
    """``clipped_surrogate`` of the chunk's actions (PPO), for several passes over trials."""

    def loss(outputs, chunk):
        return clipped_surrogate(
            outputs.log_prob, chunk.log_prob, chunk.advantage, chunk.mask, clip
        )

    return loss


def policy_gradient_loss(outputs: Outputs, chunk: Chunk) -> jax.Array:
    """``-sum(log_prob * advantage) / (T E)``, for one gradient step from fresh trials.

    Advantages are taken back to reward units and the sum is over the whole horizon, so that the
    gradient is that of the mean return over tasks, divided by T. With advantages normalised within
    each task, a solved task, whose advantages are small, would weigh as much as an unsolved one.
    """
    filled = jnp.mean(chunk.mask, dtype=outputs.log_prob.dtype)
    advantage = chunk.advantage * chunk.scale
    return filled * score_surrogate(outputs.log_prob, advantage, chunk.mask)


def value_error(outputs: Outputs, chunk: Chunk) -> jax.Array:
    """Half the mean squared error of the values against the chunk's targets."""
    return 0.5 * masked_mean(jnp.square(outputs.value - chunk.target), chunk.mask)


def entropy(outputs: Outputs, chunk: Chunk) -> jax.Array:
    """Mean entropy of the policy, nats."""
    return masked_mean(outputs.entropy, chunk.mask)


def behaviour_divergence(divergence: DivergenceFn) -> Loss:
    """Mean divergence KL(acted || now) from the policy that acted, nats.

    For chunks that record ``distribution``; ``divergence`` is that of the actor.
    """

    def loss(outputs, chunk):
        return masked_mean(divergence(chunk.distribution, outputs.distribution), chunk.mask)

    return loss


def temporal_difference_loss(outputs: Outputs, chunk: Chunk) -> jax.Array:
    """Half the mean squared error of the action values against their own targets."""
    return 0.5 * masked_mean(jnp.square(outputs.value - outputs.target), chunk.mask)


def return_error(discount: float | jax.Array) -> Loss:
    """Half the mean squared error of action values against ``following_returns``."""

    def loss(outputs, chunk):
        error = outputs.value - following_returns(outputs, chunk, discount)
        return 0.5 * masked_mean(jnp.square(error), chunk.mask)

    return loss


def behaviour_loss(discount: float | jax.Array) -> Loss:
    """The policy gradient of a policy that acts on action values, for its epsilon.

    ``-mean(log_prob * (G - expected value))``, where G are ``following_returns``. Nothing is
    differentiated through the values themselves.
    """

    def loss(outputs, chunk):
        value = following_returns(outputs, chunk, discount)
        advantage = value - jax.lax.stop_gradient(outputs.expected_value)
        return score_surrogate(outputs.log_prob, advantage, chunk.mask)

    return loss


def following_returns(outputs: Outputs, chunk: Chunk, discount: float | jax.Array) -> jax.Array:
    """Discounted returns up to the last step of a chunk, or to the end of the episode.

    ``[T, E]``, without gradient; the last reward of each return is the target of that step,
    which stands for everything after it.
    """
    ends = chunk.done.at[-1].set(True)
    known = jnp.where(ends, outputs.target, chunk.reward)
    return jax.lax.stop_gradient(backward_sums(known, discount * ~ends))


def total_of(*parts: tuple[float | jax.Array, Loss]) -> Loss:
    """The weighted sum of losses."""
    return lambda outputs, data: jnp.asarray(
        sum(weight * loss(outputs, data) for weight, loss in parts)
    )


def term(loss: Loss) -> Term:
    """A loss as a term of an objective, which does not depend on theta by itself."""
    return lambda theta, outputs, data: loss(outputs, data)


def evaluated(
    terms: dict[str, tuple[float | jax.Array, Term]], theta: Tree, outputs: Tree, data: Tree
) -> tuple[jax.Array | float, dict[str, jax.Array]]:
    """The weighted sum of named terms, and each term by itself."""
    values = {name: one(theta, outputs, data) for name, (_, one) in terms.items()}
    return sum(weight * values[name] for name, (weight, _) in terms.items()), values
