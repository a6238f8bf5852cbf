"""The learner that adapts by Q-learning: DQN as a pure function."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from metajax.core.family import Key, Tree
from metajax.core.types import ActorInput, ActorOutput, Chunk, Learner, Outputs
from metajax.data.buffer import Replay
from metajax.inner.descent import Rule, as_rule, made
from metajax.inner.policy import memoryless
from metajax.inner.q.exploration import Exploration
from metajax.inner.q.q_update import QSettings, QState, QUpdate, flat
from metajax.networks import QNetwork, categorical, exploring
from metajax.networks.distributions import Distribution

Settings = Callable[[Tree, jax.Array], QSettings]
"""``(theta, env_steps) -> QSettings``."""


def q_learner(
    network: QNetwork,
    replay: Replay,
    *,
    optimizer: optax.GradientTransformation | Rule,
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
        its output is multiplied by ``settings.learning_rate`` and subtracted. Or a function of
        theta that gives one. Its update gets the batch as ``data``, an extra argument of optax.
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
    choice = categorical(network.num_actions)
    policy = ValuePolicy(network, choice, settings, boltzmann, exploration)
    rule = as_rule(optimizer)
    replayed = ReplayedSteps(replay, updates)

    def update(theta):
        return QUpdate(network, made(rule, theta), double, target_period)

    def begin(key, theta):
        visits = None if exploration is None else exploration.init()
        weights, zero = start(key, theta), jnp.zeros((), jnp.int32)
        memory = made(rule, theta).init(weights)
        return QState(weights, weights, memory, replay.init(), zero, zero, visits)

    def adapt(noise, theta, phi, chunk):
        def learn(learning, buffer, env_steps):
            now = settings(theta, env_steps)
            return replayed.learn(noise, update(theta), learning, buffer, now)

        after = after_chunk(replay, phi, chunk, learn)
        if exploration is None:
            return after
        return after._replace(visits=exploration.add(phi.visits, chunk))

    def predict(theta, phi, chunk):
        # One-step targets, as a chunk does not hold what follows its last step.
        now = settings(theta, phi.env_steps)
        target = update(theta).targets(phi.weights, phi.target, chunk, now, 0.0)
        return policy.outputs(theta, phi, chunk)._replace(target=jax.lax.stop_gradient(target))

    return Learner(
        init=network.init if init is None else init,
        begin=begin,
        adapt=adapt,
        predict=predict,
        weights=lambda theta, phi: phi.weights,
        actor=memoryless(policy.act, choice, records=("next_observation",)),
        noise=replayed.noise,
        singly=False,
    )


def without_target(learner: Learner) -> Learner:
    """The learner with the values themselves in the place of the target network's in predictions.

    For meta-losses: against a target network, no error is as small as that of one which never
    moves.
    """

    def predict(theta, phi, chunk):
        return learner.predict(theta, phi._replace(target=phi.weights), chunk)

    return learner._replace(predict=predict)


@dataclasses.dataclass(frozen=True, eq=False)
class ValuePolicy:
    """A policy that acts on action values.

    Attributes:
      choice: The distribution of actions.
      network, settings, boltzmann, exploration: See ``q_learner``.
    """

    network: QNetwork
    choice: Distribution
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
        observation = seen.observation[None]
        values = self.network.apply(phi.weights, observation)
        logits, values = self.logits(theta, phi, observation, values)[0], values[0]
        action = self.choice.sample(noise, logits)
        mode = jnp.argmax(values).astype(jnp.int32)
        return ActorOutput(action, mode, self.choice.log_prob(logits, action)), memory

    def outputs(self, theta: Tree, phi: QState, chunk: Chunk) -> Outputs:
        """Predictions for a chunk, without targets."""
        observation = flat(chunk.observation)
        values = self.network.apply(phi.weights, observation)
        shape = chunk.mask.shape
        logits = self.logits(theta, phi, observation, values).reshape(*shape, -1)
        values = values.reshape(*shape, -1)
        return Outputs(
            distribution=logits,
            log_prob=self.choice.log_prob(logits, chunk.action),
            entropy=self.choice.entropy(logits),
            value=jnp.take_along_axis(values, chunk.action[..., None], -1)[..., 0],
            expected_value=jnp.sum(jnp.exp(logits) * values, axis=-1),
        )


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
    number: int

    def noise(self, key: Key) -> Tree:
        """Noise of the samples of one adaptation."""
        if self.number == 1:
            return self.replay.noise(key)
        return jax.vmap(self.replay.noise)(jax.random.split(key, self.number))

    def learn(
        self, noise: Tree, update: QUpdate, phi: QState, buffer: Tree, now: QSettings
    ) -> QState:
        """The state after the steps of one adaptation."""

        def step(phi, noise):
            return update.step(phi, self.replay.sample(noise, buffer), now), None

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
