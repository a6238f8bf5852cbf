"""The learner that adapts by Q-learning: DQN as a pure function."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from metajax import losses
from metajax.inner.exploration import Exploration
from metajax.inner.replay import Replay, Transition
from metajax.networks import QNetwork, categorical
from metajax.types import ActorOutput, Key, Learner, Outputs, Tree

# Log-probabilities stay finite, so that an entropy has no product of zero and infinity.
_NEVER = 1e-37


def _flat(observation: jax.Array) -> jax.Array:
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


def q_learner(
    network: QNetwork,
    replay: Replay,
    *,
    optimizer: optax.GradientTransformation,
    settings: Callable[[Tree, jax.Array], QSettings],
    boltzmann: bool = False,
    exploration: Exploration | None = None,
    double: bool = True,
    updates: int = 1,
    target_period: int = 1,
    init: Callable[[Key], Tree] | None = None,
    start: Callable[[Key, Tree], Tree] = lambda key, theta: theta,
) -> Learner:
    """A learner whose phi is all of a DQN: values, target, optimiser and replay.

    Each adaptation stores its chunk and takes gradient steps on samples of the buffer,
    once that holds enough. Time limits bootstrap, terminal states do not.

    Args:
      network: the action values.
      replay: the buffer; its n gives n-step targets.
      optimizer: without a learning rate, for example ``optax.scale_by_adam()``; what it
        returns is multiplied by ``settings.learning_rate`` and subtracted.
      settings: ``(theta, env_steps) -> QSettings``, so that a number may follow a schedule
        or be meta-learned.
      boltzmann: explore by ``softmax(values / temperature)`` and epsilon, not by epsilon
        alone.
      exploration: gives epsilon and temperature for each decision, in place of ``settings``.
      double: choose the next action by the values and rate it by the target network (van
        Hasselt et al. 2016).
      updates: gradient steps an adaptation.
      target_period: updates between two of the target network.
      init: ``(key) -> theta``; by default initial weights.
      start: ``(key, theta) ->`` the weights that a task starts from; by default theta.

    Source: Mnih et al. (2015). The uncorrected n-step targets are those of Hessel et al.
    (2018), "Rainbow", section 3.
    """
    choice = categorical(network.num_actions)

    def begin(key, theta):
        weights = start(key, theta)
        zero = jnp.zeros((), jnp.int32)
        visits = () if exploration is None else exploration.init()
        return QState(weights, weights, optimizer.init(weights), replay.init(), zero, zero, visits)

    def logits_of(values, now):
        if boltzmann:
            greedy = jax.nn.softmax(values / jnp.maximum(now.temperature, 1e-6))
        else:
            greedy = jax.nn.one_hot(jnp.argmax(values, -1), network.num_actions)
        probability = (1 - now.epsilon) * greedy + now.epsilon / network.num_actions
        return jnp.log(jnp.maximum(probability, _NEVER))

    def policy(theta, phi, observation, values, now):
        """Logits ``[B, A]`` of the actions at observations ``[B, O]``."""
        if exploration is not None:
            rates = exploration.rates(theta, phi.visits, phi.env_steps, observation, values)
            epsilon, temperature = (rate[:, None] for rate in rates)
            now = now._replace(epsilon=epsilon, temperature=temperature)
        return logits_of(values, now)

    def act(noise, theta, phi, memory, seen):
        observation = seen.observation[None]
        values = network.apply(phi.weights, observation)
        now = settings(theta, phi.env_steps)
        logits, values = policy(theta, phi, observation, values, now)[0], values[0]
        action = choice.sample(noise, logits)
        mode = jnp.argmax(values).astype(jnp.int32)
        return ActorOutput(action, mode, choice.log_prob(logits, action)), memory

    def next_values(weights, target, observation):
        """Value of the best action by the target network, ``[n, B]``."""
        flat = _flat(observation)
        values = network.apply(target, flat)
        chosen = network.apply(weights, flat) if double else values
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
        return jnp.mean(optax.losses.huber_loss(error, delta=now.huber_delta))

    def draw(key):
        if updates == 1:
            return replay.draw(key)
        return jax.vmap(replay.draw)(jax.random.split(key, updates))

    def adapt(draws, theta, phi, chunk):
        buffer = replay.add(phi.buffer, chunk)
        env_steps = phi.env_steps + chunk.mask.size
        now = settings(theta, env_steps)

        def update(phi, draws):
            batch = replay.sample(draws, buffer)
            # The gradient is that of the values alone; a meta-gradient sees the targets too.
            target = targets(phi.weights, phi.target, batch, now, now.mix)[0]
            gradients = jax.grad(loss)(phi.weights, target, batch, now)
            steps, state = optimizer.update(gradients, phi.optimizer_state, phi.weights)
            weights = jax.tree.map(lambda w, s: w - now.learning_rate * s, phi.weights, steps)
            count = phi.updates + 1

            def moved():
                return jax.tree.map(lambda t, w: t + now.target_rate * (w - t), phi.target, weights)

            if target_period == 1:
                target = moved()
            else:
                target = jax.lax.cond(count % target_period == 0, moved, lambda: phi.target)
            return phi._replace(
                weights=weights, target=target, optimizer_state=state, updates=count
            ), None

        def learn(learning):
            if updates == 1:
                return update(learning, draws)[0]
            return jax.lax.scan(update, learning, draws)[0]

        visits = () if exploration is None else exploration.add(phi.visits, chunk)
        learning = phi._replace(buffer=(), env_steps=(), visits=())
        learning = jax.lax.cond(replay.ready(buffer), learn, lambda kept: kept, learning)
        return learning._replace(buffer=buffer, env_steps=env_steps, visits=visits)

    def unroll(theta, phi, memory, chunk):
        del memory
        shape = chunk.mask.shape
        now = settings(theta, phi.env_steps)
        observation = _flat(chunk.observation)
        values = network.apply(phi.weights, observation)
        logits = policy(theta, phi, observation, values, now).reshape(*shape, -1)
        values = values.reshape(*shape, -1)
        target = ()
        if not isinstance(chunk.next_observation, tuple):
            # One-step targets, as a chunk says nothing of what follows its last step.
            target = jax.lax.stop_gradient(targets(phi.weights, phi.target, chunk, now, 0.0))
        return Outputs(
            distribution=logits,
            log_prob=choice.log_prob(logits, chunk.action),
            entropy=choice.entropy(logits),
            value=jnp.take_along_axis(values, chunk.action[..., None], -1)[..., 0],
            target=target,
            expected_value=jnp.sum(jnp.exp(logits) * values, axis=-1),
        )

    return Learner(
        init=network.init if init is None else init,
        begin=begin,
        memory=lambda theta: (),
        act=act,
        unroll=unroll,
        annotate=lambda theta, phi, chunk: chunk,
        adapt=adapt,
        weights=lambda phi: phi.weights,
        divergence=choice.divergence,
        noise=choice.noise,
        draw=draw,
        singly=False,
    )
