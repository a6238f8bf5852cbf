"""The learner whose policy and values both adapt to experience of a noisier policy."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import optax

from metajax import losses
from metajax.core.types import Chunk, Learner
from metajax.inner.actor_critic import ActorCriticSettings
from metajax.inner.descent import Rule, as_rule, descent
from metajax.inner.policy import policy_outputs
from metajax.inner.q.value_learner import Correction, Estimates, estimate, noisy_actor
from metajax.networks import Policy, ValueNetwork


def off_policy_actor(
    policy: Policy,
    values: ValueNetwork,
    *,
    inner: optax.GradientTransformation | Rule,
    correction: Correction,
    epsilon: float | jax.Array = 0.1,
    updates: int = 1,
    value_coefficient: float | jax.Array = 0.5,
    entropy_coefficient: float | jax.Array = 0.0,
    normalize_advantages: bool = True,
) -> Learner:
    """An actor-critic whose theta are the initial weights of a policy and of its values.

    It acts by its policy with a uniformly random action now and then, and improves the policy
    without that: ``min(clip_rho, rho) log_prob advantage``, with advantages from the off-policy
    targets of the values. After its first update a chunk is off-policy for that reason too.

    Args:
      policy: A policy of ``Discrete`` actions, without a value.
      values: Values of states, or of actions for "retrace".
      inner, correction, epsilon: See ``value_learner``.
      updates: Number of gradient steps on each chunk, with ratios and targets anew before each.
      value_coefficient: Weight of half the squared error of the values.
      entropy_coefficient: Weight of the policy's entropy, nats.
      normalize_advantages: Normalise each chunk to mean 0 and deviation 1.

    Source: the actor and the critic of Espeholt et al. (2018), "IMPALA", section 4.2; with
    the other two corrections the targets are changed, not the actor.
    """
    outputs = policy_outputs(policy)
    weighted = ActorCriticSettings(
        value_coefficient=value_coefficient, entropy_coefficient=entropy_coefficient
    )

    def init(key):
        key_policy, key_values = jax.random.split(key)
        return {**policy.init(key_policy), "value": values.init(key_values)}

    def estimates(weights, chunk):
        logits = functools.partial(policy.apply, weights)
        return estimate(values, weights["value"], logits, chunk, correction)

    def predict(weights, chunk):
        return outputs(weights, chunk)._replace(value=estimates(weights, chunk).prediction)

    def annotated(theta, weights, chunk):
        # What the gradient holds fixed, a meta-gradient sees.
        found = estimates(weights, chunk)
        return with_estimates(chunk, found, correction.clip_rho, normalize_advantages)

    def actor(weights_of):
        def logits_of(theta, phi, observation):
            return policy.apply(weights_of(theta, phi), observation)

        def annotate(theta, phi, chunk):
            return annotated(theta, weights_of(theta, phi), chunk)

        return noisy_actor(logits_of, policy.distribution, epsilon, annotate)

    return descent(
        init,
        predict,
        losses.term(weighted.loss),
        as_rule(inner),
        prepare=annotated,
        updates=updates,
        actor=actor,
    )


def with_estimates(
    chunk: Chunk, found: Estimates, clip_rho: float | jax.Array, normalize: bool
) -> Chunk:
    """The chunk with the targets, and with advantages times their clipped ratios.

    Args:
      chunk, found, clip_rho: The chunk, its estimates, and the largest ratio.
      normalize: Normalise the advantages, before the ratios, to mean 0 and deviation 1. The mean is
        differentiated, the deviation is not: it has no derivative where all advantages are alike.
    """
    advantage, scale = found.advantage, jnp.ones(())
    if normalize:
        fixed = jax.lax.stop_gradient((found.advantage, chunk.mask, found.target))
        scale = losses.normalize(*fixed)[1]
        advantage = (advantage - losses.masked_mean(advantage, chunk.mask)) / scale
    weight = jnp.minimum(found.rho, clip_rho)
    return chunk._replace(
        advantage=weight * advantage,
        target=found.target,
        scale=jnp.broadcast_to(scale, weight.shape),
    )
