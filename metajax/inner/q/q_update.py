"""One gradient step of Q-learning: what it moves the values to, and how far."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from metajax import losses
from metajax.core.family import Tree
from metajax.data.buffer import Transition
from metajax.networks import QNetwork


def flat(observation: jax.Array) -> jax.Array:
    """``[n, B, O]`` as rows ``[n B, O]``."""
    return observation.reshape(-1, *observation.shape[2:])


class QSettings(NamedTuple):
    """The numbers that Q-learning depends on; any of them may be traced.

    Attributes:
      learning_rate: multiplies the optimiser's updates.
      discount: per step.
      epsilon: probability of a uniformly random action.
      temperature: of Boltzmann exploration, in units of the values; epsilon then comes on
        top. 0 takes the best action.
      mix: lambda of the n-step targets; 1 takes all n steps, 0 one.
      huber_delta: where the loss turns from squares to absolute values.
      target_rate: how far the target network moves at an update of it; 1 copies.
    """

    learning_rate: float | jax.Array = 2.5e-4
    discount: float | jax.Array = 0.99
    epsilon: float | jax.Array = 0.05
    temperature: float | jax.Array = 0.0
    mix: float | jax.Array = 1.0
    huber_delta: float | jax.Array = 1.0
    target_rate: float | jax.Array = 1.0


class QState(NamedTuple):
    """The fast state phi of one task.

    Attributes:
      weights: of the action values.
      target: weights of the target network.
      optimizer_state: of the optimiser.
      buffer: replay.
      env_steps: int32, transitions so far, over all streams.
      updates: int32, gradient steps so far.
      visits: what an ``Exploration`` remembers; ``()`` without one.
    """

    weights: Tree
    target: Tree
    optimizer_state: Tree
    buffer: Tree
    env_steps: jax.Array
    updates: jax.Array
    visits: Tree = ()


class QUpdate(NamedTuple):
    """Q-learning on batches, as pure functions.

    Attributes:
      targets: ``(weights, target, steps, settings, mix) -> [n, B]`` of steps with leaves ``[n,
        B, ...]``, n steps in a row.
      loss: ``(weights, target [B], batch, settings) -> scalar``, of the first steps of a batch
        alone.
      step: ``(state, batch, settings, pull) -> state``: one gradient step. ``pull``, by default
        none, is ``(weights) ->`` the gradient of what is added to the loss.
    """

    targets: Callable[..., jax.Array]
    loss: Callable[..., jax.Array]
    step: Callable[..., QState]


def q_update(
    network: QNetwork,
    optimizer: optax.GradientTransformation,
    *,
    double: bool = True,
    target_period: int = 1,
) -> QUpdate:
    """The update of a DQN; arguments as ``metajax.inner.q_learner`` takes them.

    Where a batch has weights, the loss is ``mean(weight * error)``: a weight of 0 leaves a
    transition out, and does not count the others for more.
    """

    def next_values(weights, target, observation):
        """Value of the best action by the target network, ``[n, B]``."""
        rows = flat(observation)
        values = network.apply(target, rows)
        chosen = network.apply(weights, rows) if double else values
        best = jnp.take_along_axis(values, jnp.argmax(chosen, -1)[:, None], -1)
        return best.reshape(observation.shape[:2])

    def targets(weights, target, steps, now, mix):
        values = next_values(weights, target, steps.next_observation)
        return losses.lambda_targets(
            steps.reward, steps.terminated, steps.truncated, values, now.discount, mix
        )

    def taken(weights, observation, action):
        values = network.apply(weights, observation)
        return jnp.take_along_axis(values, action[:, None], -1)[:, 0]

    def loss(weights, target, batch: Transition, now):
        error = taken(weights, batch.observation[0], batch.action[0]) - target
        errors = optax.losses.huber_loss(error, delta=now.huber_delta)
        return jnp.mean(errors if isinstance(batch.weight, tuple) else batch.weight * errors)

    def step(phi: QState, batch: Transition, now: QSettings, pull: Any = None) -> QState:
        # The gradient is that of the values alone; a meta-gradient sees the targets too.
        target = targets(phi.weights, phi.target, batch, now, now.mix)[0]
        gradients = jax.grad(loss)(phi.weights, target, batch, now)
        if pull is not None:
            gradients = jax.tree.map(jnp.add, gradients, pull(phi.weights))
        steps, state = optimizer.update(gradients, phi.optimizer_state, phi.weights)
        weights = jax.tree.map(lambda w, s: w - now.learning_rate * s, phi.weights, steps)
        count = phi.updates + 1

        def moved():
            return jax.tree.map(lambda t, w: t + now.target_rate * (w - t), phi.target, weights)

        if target_period == 1:
            target = moved()
        else:
            target = jax.lax.cond(count % target_period == 0, moved, lambda: phi.target)
        return phi._replace(weights=weights, target=target, optimizer_state=state, updates=count)

    return QUpdate(targets, loss, step)
