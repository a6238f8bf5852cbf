"""Online meta-gradients: through a short window of lifetimes that go on."""

import functools

import jax
import jax.numpy as jnp

from metajax.core.algorithm import Estimator, Info
from metajax.core.family import Tree
from metajax.core.layout import Layout
from metajax.core.options import OptionError
from metajax.core.problem import Problem
from metajax.core.replay import DERIVATIVES, adaptations
from metajax.core.types import AdaptFn, Learner, Loss
from metajax.outer.gradient.lifetimes import judged
from metajax.outer.gradient.reach import reads
from metajax.outer.gradient.windows import Window, of_windows


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
    step_loss: Loss | None = None,
) -> Estimator:
    """The gradient of the loss after ``window`` adaptations, in N lifetimes that go on.

    ``d/dtheta loss(phi_W(theta))`` with phi_0 a constant: the influence of theta on a lifetime
    before the window is left out. The loss is that of the next chunk, the query. Lifetimes,
    carry and ``info`` are those of ``of_windows``; ``info`` has the ``loss``.

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
      step_loss: Loss whose mean over all ``window + 1`` chunks, each before it is adapted to, is
        added: regularisers of what the learner does on its way.

    Source: Xu et al. (2018), "Meta-gradient reinforcement learning", whose window is one
    update long: of earlier ones they accumulate a trace, which they leave out in practice.

    Raises:
      OptionError: when traced, for a theta that is read at the start of a lifetime alone.
    """
    learner, adapt = problem.learner, DERIVATIVES[derivative](problem.learner.adapt)
    meta_loss = functools.partial(
        window_loss, learner, judge or learner, adapt, loss, behaviour_loss, every_step, step_loss
    )

    def checked(theta, item):
        _check_read(learner, judge or learner, derivative, theta, item)
        return meta_loss(theta, item)

    return of_windows(problem, layout, window, checked)


def _check_read(
    learner: Learner, judge: Learner, derivative: str, theta: Tree, item: Window
) -> None:
    def in_the_window(theta):
        predicted = judge.predict(theta, item.phi, item.query)
        if derivative == "first-order":
            return predicted
        noise = learner.noise(item.keys[-1])
        return predicted, learner.adapt(noise, theta, item.phi, item.query)

    if not reads(in_the_window, theta):
        raise OptionError(
            "learner",
            "leaves no gradient in a window, as it reads theta at the start of a lifetime alone; "
            "allowed: one whose predictions read theta, or whose adaptations do, which "
            'derivative "first-order" takes for constants',
        )


def window_loss(
    learner: Learner,
    judge: Learner,
    adapt: AdaptFn,
    loss: Loss,
    behaviour_loss: Loss | None,
    every_step: bool,
    step_loss: Loss | None,
    theta: Tree,
    item: Window,
) -> tuple[jax.Array, Info]:
    """The meta-loss of one window; arguments as ``truncated`` takes them."""

    def acted(phi, chunk):
        if behaviour_loss is not None:
            return judge.predict(theta, jax.lax.stop_gradient(phi), chunk)
        return None

    def stepped(phi, chunk):
        if step_loss is None:
            return jnp.zeros(())
        return step_loss(learner.predict(theta, phi, chunk), chunk)

    def observed(phi, chunk):
        value = judged(judge, loss, theta, phi, chunk) if every_step else None
        return acted(phi, chunk), value, stepped(phi, chunk)

    phi, (before, earlier, on_the_way) = adaptations(
        learner, theta, item.phi, item.support, item.keys[:-1], adapt=adapt, observe=observed
    )
    value = judged(judge, loss, theta, phi, item.query)
    if every_step:
        value = jnp.mean(jnp.append(earlier, value))
    total = value
    if step_loss is not None:
        total = total + jnp.mean(jnp.append(on_the_way, stepped(phi, item.query)))
    if behaviour_loss is not None:
        outputs = joined(before, acted(phi, item.query))
        total = total + behaviour_loss(outputs, joined(item.support, item.query))
    return total, {"loss": value}


def joined(support: Tree, query: Tree) -> Tree:
    """Leaves ``[W, T, ...]`` and ``[T, ...]`` as ``[(W + 1) T, ...]``."""

    def join(chunks, last):
        return jnp.concatenate([chunks, last[None]]).reshape(-1, *last.shape[1:])

    return jax.tree.map(join, support, query)
