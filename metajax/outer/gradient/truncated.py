"""Online meta-gradients: through a short window of lifetimes that go on."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from metajax.core.algorithm import Estimator, Info
from metajax.core.family import Key, Tree
from metajax.core.layout import Layout, sum_rows, total_of
from metajax.core.options import OptionError
from metajax.core.problem import Noise, Problem
from metajax.core.replay import DERIVATIVES, replay
from metajax.core.types import AdaptFn, Learner, Loss
from metajax.outer.gradient.lifetimes import (
    Lifetime,
    born,
    judged,
    of_all_ages,
    of_lifetimes,
    renewed,
)
from metajax.outer.gradient.reach import reads


class Window(NamedTuple):
    """A collected piece of a lifetime, as its meta-gradient needs it.

    Attributes:
      phi: State at its start.
      support: Chunks that were adapted to, leaves ``[window, T, E, ...]``.
      query: The chunk after them, leaves ``[T, E, ...]``.
      key: Randomness of the adaptations.
    """

    phi: Tree
    support: Tree
    query: Tree
    key: Key


def truncated(
    problem: Problem,
    layout: Layout,
    loss: Loss,
    *,
    window: int,
    judge: Learner | None = None,
    behaviour_loss: Loss | None = None,
    derivative: str = "exact",
    every_step: bool = False,
) -> Estimator:
    """The gradient of the loss after ``window`` adaptations, in N lifetimes that go on.

    ``d/dtheta loss(phi_W(theta))`` with phi_0 a constant: the influence of theta on a lifetime
    before the window is left out. The loss is that of the next chunk, the query, which is
    adapted to as well afterwards, so that no experience is lost: a meta-step makes a lifetime
    ``window + 1`` adaptations older. A lifetime of full length gives way to a new one
    in a new task. At the start ages are spread evenly over a lifetime, with a random offset, so
    that lifetimes do not end together; the first ones are as much shorter.

    The carry is the ``Lifetime`` of each task. ``info`` has ``returns`` (``[1]``, mean over
    tasks of the score after the window), ``env_steps`` and ``loss``.

    Args:
      problem: A lifetime, whose ``num_adaptations`` is its length. Its theta need not be weights.
      layout: Blocks and devices of the tasks.
      loss: Loss of the adapted learner on the query chunk.
      window: Number of adaptations to differentiate through.
      judge: A learner with the same phi that annotates and predicts for the losses, say with
        a fixed discount. Default: the learner itself.
      behaviour_loss: Loss of all ``window + 1`` chunks as one, ``[(window + 1) T, E]``, with no
        gradient through phi: a score-function loss of settings that act on the experience
        alone, such as epsilon.
      derivative: One of ``metajax.core.replay.DERIVATIVES``; "first-order" gives no gradient
        to settings of the adaptation.
      every_step: Use the mean loss of all ``window + 1`` chunks, each before it is adapted to,
        instead of the query alone: what a learned optimiser descends on its way.

    Source: Xu et al. (2018), "Meta-gradient reinforcement learning", whose window is one
    update long: of earlier ones they accumulate a trace, which they leave out in practice.

    Raises:
      OptionError: when traced, for a theta that is read at the start of a lifetime alone.
    """
    learner, adapt = problem.learner, DERIVATIVES[derivative](problem.learner.adapt)
    meta_loss = functools.partial(
        window_loss, learner, judge or learner, adapt, loss, behaviour_loss, every_step
    )

    def block_sum(theta, block):
        keys, lives = block
        keys_live, keys_query, keys_born = jnp.moveaxis(
            jax.vmap(lambda key: jax.random.split(key, 3))(keys), 1, 0
        )
        collect = functools.partial(live, problem, window)
        older, items, info = jax.vmap(collect, (0, 0, None, 0))(keys_live, keys_query, theta, lives)
        ended = older.age >= problem.num_adaptations
        after = renewed(ended, lambda key: born(problem, key, theta), keys_born, older)

        def of_task(item):
            _check_read(learner, judge or learner, derivative, theta, item)
            (_, loss_info), gradients = jax.value_and_grad(meta_loss, has_aux=True)(theta, item)
            return gradients, loss_info

        gradients, loss_info = total_of(of_task, items, layout.gradient_microbatch)
        return (gradients, {**sum_rows(info), **loss_info}), after

    def init(key, theta):
        return of_all_ages(problem, layout, window + 1, key, theta)

    return of_lifetimes(layout, init, block_sum)


def _check_read(
    learner: Learner, judge: Learner, derivative: str, theta: Tree, item: Window
) -> None:
    def in_the_window(theta):
        predicted = judge.predict(theta, item.phi, item.query)
        if derivative == "first-order":
            return predicted
        return predicted, learner.adapt(learner.noise(item.key), theta, item.phi, item.query)

    if not reads(in_the_window, theta):
        raise OptionError(
            "learner",
            "leaves no gradient in a window, as it reads theta at the start of a lifetime alone; "
            "allowed: one whose predictions read theta, or whose adaptations do, which "
            'derivative "first-order" takes for constants',
        )


def live(
    problem: Problem, window: int, key: Key, key_query: Key, theta: Tree, lifetime: Lifetime
) -> tuple[Lifetime, Window, Info]:
    """One window: the lifetime after it, the data of the gradient, and the log."""
    _, _, key_adapt, key_chunks = jax.random.split(key, 4)
    adapt_keys = jnp.append(jax.random.split(key_adapt, window), key_query)
    keys = Noise(jax.random.split(key_chunks, window + 1), adapt_keys)
    after, chunks, measured = problem.proceed(keys, theta, lifetime.life)
    support = jax.tree.map(lambda leaf: leaf[:-1], chunks)
    query = jax.tree.map(lambda leaf: leaf[-1], chunks)
    item = Window(lifetime.life.phi, support, query, key_adapt)
    info = {"returns": measured.score[-1:], "env_steps": jnp.sum(measured.steps, dtype=jnp.int32)}
    return Lifetime(after, lifetime.age + window + 1), item, info


def window_loss(
    learner: Learner,
    judge: Learner,
    adapt: AdaptFn,
    loss: Loss,
    behaviour_loss: Loss | None,
    every_step: bool,
    theta: Tree,
    item: Window,
) -> tuple[jax.Array, Info]:
    """The meta-loss of one window; arguments as ``truncated`` takes them."""

    def acted(phi, chunk):
        if behaviour_loss is not None:
            return judge.predict(theta, jax.lax.stop_gradient(phi), chunk)
        return None

    def observed(phi, chunk):
        return acted(phi, chunk), judged(judge, loss, theta, phi, chunk) if every_step else None

    phi, (before, earlier) = replay(
        learner, theta, item.phi, item.support, item.key, adapt=adapt, observe=observed
    )
    value = judged(judge, loss, theta, phi, item.query)
    if every_step:
        value = jnp.mean(jnp.append(earlier, value))
    total = value
    if behaviour_loss is not None:
        outputs = joined(before, acted(phi, item.query))
        total = total + behaviour_loss(outputs, joined(item.support, item.query))
    return total, {"loss": value}


def joined(support: Tree, query: Tree) -> Tree:
    """Leaves ``[W, T, ...]`` and ``[T, ...]`` as ``[(W + 1) T, ...]``."""

    def join(chunks, last):
        return jnp.concatenate([chunks, last[None]]).reshape(-1, *last.shape[1:])

    return jax.tree.map(join, support, query)
