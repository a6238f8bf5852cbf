"""The learner that adapts by Q-learning: DQN as a pure function."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from metajax.core.family import Key, Tree
from metajax.core.types import Actor, ActorInput, ActorOutput, Chunk, Learner, Outputs
from metajax.data.buffer import Replay
from metajax.inner.policy import memoryless
from metajax.inner.q.exploration import Exploration
from metajax.inner.q.q_update import QSettings, QState, QUpdate, flat
from metajax.networks import QNetwork, categorical, exploring

Settings = Callable[[Tree, jax.Array], QSettings]
"""``(theta, env_steps) -> QSettings``."""


def q_learner(
    network: QNetwork,
    replay: Replay,
    *,
    optimizer: optax.GradientTransformation,
    settings: Settings,
    boltzmann: bool = False,
    exploration: Exploration | None = None,
    double: bool = True,
    updates: int = 1,
    target_period: int = 1,
    init: Callable[[Key], Tree] | None = None,
    start: Callable[[Key, Tree], Tree] = lambda key, theta: theta,
) -> Learner:
    """A learner whose phi is all of a DQN: values, target, optimiser and replay.

    Each adaptation stores its chunk and takes gradient steps on samples of the buffer, once
    there is enough in it. Time limits bootstrap, terminal states do not.

    Args:
      network: The action values.
      replay: The buffer; its n gives n-step targets.
      optimizer: An optimiser without a learning rate, for example ``optax.scale_by_adam()``;
        its output is multiplied by ``settings.learning_rate`` and subtracted.
      settings: ``(theta, env_steps) -> QSettings``, so that a number may follow a schedule
        or be meta-learned.
      boltzmann: Explore by ``softmax(values / temperature)`` and epsilon. Default: by epsilon
        alone.
      exploration: Epsilon and temperature of each decision, in place of those of ``settings``.
      double: Choose the next action by the values and rate it by the target network (van
        Hasselt et al. 2016).
      updates: Number of gradient steps in an adaptation.
      target_period: Number of gradient steps between two updates of the target network.
      init: ``(key) -> theta``. Default: initial weights.
      start: ``(key, theta) -> weights`` at the start of a task. Default: theta.

    Source: Mnih et al. (2015). The uncorrected n-step targets are those of Hessel et al.
    (2018), "Rainbow", section 3.
    """
    policy = ValuePolicy(network, settings, boltzmann, exploration)
    update = QUpdate(network, optimizer, double, target_period)
    replayed = ReplayedSteps(replay, update, updates)

    def begin(key, theta):
        visits = None if exploration is None else exploration.init()
        weights, zero = start(key, theta), jnp.zeros((), jnp.int32)
        return QState(weights, weights, optimizer.init(weights), replay.init(), zero, zero, visits)

    def adapt(noise, theta, phi, chunk):
        def learn(learning, buffer, env_steps):
            return replayed.learn(noise, learning, buffer, settings(theta, env_steps))

        after = after_chunk(replay, phi, chunk, learn)
        if exploration is None:
            return after
        return after._replace(visits=exploration.add(phi.visits, chunk))

    def predict(theta, phi, chunk):
        # One-step targets, as a chunk does not hold what follows its last step.
        now = settings(theta, phi.env_steps)
        target = update.targets(phi.weights, phi.target, chunk, now, 0.0)
        return policy.outputs(theta, phi, chunk)._replace(target=jax.lax.stop_gradient(target))

    return Learner(
        init=network.init if init is None else init,
        begin=begin,
        adapt=adapt,
        predict=predict,
        weights=lambda theta, phi: phi.weights,
        actor=policy.actor(),
        noise=replayed.noise,
        singly=False,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class ValuePolicy:
    """A policy that acts on action values.

    Attributes:
      network, settings, boltzmann, exploration: See ``q_learner``.
    """

    network: QNetwork
    settings: Settings
    boltzmann: bool = False
    exploration: Exploration | None = None

    def logits(
        self, theta: Tree, phi: QState, observation: jax.Array, values: jax.Array
    ) -> jax.Array:
        """Logits ``[B, A]`` at observations ``[B, O]`` with action values ``[B, A]``."""
        now = self.settings(theta, phi.env_steps)
        if self.exploration is not None:
            rates = self.exploration.rates(theta, phi.visits, phi.env_steps, observation, values)
            epsilon, temperature = (rate[:, None] for rate in rates)
            now = now._replace(epsilon=epsilon, temperature=temperature)
        return exploring_logits(values, now, self.boltzmann)

    def act(
        self, noise: Tree, theta: Tree, phi: QState, memory: Tree, seen: ActorInput
    ) -> tuple[ActorOutput, Tree]:
        """One decision of one stream."""
        choice = categorical(self.network.num_actions)
        observation = seen.observation[None]
        values = self.network.apply(phi.weights, observation)
        logits, values = self.logits(theta, phi, observation, values)[0], values[0]
        action = choice.sample(noise, logits)
        mode = jnp.argmax(values).astype(jnp.int32)
        return ActorOutput(action, mode, choice.log_prob(logits, action)), memory

    def outputs(self, theta: Tree, phi: QState, chunk: Chunk) -> Outputs:
        """Predictions for a chunk, without targets."""
        choice = categorical(self.network.num_actions)
        observation = flat(chunk.observation)
        values = self.network.apply(phi.weights, observation)
        shape = chunk.mask.shape
        logits = self.logits(theta, phi, observation, values).reshape(*shape, -1)
        values = values.reshape(*shape, -1)
        return Outputs(
            distribution=logits,
            log_prob=choice.log_prob(logits, chunk.action),
            entropy=choice.entropy(logits),
            value=jnp.take_along_axis(values, chunk.action[..., None], -1)[..., 0],
            expected_value=jnp.sum(jnp.exp(logits) * values, axis=-1),
        )

    def actor(self) -> Actor:
        """The actor, which records the observation that each step led to."""
        choice = categorical(self.network.num_actions)
        return memoryless(self.act, choice, records=("next_observation",))


def exploring_logits(values: jax.Array, now: QSettings, boltzmann: bool) -> jax.Array:
    """Logits ``[B, A]`` of a policy that explores around action values ``[B, A]``.

    Args:
      values, boltzmann: The action values; see ``q_learner``.
      now: Epsilon and temperature, scalars or ``[B, 1]``.
    """
    if boltzmann:
        greedy = jax.nn.softmax(values / jnp.maximum(now.temperature, 1e-6))
    else:
        greedy = jax.nn.one_hot(jnp.argmax(values, -1), values.shape[-1])
    return exploring(greedy, now.epsilon)


@dataclasses.dataclass(frozen=True, eq=False)
class ReplayedSteps:
    """Gradient steps on samples of a buffer, ``number`` of them in an adaptation."""

    replay: Replay
    update: QUpdate
    number: int

    def noise(self, key: Key) -> Tree:
        """Noise of the samples of one adaptation."""
        if self.number == 1:
            return self.replay.noise(key)
        return jax.vmap(self.replay.noise)(jax.random.split(key, self.number))

    def learn(self, noise: Tree, phi: QState, buffer: Tree, now: QSettings) -> QState:
        """The state after the steps of one adaptation."""

        def step(phi, noise):
            return self.update.step(phi, self.replay.sample(noise, buffer), now), None

        if self.number == 1:
            return step(phi, noise)[0]
        return jax.lax.scan(step, phi, noise)[0]


def after_chunk(
    replay: Replay, phi: QState, chunk: Chunk, learn: Callable[[QState, Tree, jax.Array], QState]
) -> QState:
    """The state once a chunk is stored and, if there is enough to learn from, learned from.

    Args:
      replay, phi, chunk: Replay of phi's buffer, the state before, and the new experience.
      learn: ``(phi, buffer, env_steps) -> phi``: gradient steps on a phi without buffer and
        counts, which no branch then has to copy.
    """
    buffer = replay.add(phi.buffer, chunk)
    env_steps = counted(phi.env_steps, chunk)
    learned = jax.lax.cond(
        replay.ready(buffer),
        lambda learning: learn(learning, buffer, env_steps),
        lambda learning: learning,
        phi._replace(buffer=None, env_steps=None, visits=None),
    )
    return learned._replace(buffer=buffer, env_steps=env_steps, visits=phi.visits)


def counted(env_steps: jax.Array, chunk: Chunk) -> jax.Array:
    """Transitions once a chunk is added, or about as many as an integer holds.

    Schedules depend on the count and would begin anew if it wrapped around.
    """
    size = chunk.mask.size
    return jnp.minimum(env_steps, jnp.iinfo(env_steps.dtype).max - size) + size
