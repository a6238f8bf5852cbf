"""One gradient step of Q-learning: the target of the values, and the size of the step."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from metajax import losses
from metajax.core.family import Tree
from metajax.core.types import Chunk, bootstrap_observation
from metajax.data.buffer import Transition
from metajax.networks import QNetwork


class QSettings(NamedTuple):
    """The numbers that Q-learning depends on; any of them may be traced.

    Attributes:
      learning_rate: Factor of the optimiser's updates.
      discount: Discount per step.
      epsilon: Probability of a uniformly random action.
      temperature: Temperature of Boltzmann exploration, in units of the values; epsilon then
        comes on top. 0 takes the best action.
      mix: Lambda of the n-step targets; 1 takes all n steps, 0 one.
      huber_delta: Error at which the loss turns from squared to absolute.
      target_rate: Fraction of the way from the target network to the network in an update of
        the target; 1 copies.
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
      weights: Weights of the action values.
      target: Weights of the target network.
      optimizer_state: State of the optimiser.
      buffer: Replay buffer.
      env_steps: Int32, transitions so far, all streams together.
      updates: Int32, gradient steps so far.
      visits: State of the ``Exploration``; None without one.
    """

    weights: Tree
    target: Tree
    optimizer_state: Tree
    buffer: Tree
    env_steps: jax.Array
    updates: jax.Array
    visits: Tree = None


@dataclasses.dataclass(frozen=True, eq=False)
class QUpdate:
    """The update of a DQN.

    The loss of a batch with weights is ``mean(weight * error)``: a weight of 0 leaves a
    transition out, and does not count the others for more.

    Attributes:
      network: The action values.
      optimizer, double, target_period: See ``metajax.inner.q_learner``.
    """

    network: QNetwork
    optimizer: optax.GradientTransformation
    double: bool = True
    target_period: int = 1

    def next_values(self, weights: Tree, target: Tree, observation: jax.Array) -> jax.Array:
        """``[n, B]``, the target network's value of the best action at ``[n, B, O]``."""
        rows = flat(observation)
        values = self.network.apply(target, rows)
        chosen = self.network.apply(weights, rows) if self.double else values
        best = jnp.take_along_axis(values, jnp.argmax(chosen, -1)[:, None], -1)
        return best.reshape(observation.shape[:2])

    def targets(
        self,
        weights: Tree,
        target: Tree,
        steps: Transition | Chunk,
        now: QSettings,
        mix: float | jax.Array,
    ) -> jax.Array:
        """``[n, B]``, targets of n successive steps ``[n, B, ...]`` mixed with lambda ``mix``."""
        values = self.next_values(weights, target, bootstrap_observation(steps))
        return losses.lambda_targets(
            steps.reward, steps.terminated, steps.truncated, values, now.discount, mix
        )

    def loss(
        self, weights: Tree, target: jax.Array, batch: Transition, now: QSettings
    ) -> jax.Array:
        """The loss of the first steps of a batch ``[n, B, ...]`` against targets ``[B]``."""
        values = self.network.apply(weights, batch.observation[0])
        taken = jnp.take_along_axis(values, batch.action[0][:, None], -1)[:, 0]
        errors = optax.losses.huber_loss(taken - target, delta=now.huber_delta)  # pyright: ignore[reportArgumentType]
        return jnp.mean(errors if batch.weight is None else batch.weight * errors)

    def step(
        self,
        phi: QState,
        batch: Transition,
        now: QSettings,
        pull: Callable[[Tree], Tree] | None = None,
    ) -> QState:
        """The state after one gradient step on a batch with leaves ``[n, B, ...]``.

        ``pull`` is ``(weights) ->`` gradient of a further term of the loss. Default: no term.
        """
        # The gradient is that of the values alone; a meta-gradient sees the targets too.
        target = self.targets(phi.weights, phi.target, batch, now, now.mix)[0]
        gradients = jax.grad(self.loss)(phi.weights, target, batch, now)
        if pull is not None:
            gradients = jax.tree.map(jnp.add, gradients, pull(phi.weights))
        optimizer = optax.with_extra_args_support(self.optimizer)
        steps, state = optimizer.update(gradients, phi.optimizer_state, phi.weights, data=batch)
        weights = jax.tree.map(lambda w, s: w - now.learning_rate * s, phi.weights, steps)
        count = phi.updates + 1
        target = self.next_target(phi.target, weights, count, now.target_rate)
        return phi._replace(weights=weights, target=target, optimizer_state=state, updates=count)

    def next_target(
        self, target: Tree, weights: Tree, count: jax.Array, rate: float | jax.Array
    ) -> Tree:
        """The target network after ``count`` gradient steps."""

        def moved():
            return jax.tree.map(lambda t, w: t + rate * (w - t), target, weights)

        if self.target_period == 1:
            return moved()
        return jax.lax.cond(count % self.target_period == 0, moved, lambda: target)


def flat(observation: jax.Array) -> jax.Array:
    """``[n, B, O]`` as rows ``[n B, O]``."""
    return observation.reshape(-1, *observation.shape[2:])
