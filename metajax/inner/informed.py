"""Learners that know how they have been doing."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from metajax.core.family import Tree
from metajax.core.types import Learner
from metajax.data.acting import actor_of
from metajax.losses import masked_mean


class Informed(NamedTuple):
    """Theta of a learner under ``with_recent_rewards``.

    Attributes:
      theta: The meta-parameters.
      recent: ``[H]``, mean rewards of the last chunks, the latest last; 0 before the first.
    """

    theta: Tree
    recent: jax.Array


class Remembering(NamedTuple):
    """The phi of a learner under ``with_recent_rewards``.

    Attributes:
      recent: See ``Informed``.
      inner: State of the learner itself.
    """

    recent: jax.Array
    inner: Tree


def with_recent_rewards(learner: Learner, num_chunks: int) -> Learner:
    """The learner with ``Informed`` as its theta, so that its settings may depend on rewards.

    The chunk that is adapted to counts among the recent ones.

    Args:
      learner: A learner that acts, written for an ``Informed`` theta; its ``init`` gives the
        meta-parameters alone.
      num_chunks: H, number of chunks that are remembered.
    """
    actor = actor_of(learner)
    nothing = jnp.zeros(num_chunks)

    def begin(key, theta):
        return Remembering(nothing, learner.begin(key, Informed(theta, nothing)))

    def adapt(noise, theta, phi, chunk):
        latest = masked_mean(chunk.reward, chunk.mask)
        recent = jnp.append(phi.recent[1:], latest.astype(phi.recent.dtype))
        return Remembering(recent, learner.adapt(noise, Informed(theta, recent), phi.inner, chunk))

    def of_both(fn):
        return lambda theta, phi, *data: fn(Informed(theta, phi.recent), phi.inner, *data)

    def act(noise, theta, phi, memory, seen):
        return actor.act(noise, Informed(theta, phi.recent), phi.inner, memory, seen)

    return learner._replace(
        begin=begin,
        adapt=adapt,
        predict=of_both(learner.predict),
        weights=None if learner.weights is None else of_both(learner.weights),
        actor=actor._replace(
            memory=lambda theta: actor.memory(Informed(theta, nothing)),
            act=act,
            annotate=of_both(actor.annotate),
        ),
    )
