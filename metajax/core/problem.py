"""The inner loop of a trial: collect, annotate, adapt, again; and its exact replay."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from metajax.core.layout import divisor, one_task_at_a_time
from metajax.core.types import Chunk, Key, Learner, Source, TaskFamily, Tree, Trial
from metajax.data.rollout import even_points

Adapt = Callable[[Tree, Tree, Tree, Chunk], Tree]


def _count(chunk: Chunk) -> jax.Array:
    return jnp.sum(chunk.mask, dtype=jnp.int32)


def _adaptation_keys(key: Key, num_adaptations: int) -> Key:
    return jax.random.split(key, num_adaptations)


def _outcome(chunk: Chunk) -> tuple[jax.Array, jax.Array]:
    return chunk.reward, chunk.done


def scan_drawn(
    step: Callable[[Tree, Tree], tuple[Tree, Tree]],
    carry: Tree,
    keys: Tree,
    draw: Callable[[Tree], Tree],
    together: int,
) -> tuple[Tree, Tree]:
    """``lax.scan`` of steps whose randomness is drawn before them, a block at a time.

    A random generator inside of a loop costs more than a small policy; all randomness of a
    long loop at once more memory than the rest.

    Args:
      step: ``(carry, inputs) -> (carry, outputs)``.
      keys: leaves ``[K, ...]``, what the inputs of K steps are made from.
      draw: of one step, ``(keys) -> inputs``.
      together: most steps of a block; it does not change the result.

    Returns:
      the last carry, and outputs ``[K, ...]``.
    """
    number = len(jax.tree.leaves(keys)[0])
    block = divisor(number, together) if number else 1

    def steps(carry, keys):
        return jax.lax.scan(step, carry, jax.vmap(draw)(keys))

    blocks = jax.tree.map(lambda leaf: leaf.reshape(-1, block, *leaf.shape[1:]), keys)
    carry, outputs = jax.lax.scan(steps, carry, blocks)
    return carry, jax.tree.map(lambda leaf: leaf.reshape(number, *leaf.shape[2:]), outputs)


def run_trial(
    learner: Learner,
    source: Source,
    key: Key,
    theta: Tree,
    task: Tree,
    *,
    num_adaptations: int,
    judge: Source | None = None,
    num_points: int | None = None,
) -> Trial:
    """Runs one trial: K times (collect, annotate, adapt), then a last chunk.

    Args:
      learner: what adapts.
      source: where its chunks come from.
      key: one per trial.
      theta: the meta-parameters.
      task: the task of this trial.
      num_adaptations: K.
      judge: if given, returns are measured on chunks from this source, collected
        beside those that are adapted to.
      num_points: measurements of the judge after the first one, spread evenly over
        the adaptations; by default one after each.

    Returns:
      the ``Trial``; nothing in it carries gradients to theta (see ``replay``).
    """
    theta = jax.lax.stop_gradient(theta)
    adapt = one_task_at_a_time(learner.adapt) if learner.singly else learner.adapt
    key_open, key_begin, key_adapt, key_chunks, key_judge = jax.random.split(key, 5)
    phi = learner.begin(key_begin, theta)
    state = source.open(key_open, theta, task)
    judge_state = () if judge is None else judge.open(key_open, theta, task)
    chunk_keys = jax.random.split(key_chunks, num_adaptations + 1)
    judge_keys = jax.random.split(key_judge, num_adaptations + 1)

    def measure(judge, phi, key, index):
        def judged():
            _, chunk = judge.next(judge.draw(key, task), theta, phi, task, judge_state)
            return judge.returns(*jax.tree.map(lambda leaf: leaf[None], _outcome(chunk)))

        if num_points is None:
            return judged()
        due = jnp.any(index == even_points(num_adaptations, num_points))
        skipped = jax.tree.map(jnp.zeros_like, jax.eval_shape(judged))
        return jax.lax.cond(due, judged, lambda: skipped)

    def collect(phi, state, draws, key_judge, index):
        state, chunk = source.next(draws, theta, phi, task, state)
        annotated = learner.annotate(theta, phi, chunk)
        if judge is None:
            return state, annotated, _outcome(chunk)
        return state, annotated, measure(judge, phi, key_judge, index)

    def adaptation(carry, inputs):
        phi, state = carry
        index, draws, key_judge, adapt_draws = inputs
        state, chunk, measured = collect(phi, state, draws, key_judge, index)
        phi = adapt(adapt_draws, theta, phi, chunk)
        return (phi, state), (chunk, measured)

    def draw(inputs):
        index, key_chunk, key_judge, key_adapt = inputs
        return index, source.draw(key_chunk, task), key_judge, learner.draw(key_adapt)

    inputs = (
        jnp.arange(num_adaptations),
        chunk_keys[:-1],
        judge_keys[:-1],
        _adaptation_keys(key_adapt, num_adaptations),
    )
    (phi, state), (support, measured) = scan_drawn(
        adaptation, (phi, state), inputs, draw, source.drawn_together
    )
    last_draws = source.draw(chunk_keys[-1], task)
    state, query, last = collect(phi, state, last_draws, judge_keys[-1], num_adaptations)
    measured = jax.tree.map(
        lambda before, leaf: jnp.concatenate([before, leaf[None]]), measured, last
    )
    if judge is None:
        returns = source.returns(*measured)
    else:
        returns = measured.reshape(-1)
        if num_points is not None:
            returns = returns[even_points(num_adaptations, num_points)]
    return Trial(
        returns=returns,
        env_steps=jnp.sum(jax.vmap(_count)(support)) + _count(query),
        phi=phi,
        support=support,
        query=query,
        key=jnp.stack([key_begin, key_adapt]),
        source=state,
    )


def run_sampled(
    learner: Learner,
    source: Source,
    family: TaskFamily,
    key: Key,
    theta: Tree,
    *,
    num_adaptations: int,
) -> tuple[Trial, dict[str, jax.Array]]:
    """One trial in a task that is sampled for it, and what outer rules report of a trial."""
    key_task, key_trial = jax.random.split(key)
    task = family.sample(key_task)
    trial = run_trial(learner, source, key_trial, theta, task, num_adaptations=num_adaptations)
    return trial, {"returns": trial.returns, "env_steps": trial.env_steps}


def replay(
    learner: Learner,
    adapt: Adapt,
    theta: Tree,
    support: Chunk,
    key: Key,
    observe: Callable[[Tree, Chunk], Tree] = lambda phi, chunk: (),
) -> tuple[Tree, Tree]:
    """Repeats the adaptations of a trial as a differentiable function of theta.

    Args:
      learner: the learner of the trial.
      adapt: its ``adapt``, perhaps wrapped to say how to differentiate it.
      theta: where to evaluate; at the trial's own theta the result is its phi.
      support: ``Trial.support``, leaves ``[K, T, E, ...]``.
      key: ``Trial.key``. Exact where a generator draws the same under ``vmap`` as without,
        as all but "rbg" and "unsafe_rbg" do, or where the learner draws nothing.
      observe: ``(phi, chunk) -> output``, of each chunk before it is adapted to.

    Returns:
      phi after the K adaptations, and the outputs of ``observe``, ``[K, ...]``.
    """
    key_begin, key_adapt = key[0], key[1]
    num_adaptations = support.mask.shape[0]

    def adaptation(phi, inputs):
        draws, chunk = inputs
        return adapt(draws, theta, phi, chunk), observe(phi, chunk)

    draws = jax.vmap(learner.draw)(_adaptation_keys(key_adapt, num_adaptations))
    return jax.lax.scan(adaptation, learner.begin(key_begin, theta), (draws, support))


def exact(adapt: Adapt) -> Adapt:
    """Differentiates through the adaptation as it is: second order."""
    return adapt


def first_order(adapt: Adapt) -> Adapt:
    """Takes the Jacobian of each adaptation in phi for the identity.

    Source: first-order MAML, Finn et al. (2017), section 5.2.
    """

    def wrapped(key, theta, phi, chunk):
        adapted = adapt(key, *jax.lax.stop_gradient((theta, phi)), chunk)

        def straight_through(new, old):
            if not jnp.issubdtype(jnp.asarray(old).dtype, jnp.inexact):
                return new
            return jax.lax.stop_gradient(new) + (old - jax.lax.stop_gradient(old))

        return jax.tree.map(straight_through, adapted, phi)

    return wrapped


def rematerialized(adapt: Adapt) -> Adapt:
    """Recomputes each adaptation in the backward pass: memory flat in K."""
    return jax.checkpoint(adapt)


DERIVATIVES: dict[str, Callable[[Adapt], Adapt]] = {
    "exact": exact,
    "first-order": first_order,
    "exact-remat": rematerialized,
}
"""How to differentiate through the inner loop, by name."""
