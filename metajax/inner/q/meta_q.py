"""The learner of meta-Q-learning: a context, and replay of other tasks to fine-tune with."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from metajax.core.family import Key, Tree
from metajax.core.types import Learner
from metajax.data.buffer import Transition
from metajax.inner.counting import counted
from metajax.inner.q.context import Windows, with_context
from metajax.inner.q.context_replay import ContextReplay
from metajax.inner.q.propensity import Propensity, propensity
from metajax.inner.q.q_learning import q_learner
from metajax.inner.q.q_update import QSettings, q_update
from metajax.networks import ContextValues


class MetaQ(NamedTuple):
    """Theta of meta-Q-learning.

    Attributes:
      weights: of the action values and the context.
      experience: stretches of the replay of meta-training, ``[C - 1 + n, M, ...]``, whose
        ``weight`` ``[M]`` is 0 where there is nothing yet. Trials learn from it too. It is
        data: nothing descends it.
    """

    weights: Tree
    experience: Transition


class _Draws(NamedTuple):
    new: jax.Array
    old: jax.Array
    compared: jax.Array


def meta_q_learner(
    network: ContextValues,
    windows: Windows,
    replay: ContextReplay,
    *,
    optimizer: optax.GradientTransformation,
    settings: Callable[[Tree, jax.Array], QSettings],
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
    is enough,

    1. estimates ``beta``, how much likelier a context of theta's experience is in this task, and
       the effective sample size ESS of those weights, in [0, 1];
    2. takes ``updates`` steps on new experience: ``mean error + (1 - ESS) / 2 |weights -
       theta|^2``;
    3. takes ``old_updates`` steps on theta's experience: ``mean beta error`` and the same pull.

    Contexts are compared as theta's weights have them, which do not move in a trial. Where theta
    has no experience yet, ESS is 1 and the third part is left out: plain fine-tuning.

    Args:
      network: values and context.
      windows: of the family.
      replay: of the task's own steps.
      optimizer, settings, boltzmann, double, target_period: see ``q_learner``.
      memory_size: M, stretches of theta's experience.
      batch_size: B of a step on it.
      updates, old_updates: see above.
      num_compared: new stretches that beta is fitted on.
      ridge: of the fit, see ``metajax.inner.q.propensity``.
      ratio_limit: the largest beta in a loss; ESS is that of the unclipped ones.
      proximal: multiplies the pull.

    Source: Fakoor et al. (2020), "Meta-Q-Learning", section 3.3, with DQN in the place of
    TD3: there is no policy but the values. It adapts once; here every adaptation of a
    lifetime does the same again with what there is by then. The limit of beta is that of
    the authors' code.
    """
    update = q_update(network.values, optimizer, double=double, target_period=target_period)
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

    def draw(key):
        keys = jax.random.split(key, 3)
        return _Draws(
            jax.vmap(replay.replay.draw)(jax.random.split(keys[0], updates)),
            jax.random.randint(keys[1], (old_updates, batch_size), 0, memory_size),
            jax.random.uniform(keys[2], (2, num_compared)),
        )

    def compared(draws, theta, buffer) -> Propensity:
        old = replay.windows(theta.experience)
        new = replay.windows(replay.stretches(draws.compared, buffer))
        return propensity(
            network.context(theta.weights, new.observation[0]),
            network.context(theta.weights, old.observation[0]),
            new.weight,
            theta.experience.weight,
            ridge=ridge,
        )

    def adapt(draws, theta, phi, chunk):
        buffer = replay.replay.add(phi.buffer, chunk)
        env_steps = counted(phi.env_steps, chunk)
        now = settings(theta, env_steps)

        def learn(learning):
            found = compared(draws, theta, buffer)
            strength = proximal * (1 - found.effective)
            beta = jnp.minimum(found.ratio, ratio_limit)

            def pull(weights):
                return jax.tree.map(lambda w, t: strength * (w - t), weights, theta.weights)

            def on_new(learning, draws):
                return update.step(learning, replay.replay.sample(draws, buffer), now, pull), None

            def on_old(learning, index):
                batch = replay.windows(_columns(theta.experience, index))
                weighted = batch._replace(weight=beta[index])
                return update.step(learning, weighted, now, pull), None

            def on_all_old(learning):
                return jax.lax.scan(on_old, learning, draws.old)[0]

            learning, _ = jax.lax.scan(on_new, learning, draws.new)
            if not old_updates:
                return learning
            there = jnp.any(theta.experience.weight > 0)
            return jax.lax.cond(there, on_all_old, lambda kept: kept, learning)

        learning = phi._replace(buffer=(), env_steps=())
        learning = jax.lax.cond(replay.replay.ready(buffer), learn, lambda kept: kept, learning)
        return learning._replace(buffer=buffer, env_steps=env_steps)

    return base._replace(init=init, draw=draw, adapt=adapt)


def drawn_experience(key: Key, replay: ContextReplay, buffer: Tree, memory_size: int) -> Transition:
    """``MetaQ.experience`` of a buffer, drawn uniformly; of weight 0 before it is ready."""
    draws = jax.random.uniform(key, (2, memory_size))
    stretches = replay.stretches(draws, buffer)
    weight = replay.windows(stretches).weight * replay.replay.ready(buffer)
    return stretches._replace(weight=weight)


def _columns(stretches: Transition, index: jax.Array) -> Transition:
    """Some of M stretches, without their weights."""
    kept = stretches._replace(weight=())
    return jax.tree.map(lambda leaf: leaf[:, index], kept)
