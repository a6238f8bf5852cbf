"""The learner that adapts by advantage actor-critic: A2C as a pure function."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from metajax import losses
from metajax.core.types import ActorOutput, Chunk, Key, Learner, Outputs, Tree
from metajax.inner.counting import counted
from metajax.networks import Policy, over_steps


class ActorCriticSettings(NamedTuple):
    """The numbers that actor-critic depends on; any of them may be traced.

    Attributes:
      learning_rate: multiplies the optimiser's updates.
      discount: per step, or ``observations [T, E, O] -> [T, E]``: that of what follows the
        state they show.
      gae_lambda: of the advantage estimate and of the targets of the value.
      value_coefficient, entropy_coefficient: weights in the loss.
    """

    learning_rate: float | jax.Array = 1e-3
    discount: Any = 0.99
    gae_lambda: float | jax.Array = 0.95
    value_coefficient: float | jax.Array = 0.5
    entropy_coefficient: float | jax.Array = 0.01


class ActorCriticState(NamedTuple):
    """The fast state phi of one task.

    Attributes:
      weights: of policy and value.
      optimizer_state: of the optimiser.
      env_steps: int32, transitions so far, over all streams.
    """

    weights: Tree
    optimizer_state: Tree
    env_steps: jax.Array


def loss_of(now: ActorCriticSettings) -> Callable[[Outputs, Chunk], jax.Array]:
    """The loss of an annotated chunk with these coefficients."""

    def loss(outputs, chunk):
        return losses.actor_critic_loss(
            outputs.log_prob,
            outputs.entropy,
            outputs.value,
            chunk.advantage,
            chunk.target,
            chunk.mask,
            now.value_coefficient,
            now.entropy_coefficient,
        )

    return loss


def actor_critic_learner(
    policy: Policy,
    *,
    optimizer: optax.GradientTransformation,
    settings: Callable[[Tree, jax.Array], ActorCriticSettings],
    init: Callable[[Key], Tree] | None = None,
    start: Callable[[Key, Tree], Tree] = lambda key, theta: theta,
) -> Learner:
    """A learner that takes one A2C step on every chunk of a lifetime.

    Time limits bootstrap, terminal states do not, and the last step of a chunk bootstraps
    from where it led. Advantages and targets are part of what the settings act on, so
    ``adapt`` computes them anew where ``annotate`` has stored them: a meta-gradient sees how
    they depend on the settings and on earlier updates, the update itself takes them for
    constants.

    Args:
      policy: with a value function.
      optimizer: without a learning rate, for example ``optax.scale_by_adam()``; what it
        returns is multiplied by ``settings.learning_rate`` and subtracted.
      settings: ``(theta, env_steps) -> ActorCriticSettings``, so that a number may follow a
        schedule or be meta-learned.
      init: ``(key) -> theta``; by default initial weights.
      start: ``(key, theta) ->`` the weights that a task starts from; by default theta.

    Source: Mnih et al. (2016), section 4, with the advantages of Schulman et al. (2016). A
    discount of the state that a step leads to is that of Xu et al. (2018), "Meta-gradient
    reinforcement learning".
    """
    distribution, value_of = policy.distribution, policy.value
    if value_of is None:
        raise ValueError("policy: has no value function; allowed: one with value_network")

    def values(weights, observation):
        return over_steps(lambda rows: value_of(weights, rows), observation)

    def begin(key, theta):
        weights = start(key, theta)
        return ActorCriticState(weights, optimizer.init(weights), jnp.zeros((), jnp.int32))

    def act(noise, theta, phi, memory, seen):
        del theta
        parameters = policy.apply(phi.weights, seen.observation[None])
        action = distribution.sample(noise, parameters)
        log_prob = distribution.log_prob(parameters, action)
        output = ActorOutput(action[0], distribution.mode(parameters)[0], log_prob[0])
        return output, memory

    def unroll(theta, phi, memory, chunk):
        del theta, memory
        parameters = over_steps(lambda rows: policy.apply(phi.weights, rows), chunk.observation)
        return Outputs(
            distribution=parameters,
            log_prob=distribution.log_prob(parameters, chunk.action),
            entropy=distribution.entropy(parameters),
            value=values(phi.weights, chunk.observation),
        )

    def annotate(theta, phi, chunk):
        now = settings(theta, phi.env_steps)
        discount: Any = now.discount
        if callable(discount):
            discount = discount(chunk.next_observation)
        value = values(phi.weights, chunk.observation)
        advantage = losses.episodic_advantages(
            chunk.reward,
            value,
            values(phi.weights, chunk.next_observation),
            chunk.terminated,
            chunk.truncated,
            chunk.mask,
            discount,
            now.gae_lambda,
        )
        return chunk._replace(
            advantage=advantage, target=advantage + value, scale=jnp.ones_like(advantage[0, 0])
        )

    def adapt(key, theta, phi, chunk):
        del key
        now = settings(theta, phi.env_steps)
        annotated = annotate(theta, phi, chunk)

        def loss(weights):
            outputs = unroll(theta, phi._replace(weights=weights), (), annotated)
            return loss_of(now)(outputs, annotated)

        gradients = jax.grad(loss)(phi.weights)
        steps, state = optimizer.update(gradients, phi.optimizer_state, phi.weights)
        weights = jax.tree.map(lambda w, s: w - now.learning_rate * s, phi.weights, steps)
        return ActorCriticState(weights, state, counted(phi.env_steps, chunk))

    return Learner(
        init=policy.init if init is None else init,
        begin=begin,
        memory=lambda theta: (),
        act=act,
        unroll=unroll,
        annotate=annotate,
        adapt=adapt,
        weights=lambda phi: phi.weights,
        divergence=distribution.divergence,
        noise=distribution.noise,
        singly=False,
    )
