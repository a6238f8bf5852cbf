"""Multi-task training: one learner on the experience of many tasks at a time."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from metajax.core.problem import scan_drawn
from metajax.core.types import Key, Learner, Outer, Source, TaskFamily, Tree


def multi_task(
    learner: Learner,
    source: Source,
    family: TaskFamily,
    *,
    num_tasks: int,
    num_adaptations: int,
    begin: Callable[[Tree], Tree],
    theta_of: Callable[[Key, Tree], Tree],
    weights_of: Callable[[Tree], Tree],
) -> Outer:
    """Trains one learner in N tasks side by side; each meta-iteration is a trial in new ones.

    There is one phi for all tasks. An adaptation gets what all of them have met since the last
    one, as a chunk whose streams are the tasks' streams, so that its loss is a mean over
    tasks. The carry is phi: the learner's replay, target network and optimiser go on from one
    meta-iteration to the next, and so experience is learned from off-policy long after its
    tasks are gone. ``info`` has ``returns`` as ``source`` measures a trial (mean over tasks) and
    ``env_steps``. All of it runs on one device.

    Args:
      learner: of N E streams, which needs no annotation: chunks go to ``adapt`` as they are.
      source: of a task's E streams (``metajax.data.rollout.lifetime``).
      family: where tasks come from.
      num_tasks: N.
      num_adaptations: of a meta-iteration, which is a whole trial in each of its tasks.
      begin: ``(phi) -> phi`` in which a new trial begins in every stream.
      theta_of: ``(key, phi) ->`` theta, at the end of a meta-iteration.
      weights_of: ``(theta) ->`` what the learner takes for theta: its initial weights.

    Source: the multi-task objective of Fakoor et al. (2020), "Meta-Q-Learning", section 3.1.
    """

    def init(key: Key, theta: Tree) -> Tree:
        return learner.begin(key, weights_of(theta))

    def update(key, theta, carry):
        def adaptation(carry, draws):
            phi, states = carry
            at_all = jax.vmap(source.next, (0, None, None, 0, 0))
            states, chunks = at_all(draws[0], start, phi, tasks, states)
            phi = learner.adapt(draws[1], start, phi, _merged(chunks))
            outcome = chunks.reward, chunks.done
            return (phi, states), (outcome, jnp.sum(chunks.mask, dtype=jnp.int32))

        def draw(keys):
            of_tasks = jax.vmap(source.draw)(jax.random.split(keys[0], num_tasks), tasks)
            return of_tasks, learner.draw(keys[1])

        start = weights_of(theta)
        keys = jax.random.split(key, 5)
        tasks = jax.vmap(family.sample)(jax.random.split(keys[0], num_tasks))
        states = jax.vmap(source.open, (0, None, 0))(
            jax.random.split(keys[1], num_tasks), start, tasks
        )
        (phi, _), (outcome, counts) = scan_drawn(
            adaptation,
            (begin(carry), states),
            tuple(jax.random.split(one, num_adaptations) for one in keys[2:4]),
            draw,
            max(1, source.drawn_together // num_tasks),
        )
        returns = jax.vmap(source.returns, 1)(*outcome)
        info = {"returns": jnp.mean(returns, axis=0), "env_steps": jnp.sum(counts, dtype=float)}
        return theta_of(keys[4], phi), phi, info

    return Outer(init, update)


def _merged(chunks: Tree) -> Tree:
    """Chunks of N tasks ``[N, T, E, ...]`` as one of N E streams ``[T, N E, ...]``."""

    def merge(leaf):
        if leaf.ndim < 3:
            return leaf
        leaf = jnp.swapaxes(leaf, 0, 1)
        return leaf.reshape(leaf.shape[0], -1, *leaf.shape[3:])

    # The last observation has no time axis, and nobody needs it here.
    return jax.tree.map(merge, chunks._replace(last_observation=()))
