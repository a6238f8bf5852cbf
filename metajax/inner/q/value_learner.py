"""The learner that adapts its values of one policy to the experience of another."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from metajax import losses
from metajax.core.family import Tree
from metajax.core.types import ActorOutput, Chunk, Learner, Outputs
from metajax.networks import ValueNetwork, categorical, exploring, over_steps


class ValueState(NamedTuple):
    """The fast state phi of one task.

    Attributes:
      weights: starting at theta.
      optimizer_state: of the inner optax transformation.
    """

    weights: Tree
    optimizer_state: Tree


class Correction(NamedTuple):
    """How targets are made of the experience of another policy.

    Attributes:
      name: "per-decision" and "vtrace" are of states, "retrace" is of actions.
      discount: per step.
      lambda_: 0 gives one-step targets, 1 those of as many steps as there are.
      clip_rho, clip_c: largest ratios of what a step counts and of what it passes on; see
        ``losses.off_policy``.
    """

    name: Literal["per-decision", "vtrace", "retrace"] = "vtrace"
    discount: float | jax.Array = 0.99
    lambda_: float | jax.Array = 1.0
    clip_rho: float | jax.Array = 1.0
    clip_c: float | jax.Array = 1.0


class Estimates(NamedTuple):
    """What is known of the steps of a chunk, each ``[T, E]``.

    Attributes:
      prediction: value of the state, or with "retrace" of the action taken.
      target: what that should be.
      advantage: of the action taken, by the targets of what followed.
      rho: ratio of the target policy's probability of the action to that with which it
        was taken, not clipped.
    """

    prediction: jax.Array
    target: jax.Array
    advantage: jax.Array
    rho: jax.Array


def estimate(
    values: ValueNetwork,
    weights: Tree,
    logits: Callable[[jax.Array], jax.Array],
    chunk: Chunk,
    correction: Correction,
) -> Estimates:
    """Predictions and targets of a chunk whose streams are not masked.

    Args:
      values: the network, with action values for "retrace".
      weights: of it.
      logits: ``(observation [B, O]) -> [B, A]``, the target policy.
      chunk: with ``next_observation``, and ``log_prob`` of the policy that acted.
      correction: how.

    Returns:
      the ``Estimates``, differentiable in weights and policy.
    """

    def states(observation):
        log_prob = jax.nn.log_softmax(logits(observation))
        return values.states(weights, observation, jnp.exp(log_prob)), log_prob

    here, log_probs = over_steps(states, chunk.observation)
    after, _ = over_steps(states, chunk.next_observation)
    log_prob = jnp.take_along_axis(log_probs, chunk.action[..., None], -1)[..., 0]
    rho = jnp.exp(log_prob - chunk.log_prob)
    ends = chunk.reward, chunk.terminated, chunk.truncated, after
    common = rho, correction.discount, correction.lambda_
    if correction.name == "retrace":
        actions = functools.partial(values.actions, weights)
        taken = over_steps(actions, chunk.observation, chunk.action)
        target = losses.retrace_targets(taken, *ends, *common, clip_c=correction.clip_c)
        return Estimates(taken, target, target - here, rho)
    if correction.name == "vtrace":
        clips = correction.clip_rho, correction.clip_c
        target = losses.vtrace_targets(here, *ends, *common, *clips)
    else:
        target = losses.per_decision_returns(*ends, *common, correction.clip_rho)
    following = losses.next_step_returns(target, *ends, correction.discount)
    return Estimates(here, target, following - here, rho)


def value_learner(
    values: ValueNetwork,
    policy: Callable[[jax.Array], jax.Array],
    num_actions: int,
    *,
    inner: optax.GradientTransformation,
    correction: Correction,
    epsilon: float | jax.Array = 1.0,
    updates: int = 1,
) -> Learner:
    """A learner whose theta are the initial weights of a value network.

    Its policy does not learn: it acts by the target policy with a uniformly random action
    now and then, and predicts what the target policy would be worth.

    Args:
      values: what predicts; with action values for "retrace".
      policy: ``(observation [B, O]) -> logits [B, A]``, the target policy.
      num_actions: A.
      inner: what the gradient steps are made of.
      correction: of the targets.
      epsilon: probability of a uniformly random action; 1 acts uniformly.
      updates: gradient steps on each chunk, with targets anew before each.

    ``unroll`` gives as ``value`` the predictions and as ``target``, not to be
    differentiated, what the correction makes of the chunk with the present weights.
    """
    choice = categorical(num_actions)

    def behaviour(observation):
        return exploring(jax.nn.softmax(policy(observation)), epsilon)

    def begin(key, theta):
        del key
        return ValueState(theta, inner.init(theta))

    def act(noise, theta, phi, memory, seen):
        del theta, phi
        observation = seen.observation[None]
        logits = behaviour(observation)[0]
        action = choice.sample(noise, logits)
        mode = choice.mode(policy(observation))[0]
        return ActorOutput(action, mode, choice.log_prob(logits, action)), memory

    def of(weights, chunk):
        return estimate(values, weights, policy, chunk, correction)

    def unroll(theta, phi, memory, chunk):
        del theta, memory
        logits = over_steps(behaviour, chunk.observation)
        found = of(phi.weights, chunk)
        return Outputs(
            distribution=logits,
            log_prob=choice.log_prob(logits, chunk.action),
            entropy=choice.entropy(logits),
            value=found.prediction,
            target=jax.lax.stop_gradient(found.target),
        )

    def adapt(key, theta, phi, chunk):
        del key, theta

        def update(phi, _):
            # The gradient is that of the prediction alone; a meta-gradient sees the targets.
            target = of(phi.weights, chunk).target

            def loss(weights):
                error = of(weights, chunk).prediction - target
                return 0.5 * losses.masked_mean(jnp.square(error), chunk.mask)

            return descended(inner, phi, jax.grad(loss)(phi.weights)), None

        return jax.lax.scan(update, phi, length=updates)[0]

    return Learner(
        init=values.init,
        begin=begin,
        memory=lambda theta: (),
        act=act,
        unroll=unroll,
        annotate=lambda theta, phi, chunk: chunk,
        adapt=adapt,
        weights=lambda phi: phi.weights,
        divergence=choice.divergence,
        noise=choice.noise,
    )


def descended(inner: optax.GradientTransformation, phi: ValueState, gradients: Tree) -> ValueState:
    """One step of the inner rule."""
    step, state = inner.update(gradients, phi.optimizer_state, phi.weights)
    return ValueState(optax.apply_updates(phi.weights, step), state)
