"""Adaptation by advantage actor-critic: A2C as a pure function."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from metajax import losses
from metajax.core.family import Key, Tree
from metajax.core.types import Chunk, Learner, Outputs, bootstrap_observation
from metajax.inner.descent import Rule, as_rule, descent, made
from metajax.inner.policy import policy_actor, policy_outputs
from metajax.networks import Policy, over_steps


class ActorCriticSettings(NamedTuple):
    """The numbers that actor-critic depends on; any of them may be traced.

    Attributes:
      learning_rate: Factor of the optimiser's updates.
      discount: Discount per step, or ``observations [T, E, O] -> [T, E]``, the discount of
        everything after the state they show.
      gae_lambda: Lambda of the advantage estimate and of the targets of the value.
      value_coefficient, entropy_coefficient: Weights in the loss.
    """

    learning_rate: float | jax.Array = 1e-3
    discount: Any = 0.99
    gae_lambda: float | jax.Array = 0.95
    value_coefficient: float | jax.Array = 0.5
    entropy_coefficient: float | jax.Array = 0.01

    def loss(self, outputs: Outputs, chunk: Chunk) -> jax.Array:
        """The loss of an annotated chunk."""
        predicted = outputs.log_prob, outputs.entropy, outputs.value
        known = chunk.advantage, chunk.target, chunk.mask
        coefficients = self.value_coefficient, self.entropy_coefficient
        return losses.actor_critic_loss(*predicted, *known, *coefficients)


def actor_critic_learner(
    policy: Policy,
    *,
    optimizer: optax.GradientTransformation | Rule,
    settings: Callable[[Tree], ActorCriticSettings],
    init: Callable[[Key], Tree] | None = None,
    start: Callable[[Key, Tree], Tree] | None = None,
) -> Learner:
    """A learner that takes one A2C step on every chunk of a lifetime.

    Time limits bootstrap, terminal states do not, and the last step of a chunk bootstraps from the
    state it led to. Advantages and targets are part of what the settings act on, so they are
    computed anew before each step: a meta-gradient sees how they depend on the settings and on
    earlier updates; the update itself takes them for constants.

    Args:
      policy: A policy with a value function.
      optimizer: An optimiser without a learning rate, for example ``optax.scale_by_adam()``; its
        output is multiplied by ``settings.learning_rate`` and subtracted. Or a function of theta
        that gives one.
      settings: ``(theta) -> ActorCriticSettings``, so that a number may be meta-learned.
      init: ``(key) -> theta``. Default: initial weights.
      start: ``(key, theta) -> weights`` at the start of a task. Default: theta.

    Source: Mnih et al. (2016), section 4, with the advantages of Schulman et al. (2016). A
    discount of the state that a step leads to is that of Xu et al. (2018), "Meta-gradient
    reinforcement learning".
    """
    if policy.value is None:
        raise ValueError("policy: has no value function; allowed: one with value_network")

    def annotated(theta, weights, chunk):
        return with_advantages(policy, settings(theta), weights, chunk)

    def actor(weights_of):
        return policy_actor(
            policy,
            weights_of,
            lambda theta, phi, chunk: annotated(theta, weights_of(theta, phi), chunk),
            records=("next_observation",),
        )

    direction = as_rule(optimizer)

    def rule(theta):
        return optax.chain(
            made(direction, theta), optax.scale(-1.0 * settings(theta).learning_rate)
        )

    return descent(
        policy.init if init is None else init,
        policy_outputs(policy),
        lambda theta, outputs, chunk: settings(theta).loss(outputs, chunk),
        rule,
        start=start,
        prepare=annotated,
        actor=actor,
        singly=False,
    )


def with_advantages(policy: Policy, now: ActorCriticSettings, weights: Tree, chunk: Chunk) -> Chunk:
    """The chunk with advantages and value targets under these weights and settings."""

    def values(observation):
        return over_steps(lambda rows: policy.value(weights, rows), observation)  # pyright: ignore[reportOptionalCall]

    following = bootstrap_observation(chunk)
    discount: Any = now.discount
    if callable(discount):
        discount = discount(following)
    value, after = values(chunk.observation), values(following)
    ends = chunk.terminated, chunk.truncated, chunk.mask
    advantage = losses.episodic_advantages(
        chunk.reward, value, after, *ends, discount, now.gae_lambda
    )
    return chunk._replace(
        advantage=advantage, target=advantage + value, scale=jnp.ones_like(advantage)
    )
