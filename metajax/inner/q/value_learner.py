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
from metajax.core.types import (
    Actor,
    ActorOutput,
    AnnotateFn,
    Chunk,
    Learner,
    Outputs,
    bootstrap_observation,
    unannotated,
)
from metajax.inner.descent import Rule, as_rule, descent
from metajax.inner.policy import memoryless
from metajax.networks import ValueNetwork, categorical, exploring, over_steps
from metajax.networks.distributions import Distribution


class Correction(NamedTuple):
    """Targets from the experience of another policy.

    Attributes:
      name: "per-decision" and "vtrace" are targets of states, "retrace" of actions.
      discount: Discount per step.
      lambda_: 0 gives one-step targets, 1 those of as many steps as there are.
      clip_rho, clip_c: Largest ratios of a step's own weight and of its trace; see
        ``losses.off_policy``.
    """

    name: Literal["per-decision", "vtrace", "retrace"] = "vtrace"
    discount: float | jax.Array = 0.99
    lambda_: float | jax.Array = 1.0
    clip_rho: float | jax.Array = 1.0
    clip_c: float | jax.Array = 1.0


class Estimates(NamedTuple):
    """Estimates for the steps of a chunk, each ``[T, E]``.

    Attributes:
      prediction: Value of the state, or with "retrace" of the action taken.
      target: Target of the prediction.
      advantage: Advantage of the action taken, by the targets of the steps after it.
      rho: Ratio of the probabilities of the action, target policy over acting policy, not clipped.
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
      values: The network, with action values for "retrace".
      weights: Its weights.
      logits: ``(observation [B, O]) -> [B, A]``, the target policy.
      chunk: A chunk with ``next_observation``, and ``log_prob`` of the policy that acted.
      correction: The kind of targets.

    Returns:
      the ``Estimates``, differentiable in weights and policy.
    """

    def states(observation):
        log_prob = jax.nn.log_softmax(logits(observation))
        return values.states(weights, observation, jnp.exp(log_prob)), log_prob

    here, log_probs = over_steps(states, chunk.observation)
    after, _ = over_steps(states, bootstrap_observation(chunk))
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
    inner: optax.GradientTransformation | Rule,
    correction: Correction,
    epsilon: float | jax.Array = 1.0,
    updates: int = 1,
) -> Learner:
    """A learner whose theta are the initial weights of a value network.

    Its policy does not learn: it acts by the target policy with a uniformly random action
    now and then, and predicts the values of the target policy. Predictions have as ``value``
    those values and as ``target``, without gradient, the corrected targets of the chunk under
    the present weights.

    Args:
      values: The values to adapt; action values for "retrace".
      policy: ``(observation [B, O]) -> logits [B, A]``, the target policy.
      num_actions: A.
      inner: An optax transformation, or a function of theta that gives one.
      correction: The kind of targets.
      epsilon: Probability of a uniformly random action; 1 acts uniformly.
      updates: Number of gradient steps on each chunk, with targets anew before each.
    """
    choice = categorical(num_actions)

    def estimates(weights, chunk):
        return estimate(values, weights, policy, chunk, correction)

    def predict(weights, chunk):
        found = estimates(weights, chunk)
        logits = over_steps(lambda rows: noisy_logits(policy(rows), epsilon), chunk.observation)
        return Outputs(
            distribution=logits,
            log_prob=choice.log_prob(logits, chunk.action),
            entropy=choice.entropy(logits),
            value=found.prediction,
            target=jax.lax.stop_gradient(found.target),
        )

    def prepare(theta, weights, chunk):
        # The gradient is that of the prediction alone; a meta-gradient sees the targets.
        return chunk._replace(target=estimates(weights, chunk).target)

    return descent(
        values.init,
        predict,
        losses.term(losses.value_error),
        as_rule(inner),
        prepare=prepare,
        updates=updates,
        actor=lambda _: noisy_actor(lambda theta, phi, rows: policy(rows), choice, epsilon),
    )


def noisy_actor(
    logits_of: Callable[[Tree, Tree, jax.Array], jax.Array],
    choice: Distribution,
    epsilon: float | jax.Array,
    annotate: AnnotateFn = unannotated,
) -> Actor:
    """An actor of a policy that takes a uniformly random action with probability epsilon.

    Its mode is that of the policy itself.

    Args:
      logits_of: ``(theta, phi, observation [B, O]) -> logits [B, A]``, the policy.
      choice, annotate: The distribution of actions; see ``metajax.Actor``.
    """

    def act(noise, theta, phi, memory, seen):
        logits = logits_of(theta, phi, seen.observation[None])[0]
        noisy = noisy_logits(logits, epsilon)
        action = choice.sample(noise, noisy)
        return ActorOutput(action, choice.mode(logits), choice.log_prob(noisy, action)), memory

    return memoryless(act, choice, annotate, records=("next_observation",))


def noisy_logits(logits: jax.Array, epsilon: float | jax.Array) -> jax.Array:
    """Logits ``[..., A]`` of a policy with a uniformly random action now and then."""
    return exploring(jax.nn.softmax(logits), epsilon)
