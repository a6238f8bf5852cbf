"""Adaptation by a learned objective: agents whose targets come from a network."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from metajax import losses
from metajax.core.family import Tree
from metajax.core.types import Chunk, Learner, Loss, bootstrap_observation
from metajax.inner.actor_critic import ActorCriticSettings, with_advantages
from metajax.inner.descent import descent
from metajax.inner.policy import policy_actor, policy_outputs
from metajax.networks import Policy, Readout, Step, over_steps


class ObjectiveOutputs(NamedTuple):
    """Predictions of an agent, and what the learned objective makes of them.

    Attributes:
      distribution, log_prob, entropy, value: See ``metajax.Outputs``.
      prediction: ``[T, E, M]``, log-probabilities of the agent's categorical predictions.
      policy_target: ``[T, E]``, what the objective weighs log-probabilities of actions with.
      prediction_target: ``[T, E, M]``, log-probabilities that it gives the predictions to match.
    """

    distribution: Tree
    log_prob: jax.Array
    entropy: jax.Array
    value: jax.Array
    prediction: jax.Array
    policy_target: jax.Array
    prediction_target: jax.Array


class Targets(NamedTuple):
    """``Chunk.target`` of an adaptation: of the predictions ``[T, E, M]`` and values ``[T, E]``."""

    prediction: jax.Array
    value: jax.Array


def objective_learner(
    policy: Policy,
    predictions: Readout,
    objective: nn.Module,
    example: Step,
    *,
    optimizer: optax.GradientTransformation,
    judge: ActorCriticSettings,
    prediction_coefficient: float | jax.Array = 0.5,
) -> Learner:
    """An agent that takes one step of a learned objective on every chunk of a lifetime.

    ``-mean(policy_target log_prob) + c_y mean KL(prediction || prediction_target)``

    Both targets come from the network whose parameters are theta; a step takes them for
    constants, and a meta-gradient sees how they depend on theta and on the agent. The value of
    the policy learns beside it, by temporal differences: it is for the meta-objective alone
    and tells the agent nothing.

    Args:
      policy: A policy with a value function.
      predictions: Logits of the agent's predictions.
      objective: A module like ``metajax.networks.LearnedTargets``.
      example: Any input of it, for its initial parameters.
      optimizer: An optimiser of the agent's weights, with its learning rate.
      judge: Discount, lambda and value coefficient of the value, and of advantages of chunks.
      prediction_coefficient: Weight of the divergence, c_y.

    Source: Oh et al. (2020), "Discovering reinforcement learning algorithms", equations 2 and 3.
    Deviation: time limits are no terminations.
    """
    outputs_of = policy_outputs(policy)

    def predicted(weights, observation):
        logits = over_steps(
            lambda rows: predictions.apply(weights["prediction"], rows), observation
        )
        return jax.nn.log_softmax(logits)

    def targets(theta, log_prob, before, after, chunk):
        step = Step(
            reward=chunk.reward,
            terminated=chunk.terminated,
            ended=chunk.done,
            probability=jnp.exp(log_prob),
            prediction=jnp.exp(before),
            next_prediction=jnp.exp(after),
        )
        found: Any = objective.apply(theta, step)
        weight, logits = found
        return weight, jax.nn.log_softmax(logits)

    def predict(theta, weights, chunk):
        known = outputs_of(weights, chunk)
        before, after = (
            predicted(weights, one) for one in (chunk.observation, bootstrap_observation(chunk))
        )
        found = targets(theta, known.log_prob, before, after, chunk)
        return ObjectiveOutputs(
            known.distribution, known.log_prob, known.entropy, known.value, before, *found
        )

    def prepare(theta, weights, chunk):
        outputs = predict(theta, weights, chunk)
        value = with_advantages(policy, judge, weights, chunk).target
        target = Targets(outputs.prediction_target, jax.lax.stop_gradient(value))
        return chunk._replace(advantage=outputs.policy_target, target=target)

    def loss(theta, agent, chunk):
        del theta
        outputs, prediction = agent
        matched = losses.masked_mean(divergence(prediction, chunk.target.prediction), chunk.mask)
        error = losses.masked_mean(jnp.square(outputs.value - chunk.target.value), chunk.mask)
        return (
            losses.score_loss(outputs, chunk)
            + prediction_coefficient * matched
            + 0.5 * judge.value_coefficient * error
        )

    def start(key, theta):
        del theta
        key_policy, key_prediction = jax.random.split(key)
        return {**policy.init(key_policy), "prediction": predictions.init(key_prediction)}

    def actor(weights_of):
        return policy_actor(
            policy,
            weights_of,
            lambda theta, phi, chunk: with_advantages(policy, judge, weights_of(theta, phi), chunk),
            records=("next_observation",),
        )

    learner = descent(
        lambda key: objective.init(key, example),
        lambda weights, chunk: (outputs_of(weights, chunk), predicted(weights, chunk.observation)),
        loss,
        lambda theta: optimizer,
        start=start,
        prepare=prepare,
        actor=actor,
        singly=False,
    )
    return learner._replace(predict=lambda theta, phi, chunk: predict(theta, phi.fast, chunk))


def divergence(one: jax.Array, other: jax.Array) -> jax.Array:
    """KL(one || other) ``[...]`` of categorical log-probabilities ``[..., M]``."""
    return jnp.sum(jnp.exp(one) * (one - other), axis=-1)


def objective_regularizer(
    *,
    policy_entropy: float | jax.Array,
    prediction_entropy: float | jax.Array,
    policy_target: float | jax.Array,
    prediction_target: float | jax.Array,
) -> Loss:
    """Regulariser of a learned objective: entropies up, squares of its targets down.

    The arguments are the weights of the mean entropies of policy and predictions, and of the mean
    squares of both targets, the second as probabilities.

    Source: Oh et al. (2020), section 3.3.
    """

    def loss(outputs: ObjectiveOutputs, chunk: Chunk) -> jax.Array:
        surprise = -jnp.sum(jnp.exp(outputs.prediction) * outputs.prediction, axis=-1)
        square = jnp.sum(jnp.exp(2 * outputs.prediction_target), axis=-1)
        total = -policy_entropy * outputs.entropy - prediction_entropy * surprise
        total += policy_target * jnp.square(outputs.policy_target) + prediction_target * square
        return losses.masked_mean(total, chunk.mask)

    return loss
