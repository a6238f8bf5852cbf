"""Continuing trials: episode after episode with one memory (RL2)."""

import functools

import jax
import jax.numpy as jnp

from metajax.core.family import Family, TaskFamily
from metajax.core.options import OptionError
from metajax.core.problem import Problem, environment
from metajax.core.types import Learner, Measured, Source
from metajax.data.acting import actor_of
from metajax.data.rollout import rollout


def continuing(
    family: Family,
    learner: Learner,
    *,
    num_adaptations: int = 0,
    num_streams: int = 1,
    num_episodes: int | None = None,
    explore: bool = True,
) -> Problem:
    """A learner that adapts in its memory, over all episodes of a trial.

    Args:
      family: The environment and its tasks.
      learner: The learner, with a memory.
      num_adaptations: 0, as nothing but the memory adapts.
      num_streams: E, trials that run side by side in a task, each with its own memory.
      num_episodes: Episodes of a trial. Default: the family's ``episodes_per_trial``.
      explore: Act by samples; otherwise the mode acts through the whole trial.

    Raises:
      OptionError: for a number of adaptations other than 0.
    """
    if num_adaptations:
        raise OptionError(
            "num_adaptations",
            f"{num_adaptations} is not possible; allowed: 0, as this learner adapts in its memory",
        )
    world = environment(family, "a continuing trial")
    episodes = num_episodes or world.spec.episodes_per_trial
    return Problem(
        world,
        learner,
        whole_trials(world, learner, num_streams, episodes, explore),
        num_adaptations=0,
        num_streams=num_streams,
        axis="episodes",
        rebuild=functools.partial(continuing, num_episodes=num_episodes),
    )


def whole_trials(
    family: TaskFamily, learner: Learner, num_streams: int, num_episodes: int, explore: bool = True
) -> Source:
    """Chunks that are whole trials: episode after episode with one memory.

    Streams go on through resets with their memory, and are masked after the last episode of
    the trial. Nothing is masked where no episode ends before its time limit. Arguments as
    ``continuing`` takes them; T is ``num_episodes`` times the episode length.
    """
    size = num_streams, num_episodes * family.spec.episode_length
    actor = actor_of(learner)

    def next_chunk(noise, theta, phi, task, state):
        chunk = rollout(
            family,
            actor,
            noise,
            theta,
            phi,
            task,
            *size,
            num_episodes=num_episodes,
            explore=explore,
        )
        return state, actor.annotate(theta, phi, chunk)

    def measure(state, chunks):
        of_streams = jax.vmap(_episode_returns, (1, 1, None), 1)
        returns = jax.vmap(of_streams, (0, 0, None))(chunks.reward, chunks.done, num_episodes)
        steps = jnp.sum(chunks.mask, axis=(1, 2), dtype=jnp.int32)
        return state, Measured(jnp.mean(returns, axis=2), steps)

    return Source(open=lambda key, theta, task: (), next=next_chunk, measure=measure)


def _episode_returns(reward, done, num_episodes):
    """Sums of ``reward [T]`` over episodes, ``[num_episodes]``."""
    episode = jnp.cumsum(done) - done
    return jnp.zeros(num_episodes, reward.dtype).at[episode].add(reward, mode="drop")
