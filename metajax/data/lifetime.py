"""Lifetimes: streams that go on from chunk to chunk, through the ends of episodes (DQN)."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from metajax.core.family import Family, Key, TaskFamily, Tree
from metajax.core.options import OptionError
from metajax.core.problem import Problem, environment
from metajax.core.types import Learner, Measured, Source
from metajax.data.acting import actor_of
from metajax.data.fresh import fresh_episodes
from metajax.data.rollout import (
    Step,
    Stream,
    first_states,
    opened,
    restarting,
    rollout_noise,
    steps,
    whatever_episode,
)
from metajax.tasks.auto_reset import or_restart

# Transitions whose noise is drawn at once: enough to make the generator's own loop cheap, few
# enough to keep the states of as many new episodes small.
_DRAWN_AT_ONCE = 1024


def lifetime(
    family: Family,
    learner: Learner,
    *,
    num_adaptations: int = 1,
    num_streams: int = 1,
    num_steps: int = 1,
    num_points: int = 1,
    num_judged: int = 10,
    explore: bool = True,
) -> Problem:
    """A learner that adapts a few steps at a time, all its life in one task.

    Args:
      family: The environment and its tasks.
      learner: The learner that adapts.
      num_adaptations: K, adaptations of a whole lifetime.
      num_streams: E, environments that run side by side in a task.
      num_steps: T, steps of each stream between two adaptations.
      num_points: Measurements of a lifetime after the first one, evenly spread.
      num_judged: Episodes that measure the mode of the policy at each point.
      explore: Measure the streams themselves; otherwise the mode of the policy, in
        separate episodes.

    Raises:
      OptionError: for the mode of the policy in a family whose state outlives its episodes.
    """
    world = environment(family, "a lifetime")
    judge = None
    if not explore:
        if world.restarts == "own":
            raise OptionError(
                "explore",
                f"false is not possible on {world.spec.name}, where something outlives episodes, "
                "so that episodes of their own would be of another state; allowed: true",
            )
        judge = fresh_episodes(world, learner, num_judged, world.spec.episode_length, False)
    return Problem(
        world,
        learner,
        streams(world, learner, num_streams, num_steps),
        num_adaptations,
        num_streams,
        judge=judge,
        num_points=num_points,
        axis="points",
        rebuild=functools.partial(
            lifetime, num_steps=num_steps, num_points=num_points, num_judged=num_judged
        ),
    )


class Earned(NamedTuple):
    """Returns of one stream, from chunk to chunk.

    Attributes:
      running: Return of the present episode so far.
      latest: Return of the episode that ended last, or of the first one so far before its end.
      ended: Bool; an episode has ended.
    """

    running: jax.Array
    latest: jax.Array
    ended: jax.Array

    @classmethod
    def nothing(cls) -> "Earned":
        """Before the first step."""
        zero = jnp.zeros(())
        return cls(zero, zero, jnp.zeros((), bool))

    def after(self, reward: jax.Array, done: jax.Array) -> tuple["Earned", jax.Array]:
        """After the rewards and ends ``[T]`` of some steps; and ``latest`` after each, ``[T]``."""

        def step(before, now):
            reward, done = now
            running = before.running + reward
            ended = before.ended | done
            latest = jnp.where(done | ~ended, running, before.latest)
            return Earned(jnp.where(done, 0, running), latest, ended), latest

        return jax.lax.scan(step, self, (reward, done), unroll=8)


class Living(NamedTuple):
    """State of a lifetime's source: where the streams are, and their returns, ``[E, ...]``."""

    streams: Stream
    earned: Earned


def streams(family: TaskFamily, learner: Learner, num_streams: int, num_steps: int) -> Source:
    """Chunks of streams that go on from one chunk to the next; nothing is masked.

    The score after a chunk is a mean over streams of the return of the episode that ended
    last, or of the first one so far before its end. Arguments as ``lifetime`` takes them.
    """
    actor = actor_of(learner)
    shape = num_steps, num_streams
    size = num_steps * num_streams

    def open_streams(key, theta, task):
        def stream(key):
            return Living(opened(family, actor, key, theta, task), Earned.nothing())

        return jax.vmap(stream)(jax.random.split(key, num_streams))

    def noise(key, task):
        key_noise, key_steps = jax.random.split(key)
        decisions, keys = rollout_noise(actor, key_noise, key_steps, shape)
        return decisions, *_restarts(family, keys, task)

    def next_chunk(noise, theta, phi, task, state):
        theta, phi = jax.lax.stop_gradient((theta, phi))

        def stream(state, decisions, keys, first):
            step = whatever_episode(family.step)
            if family.restarts == "chunk":
                step = restarting(family, first)
            elif family.restarts == "step":
                step, keys = _restart_drawn(family), (keys, first)
            chunk, after = steps(
                family, actor, theta, phi, task, state.streams, decisions, keys, step=step
            )
            return chunk, state._replace(streams=after)

        chunk, state = jax.vmap(stream, (0, 1, 1, 1), (1, 0))(state, *noise)
        state, chunk = jax.lax.stop_gradient((state, chunk))
        return state, actor.annotate(theta, phi, chunk)

    def measure(state, chunks):
        reward, done = (leaf.reshape(-1, num_streams) for leaf in (chunks.reward, chunks.done))
        earned, latest = jax.vmap(Earned.after, (0, 1, 1), (0, 1))(state.earned, reward, done)
        score = jnp.mean(latest[num_steps - 1 :: num_steps], axis=-1)
        return state._replace(earned=earned), Measured(score, jnp.full(len(score), size, jnp.int32))

    block = max(1, _DRAWN_AT_ONCE // size)
    return Source(open_streams, next_chunk, measure, noise=noise, block=block)


def _restarts(family: TaskFamily, keys: Key, task: Tree) -> tuple[Key, Tree]:
    """Keys ``[T, E]`` of a chunk's steps, and the first states of the episodes to come."""
    if family.restarts == "step":
        pairs = jax.vmap(jax.vmap(jax.random.split))(keys)
        return pairs[:, :, 0], jax.vmap(jax.vmap(lambda key: family.reset(key, task)))(
            pairs[:, :, 1]
        )
    if family.restarts == "chunk":
        return keys, jax.vmap(lambda key: first_states(family, key, task, 1), 0, 1)(keys[0])
    return keys, None


def _restart_drawn(family: TaskFamily) -> Step:
    """A step whose noise holds the first state of the next episode, should this one end."""

    def step(noise, task, state, action, episode):
        del episode
        key, first = noise
        return or_restart(*family.advance(key, task, state, action), *first)

    return step
