"""The learner that adapts by Q-learning: DQN as a pure function."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from metajax.core.family import Key, Tree
from metajax.core.types import ActorOutput, Learner, Outputs
from metajax.data.buffer import Replay
from metajax.inner.counting import counted
from metajax.inner.q.exploration import Exploration
from metajax.inner.q.q_update import QSettings, QState, flat, q_update
from metajax.networks import QNetwork, categorical, exploring


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
    errors = q_update(network, optimizer, double=double, target_period=target_period)

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
        return exploring(greedy, now.epsilon)

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

    def draw(key):
        if updates == 1:
            return replay.draw(key)
        return jax.vmap(replay.draw)(jax.random.split(key, updates))

    def adapt(draws, theta, phi, chunk):
        buffer = replay.add(phi.buffer, chunk)
        env_steps = counted(phi.env_steps, chunk)
        now = settings(theta, env_steps)

        def update(learning, draws):
            return errors.step(learning, replay.sample(draws, buffer), now), None

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
        observation = flat(chunk.observation)
        values = network.apply(phi.weights, observation)
        logits = policy(theta, phi, observation, values, now).reshape(*shape, -1)
        values = values.reshape(*shape, -1)
        target = ()
        if not isinstance(chunk.next_observation, tuple):
            # One-step targets, as a chunk says nothing of what follows its last step.
            target = jax.lax.stop_gradient(errors.targets(phi.weights, phi.target, chunk, now, 0.0))
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
