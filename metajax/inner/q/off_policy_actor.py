"""The learner whose policy and values both adapt to experience of a noisier policy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from metajax import losses
from metajax.core.types import ActorOutput, Learner, Outputs
from metajax.inner.q.value_learner import (
    Correction,
    ValueState,
    descended,
    estimate,
)
from metajax.networks import Policy, ValueNetwork, exploring, over_steps


def off_policy_actor(
    policy: Policy,
    values: ValueNetwork,
    *,
    inner: optax.GradientTransformation,
    correction: Correction,
    epsilon: float | jax.Array = 0.1,
    updates: int = 1,
    value_coefficient: float | jax.Array = 0.5,
    entropy_coefficient: float | jax.Array = 0.0,
    normalize_advantages: bool = True,
) -> Learner:
    """An actor-critic whose theta are the initial weights of a policy and of its values.

    It acts by its policy with a uniformly random action now and then, and improves the
    policy without that: ``min(clip_rho, rho) log_prob advantage``, with advantages from the
    off-policy targets of the values. After its first update a chunk is off-policy for that
    reason too.

    Args:
      policy: of ``Discrete`` actions, without a value.
      values: of states, or of actions for "retrace".
      inner: what the gradient steps are made of.
      correction: of the targets.
      epsilon: probability of a uniformly random action.
      updates: gradient steps on each chunk, with ratios and targets anew before each.
      value_coefficient: weight of half the squared error of the values.
      entropy_coefficient: weight of the policy's entropy, nats.
      normalize_advantages: of each chunk, to mean 0 and deviation 1.

    Source: the actor and the critic of Espeholt et al. (2018), "IMPALA", section 4.2; with
    the other two corrections the targets are changed, not the actor.
    """
    choice = policy.distribution

    def logits_of(weights):
        return lambda observation: policy.apply(weights, observation)

    def init(key):
        key_policy, key_values = jax.random.split(key)
        return {**policy.init(key_policy), "value": values.init(key_values)}

    def begin(key, theta):
        del key
        return ValueState(theta, inner.init(theta))

    def act(noise, theta, phi, memory, seen):
        del theta
        logits = policy.apply(phi.weights, seen.observation[None])[0]
        noisy = exploring(jax.nn.softmax(logits), epsilon)
        action = choice.sample(noise, noisy)
        return ActorOutput(action, choice.mode(logits), choice.log_prob(noisy, action)), memory

    def of(weights, chunk):
        return estimate(values, weights["value"], logits_of(weights), chunk, correction)

    def outputs(weights, chunk):
        logits = over_steps(logits_of(weights), chunk.observation)
        prediction = of(weights, chunk).prediction
        log_prob, entropy = choice.log_prob(logits, chunk.action), choice.entropy(logits)
        return Outputs(logits, log_prob, entropy, prediction)

    def annotated(weights, chunk):
        """With the targets, and the advantages times their clipped ratios."""
        found = of(weights, chunk)
        advantage, scale = found.advantage, jnp.ones(())
        if normalize_advantages:
            # A deviation has no derivative where all are alike.
            fixed = jax.lax.stop_gradient((found.advantage, chunk.mask, found.target))
            scale = losses.normalize(*fixed)[1]
            advantage = (advantage - losses.masked_mean(advantage, chunk.mask)) / scale
        weight = jnp.minimum(found.rho, correction.clip_rho)
        return chunk._replace(advantage=weight * advantage, target=found.target, scale=scale)

    def adapt(key, theta, phi, chunk):
        del key, theta

        def update(phi, _):
            # What the gradient holds fixed, a meta-gradient sees.
            known = annotated(phi.weights, chunk)

            def loss(weights):
                now = outputs(weights, known)
                return losses.actor_critic_loss(
                    now.log_prob,
                    now.entropy,
                    now.value,
                    known.advantage,
                    known.target,
                    known.mask,
                    value_coefficient,
                    entropy_coefficient,
                )

            return descended(inner, phi, jax.grad(loss)(phi.weights)), None

        return jax.lax.scan(update, phi, length=updates)[0]

    return Learner(
        init=init,
        begin=begin,
        memory=lambda theta: (),
        act=act,
        unroll=lambda theta, phi, memory, chunk: outputs(phi.weights, chunk),
        annotate=lambda theta, phi, chunk: annotated(phi.weights, chunk),
        adapt=adapt,
        weights=lambda phi: phi.weights,
        divergence=choice.divergence,
        noise=choice.noise,
    )
