"""Fresh trials: each chunk is one episode a stream, each from reset (MAML)."""

import functools

import jax.numpy as jnp

from metajax.core.family import Family, TaskFamily
from metajax.core.options import OptionError
from metajax.core.problem import Problem, environment
from metajax.core.types import Learner, Measured, Source
from metajax.data.acting import actor_of
from metajax.data.rollout import rollout


def fresh(
    family: Family,
    learner: Learner,
    *,
    num_adaptations: int = 1,
    num_streams: int = 20,
    horizon: int | None = None,
    explore: bool = True,
) -> Problem:
    """A learner that adapts to whole episodes, collected anew before each adaptation.

    Args:
      family: The environment and its tasks.
      learner: The learner that adapts.
      num_adaptations: K, adaptations of a trial.
      num_streams: E, episodes of a chunk.
      horizon: T, steps of a chunk; longer episodes are cut (a truncation). Default: the
        episode length of the family.
      explore: Measure sampled actions; otherwise the mode of the policy, in E separate
        episodes after each adaptation.

    Raises:
      OptionError: for a horizon beyond the family's time limit.
    """
    world = environment(family, "a fresh trial")
    num_steps = episode_horizon(world, horizon)
    return Problem(
        world,
        learner,
        fresh_episodes(world, learner, num_streams, num_steps),
        num_adaptations,
        num_streams,
        judge=None if explore else fresh_episodes(world, learner, num_streams, num_steps, False),
        axis="adaptations",
        rebuild=functools.partial(fresh, horizon=horizon),
    )


def fresh_episodes(
    family: TaskFamily, learner: Learner, num_streams: int, horizon: int, explore: bool = True
) -> Source:
    """Chunks of one episode a stream, each from reset, padded and masked.

    After the end of its episode a stream stands still: it sees the same and its transitions are
    masked. The memory starts anew with every chunk. No gradient flows through a rollout.
    Arguments as ``fresh`` takes them; without ``explore`` the mode of the policy acts.
    """
    actor = actor_of(learner)

    def next_chunk(noise, theta, phi, task, state):
        chunk = rollout(
            family, actor, noise, theta, phi, task, num_streams, horizon, explore=explore
        )
        return state, actor.annotate(theta, phi, chunk)

    def measure(state, chunks):
        score = jnp.mean(jnp.sum(chunks.reward, axis=1), axis=-1)
        return state, Measured(score, jnp.sum(chunks.mask, axis=(1, 2), dtype=jnp.int32))

    return Source(open=lambda key, theta, task: (), next=next_chunk, measure=measure)


def episode_horizon(family: TaskFamily, horizon: int | None) -> int:
    """The horizon, checked against the family; the episode length by default.

    Raises:
      OptionError: for a horizon that the family's time limit never lets happen.
    """
    limit = family.spec.episode_length
    if horizon is None:
        return limit
    if not 1 <= horizon <= limit:
        raise OptionError(
            "horizon",
            f"{horizon} is not possible; allowed: 1 to the episode length of "
            f"{family.spec.name}, {limit} steps",
        )
    return horizon
