"""Online meta-gradients: through a short window of lifetimes that go on."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from metajax.core import layout as batch
from metajax.core.problem import DERIVATIVES, replay, run_trial
from metajax.core.types import Chunk, Estimator, Key, Learner, Outputs, Source, TaskFamily, Tree
from metajax.data.rollout import StreamReturns
from metajax.outer.once import finish_info

Loss = Callable[[Outputs, Chunk], jax.Array]


class Lifetime(NamedTuple):
    """A lifetime between two meta-steps.

    Attributes:
      task: that it is spent in.
      phi: all of the learner's state.
      source: where its streams are.
      earned: what they have earned, for the log.
      age: int32, adaptations so far.
    """

    task: Tree
    phi: Tree
    source: Tree
    earned: StreamReturns
    age: jax.Array


class Window(NamedTuple):
    """A collected piece of a lifetime, as its meta-gradient needs it.

    Attributes:
      phi: at its start.
      support: chunks that were adapted to, leaves ``[window, T, E, ...]``.
      query: the chunk after them, leaves ``[T, E, ...]``.
      key: replays the adaptations.
    """

    phi: Tree
    support: Chunk
    query: Chunk
    key: Key


def truncated(
    learner: Learner,
    source: Source,
    family: TaskFamily,
    tasks: batch.TaskMap,
    *,
    num_adaptations: int,
    window: int,
    loss: Loss,
    judge: Learner | None = None,
    behaviour_loss: Loss | None = None,
    derivative: str = "exact",
) -> Estimator:
    """The gradient of the loss after ``window`` adaptations, in N lifetimes that go on.

    ``d/dtheta loss(phi_W(theta))`` with phi_0 a constant: what theta did to a lifetime before
    the window is left out. The loss is that of the next chunk, the query. That is adapted to
    as well afterwards, so that no experience is lost: a meta-step makes a lifetime
    ``window + 1`` adaptations older. One that has reached its length gives way to a new one
    in a new task. At the start ages are spread evenly over a lifetime, with a random offset, so
    that lifetimes do not end together; the first ones are as much shorter.

    The carry is the ``Lifetime`` of each task. ``info`` has ``returns`` (``[1]``, mean over
    tasks and streams of the return of the episode that ended last), ``env_steps`` and
    ``loss``.

    Args:
      learner: what adapts. Its theta need not be weights.
      source: of a lifetime (``metajax.data.rollout.lifetime``).
      family: where tasks come from.
      tasks: layout over blocks and devices.
      num_adaptations: of a lifetime; it ends at the first meta-step that reaches them.
      window: adaptations that are differentiated through.
      loss: of the adapted learner on the query chunk.
      judge: a learner with the same phi that annotates and unrolls for the losses, say with
        a fixed discount; the learner itself by default.
      behaviour_loss: of all ``window + 1`` chunks as one, ``[(window + 1) T, E]``, with no
        gradient through phi: a score-function loss of settings that act on the experience
        alone, such as epsilon.
      derivative: one of ``metajax.core.problem.DERIVATIVES``; "first-order" gives no gradient to
        settings of the adaptation.

    Source: Xu et al. (2018), "Meta-gradient reinforcement learning", whose window is one
    update long: of earlier ones they accumulate a trace, which they leave out in practice.
    """
    judge = learner if judge is None else judge
    adapt = DERIVATIVES[derivative](learner.adapt)
    adapt_once = batch.one_task_at_a_time(learner.adapt) if learner.singly else learner.adapt

    def born(key, theta):
        key_task, key_begin, key_open, key_chunk = jax.random.split(key, 4)
        task = family.sample(key_task)
        phi, state = learner.begin(key_begin, theta), source.open(key_open, theta, task)
        _, chunk = jax.eval_shape(
            source.next, source.draw(key_chunk, task), theta, phi, task, state
        )
        earned = StreamReturns.none(chunk.mask.shape[1])
        return Lifetime(task, phi, state, earned, jnp.zeros((), jnp.int32))

    def live(key_trial, key_query, theta, life):
        """One window: the lifetime after it, what the gradient needs, and the log."""
        trial = run_trial(
            _at(learner, life.phi),
            source._replace(open=lambda key, theta, task: life.source),
            key_trial,
            theta,
            life.task,
            num_adaptations=window,
        )
        chunks = _joined(trial.support, trial.query)
        earned, _ = life.earned.after(chunks.reward, chunks.done)
        older = Lifetime(
            life.task,
            adapt_once(learner.draw(key_query), theta, trial.phi, trial.query),
            trial.source,
            earned,
            life.age + window + 1,
        )
        info = {"returns": jnp.mean(earned.latest)[None], "env_steps": trial.env_steps}
        return older, Window(life.phi, trial.support, trial.query, trial.key), info

    def renewed(keys, theta, lives):
        """Lifetimes of a block, those that have reached their length being new ones."""
        ended = lives.age >= num_adaptations

        def renew():
            def either(key, ended, life):
                choose = functools.partial(jnp.where, ended)
                return jax.tree.map(choose, born(key, theta), life)

            return jax.vmap(either)(keys, ended, lives)

        # A branch of the whole block: lifetimes end rarely, and their buffers are large.
        return jax.lax.cond(jnp.any(ended), renew, lambda: lives)

    def unroll(theta, phi, chunk):
        return judge.unroll(theta, phi, judge.memory(theta), chunk)

    def meta_loss(theta, item):
        def acted(phi, chunk):
            return (
                () if behaviour_loss is None else unroll(theta, jax.lax.stop_gradient(phi), chunk)
            )

        start = _at(learner, item.phi)
        phi, before = replay(start, adapt, theta, item.support, item.key, acted)
        query = jax.lax.stop_gradient(judge.annotate(theta, phi, item.query))
        value = loss(unroll(theta, phi, query), query)
        total = value
        if behaviour_loss is not None:
            outputs = _joined(before, acted(phi, item.query))
            total = total + behaviour_loss(outputs, _joined(item.support, item.query))
        return total, {"loss": value}

    def block_sum(theta, block):
        keys, lives = block
        keys_trial, keys_query, keys_born = jnp.moveaxis(
            jax.vmap(lambda key: jax.random.split(key, 3))(keys), 1, 0
        )
        older, items, info = jax.vmap(live, (0, 0, None, 0))(keys_trial, keys_query, theta, lives)
        after = renewed(keys_born, theta, older)

        def of_task(item):
            (_, loss_info), gradients = jax.value_and_grad(meta_loss, has_aux=True)(theta, item)
            return gradients, loss_info

        gradients, loss_info = batch.total_of(of_task, items, tasks.gradient_microbatch)
        return (gradients, {**batch.sum_rows(info), **loss_info}), after

    def init(key, theta):
        key_offset, key_born = jax.random.split(key)
        keys = jax.random.split(key_born, tasks.num_tasks)
        lives = tasks.collect(lambda theta, key: born(key, theta), theta, keys)
        steps = max(1, num_adaptations // (window + 1))
        place = jnp.arange(tasks.num_tasks) + jax.random.uniform(key_offset)
        age = jnp.minimum(place / tasks.num_tasks * steps, steps - 1).astype(jnp.int32)
        return lives._replace(age=age * (window + 1))

    def estimate(key, theta, carry):
        keys = jax.random.split(key, tasks.num_tasks)
        (gradients, info), carry = tasks.mean_and_rows(block_sum, theta, (keys, carry))
        return gradients, carry, finish_info(info, tasks.num_tasks)

    return Estimator(init, estimate)


def _at(learner: Learner, phi: Tree) -> Learner:
    """The learner at the point of its lifetime where its state is ``phi``."""
    return learner._replace(begin=lambda key, theta: phi)


def _joined(support: Tree, query: Tree) -> Tree:
    """Leaves ``[W, T, E, ...]`` and ``[T, E, ...]`` as ``[(W + 1) T, E, ...]``."""

    def join(chunks, last):
        if last.ndim < 2:
            return last
        return jnp.concatenate([chunks, last[None]]).reshape(-1, *last.shape[1:])

    return jax.tree.map(join, support, query)
