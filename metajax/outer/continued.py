"""Ordinary training as an outer rule: one lifetime, a piece at a time."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from metajax.core.problem import scan_drawn
from metajax.core.types import Key, Learner, Outer, Source, Tree
from metajax.data.rollout import StreamReturns


class Continued(NamedTuple):
    """A lifetime between two meta-iterations.

    Attributes:
      phi: all of the learner's state.
      source: where its streams are.
      earned: by each of them, across meta-iterations.
    """

    phi: Tree
    source: Tree
    earned: StreamReturns


def continued(
    learner: Learner, source: Source, task: Tree, *, num_adaptations: int, num_streams: int
) -> Outer:
    """Lets one lifetime go on, ``num_adaptations`` a meta-iteration; theta is its weights.

    In a ``metajax.tasks.mixture`` this is joint training on all tasks. ``info`` has
    ``returns`` (``[1]``, at the end of the iteration: mean over streams of the return of the
    episode that ended last, or of the first one so far) and ``env_steps``.

    Args:
      learner: whose theta is its initial weights.
      source: of a lifetime (``metajax.data.rollout.lifetime``).
      task: that the lifetime is in.
      num_adaptations: of a meta-iteration.
      num_streams: E of the source.
    """

    def init(key: Key, theta: Tree) -> Continued:
        key_begin, key_open = jax.random.split(key)
        phi, state = learner.begin(key_begin, theta), source.open(key_open, theta, task)
        return Continued(phi, state, StreamReturns.none(num_streams))

    def update(key, theta, carry):
        def adaptation(carry, draws):
            state, chunk = source.next(draws[0], theta, carry.phi, task, carry.source)
            chunk = learner.annotate(theta, carry.phi, chunk)
            phi = learner.adapt(draws[1], theta, carry.phi, chunk)
            count = jnp.sum(chunk.mask, dtype=jnp.int32)
            outcome = chunk.reward, chunk.done, count
            return carry._replace(phi=phi, source=state), outcome

        def draw(keys):
            return source.draw(keys[0], task), learner.draw(keys[1])

        keys = tuple(jax.random.split(one, num_adaptations) for one in jax.random.split(key))
        carry, (reward, done, counts) = scan_drawn(
            adaptation, carry, keys, draw, source.drawn_together
        )
        earned, _ = carry.earned.after(
            reward.reshape(-1, num_streams), done.reshape(-1, num_streams)
        )
        info = {"returns": jnp.mean(earned.latest)[None], "env_steps": jnp.sum(counts, dtype=float)}
        return learner.weights(carry.phi), carry._replace(earned=earned), info

    return Outer(init, update)
