"""The learner of meta-Q-learning: a context, and replay of other tasks to fine-tune with."""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from metajax.core.family import Key, Tree
from metajax.core.types import Learner
from metajax.data.buffer import Transition
from metajax.inner.q.context import Windows, with_context
from metajax.inner.q.context_replay import ContextReplay
from metajax.inner.q.propensity import Propensity, propensity
from metajax.inner.q.q_learning import Settings, after_chunk, q_learner
from metajax.inner.q.q_update import QSettings, QState, QUpdate
from metajax.networks import ContextValues


class MetaQ(NamedTuple):
    """Theta of meta-Q-learning.

    Attributes:
      weights: Weights of the action values and the context.
      experience: Stretches of the replay of meta-training, ``[C - 1 + n, M, ...]``, whose
        ``weight`` ``[M]`` is 0 where there is none yet. Trials learn from it too. It is
        data: nothing descends it.
    """

    weights: Tree
    experience: Transition


class RecyclingNoise(NamedTuple):
    """Noise of one adaptation.

    Attributes:
      new: Noise of the samples of new experience, ``[updates, ...]``.
      old: ``[old_updates, B]``, places in theta's experience.
      compared: ``[2, B]``, noise of the new stretches to compare.
    """

    new: jax.Array
    old: jax.Array
    compared: jax.Array


def meta_q_learner(
    network: ContextValues,
    windows: Windows,
    replay: ContextReplay,
    *,
    optimizer: optax.GradientTransformation,
    settings: Settings,
    memory_size: int,
    batch_size: int,
    updates: int = 1,
    old_updates: int = 1,
    num_compared: int = 256,
    ridge: float | jax.Array = 1e-2,
    ratio_limit: float | jax.Array = 1.0,
    proximal: float | jax.Array = 1.0,
    boltzmann: bool = False,
    double: bool = True,
    target_period: int = 1,
) -> Learner:
    """A learner whose theta is ``MetaQ`` and whose phi is all of a DQN that depends on a context.

    It acts on the context from the first step. Each adaptation stores its chunk and, once there
    is enough, takes the gradient steps of ``Recycling``.

    Args:
      network, windows: Values and context, and the windows of the family.
      replay: Replay of the task's own steps.
      optimizer, settings, boltzmann, double, target_period: See ``q_learner``.
      memory_size: M, stretches of theta's experience.
      batch_size: B of a step on it.
      updates: Number of gradient steps of an adaptation on new experience.
      old_updates: Number of gradient steps of an adaptation on theta's experience.
      num_compared: Number of new stretches that density ratios are fitted on.
      ridge, ratio_limit, proximal: See ``Recycling``.

    Source: Fakoor et al. (2020), "Meta-Q-Learning", section 3.3, with DQN in the place of
    TD3: there is no policy but the values. It adapts once; here every adaptation of a
    lifetime does the same again with what there is by then.
    """
    update = QUpdate(network.values, optimizer, double, target_period)
    recycling = Recycling(network, replay, update, ridge, ratio_limit, proximal)
    base = with_context(
        q_learner(
            network.values,
            replay.replay,
            optimizer=optimizer,
            settings=settings,
            boltzmann=boltzmann,
            double=double,
            start=lambda key, theta: theta.weights,
        ),
        windows,
    )

    def init(key: Key) -> MetaQ:
        weights = network.values.init(key)
        return MetaQ(weights, drawn_experience(key, replay, replay.replay.init(), memory_size))

    def noise(key: Key) -> RecyclingNoise:
        keys = jax.random.split(key, 3)
        return RecyclingNoise(
            jax.vmap(replay.replay.noise)(jax.random.split(keys[0], updates)),
            jax.random.randint(keys[1], (old_updates, batch_size), 0, memory_size),
            jax.random.uniform(keys[2], (2, num_compared)),
        )

    def adapt(noise, theta, phi, chunk):
        def learn(learning, buffer, env_steps):
            return recycling.learn(noise, theta, learning, buffer, settings(theta, env_steps))

        return after_chunk(replay.replay, phi, chunk, learn)

    return base._replace(init=init, noise=noise, adapt=adapt)


@dataclasses.dataclass(frozen=True, eq=False)
class Recycling:
    """Gradient steps on new experience of a task, and on old experience as far as it is of use.

    1. Estimates ``beta``, how much likelier a context of theta's experience is in this task, and
       the effective sample size ESS of those weights, in [0, 1].
    2. Steps on new experience: ``mean error + (1 - ESS) / 2 |weights - theta|^2``.
    3. Steps on theta's experience: ``mean beta error`` and the same pull.

    Contexts are compared as theta's weights have them, which do not move in a trial. Where theta
    has no experience yet, ESS is 1 and the third part is left out: plain fine-tuning.

    Attributes:
      network, replay: See ``meta_q_learner``.
      update: The gradient step.
      ridge: Penalty of the fit, see ``metajax.inner.propensity``.
      ratio_limit: Largest beta in a loss; ESS is that of the unclipped ones. The limit is that
        of the authors' code.
      proximal: Factor of the pull.
    """

    network: ContextValues
    replay: ContextReplay
    update: QUpdate
    ridge: float | jax.Array = 1e-2
    ratio_limit: float | jax.Array = 1.0
    proximal: float | jax.Array = 1.0

    def compared(self, noise: jax.Array, theta: MetaQ, buffer: Tree) -> Propensity:
        """The worth of theta's experience in the task of a buffer."""
        old = self.replay.in_windows(theta.experience)
        new = self.replay.in_windows(self.replay.stretches(noise, buffer))
        return propensity(
            self.network.context(theta.weights, new.observation[0]),
            self.network.context(theta.weights, old.observation[0]),
            new.weight,
            theta.experience.weight,
            ridge=self.ridge,
        )

    def learn(
        self, noise: RecyclingNoise, theta: MetaQ, phi: QState, buffer: Tree, now: QSettings
    ) -> QState:
        """The state after all gradient steps of one adaptation."""
        found = self.compared(noise.compared, theta, buffer)
        pull = functools.partial(pulled, self.proximal * (1 - found.effective), theta.weights)
        beta = jnp.minimum(found.ratio, self.ratio_limit)

        def on_new(phi, noise):
            batch = self.replay.replay.sample(noise, buffer)
            return self.update.step(phi, batch, now, pull), None

        def on_old(phi, index):
            batch = self.replay.in_windows(columns(theta.experience, index))
            return self.update.step(phi, batch._replace(weight=beta[index]), now, pull), None

        phi, _ = jax.lax.scan(on_new, phi, noise.new)
        if not len(noise.old):
            return phi
        there = jnp.any(theta.experience.weight > 0)
        return jax.lax.cond(
            there, lambda phi: jax.lax.scan(on_old, phi, noise.old)[0], lambda phi: phi, phi
        )


def pulled(strength: float | jax.Array, centre: Tree, weights: Tree) -> Tree:
    """Gradient of ``strength / 2 |weights - centre|^2``."""
    return jax.tree.map(lambda w, c: strength * (w - c), weights, centre)


def drawn_experience(key: Key, replay: ContextReplay, buffer: Tree, memory_size: int) -> Transition:
    """``MetaQ.experience`` of a buffer, drawn uniformly; of weight 0 before it is ready."""
    noise = jax.random.uniform(key, (2, memory_size))
    stretches = replay.stretches(noise, buffer)
    weight = replay.in_windows(stretches).weight * replay.steps.ready(buffer)
    return stretches._replace(weight=weight)


def columns(stretches: Transition, index: jax.Array) -> Transition:
    """Some of M stretches, without their weights."""
    return jax.tree.map(lambda leaf: leaf[:, index], stretches._replace(weight=None))
