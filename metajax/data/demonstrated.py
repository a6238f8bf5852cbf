"""Trials of imitation: demonstrations to adapt to, then episodes of one's own."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from metajax.core.family import Discrete, Family, Spec, TaskFamily, Tree
from metajax.core.options import OptionError, check
from metajax.core.problem import Problem, environment
from metajax.core.types import Actor, ActorOutput, Chunk, Learner, Source
from metajax.data.acting import actor_of
from metajax.data.fresh import episode_horizon, fresh_episodes
from metajax.data.rollout import rollout

QUERIES = ("learner", "oracle")


class Shown(NamedTuple):
    """Observation of an environment that shows the oracle's action beside its own observation."""

    observation: jax.Array
    action: jax.Array


def demonstrated(
    family: Family,
    learner: Learner | Callable[[int], Learner],
    *,
    num_adaptations: int = 1,
    num_streams: int = 1,
    horizon: int | None = None,
    slip: float | jax.Array = 0.0,
    query: str = "learner",
    explore: bool = True,
) -> Problem:
    """A learner that adapts to demonstrations of the family's oracle.

    All K adaptations see the same demonstrations. Returns are those of E episodes of the learner,
    before any demonstration and after each adaptation. Every chunk holds the oracle's action
    in each state, whoever acted, so that a loss on any chunk is that of cloning the oracle.

    Args:
      family: The environment, with an oracle.
      learner: The learner that adapts and acts. Or a function ``num_steps -> Learner``, where
        the number of demonstrated steps shapes its state.
      num_adaptations: K, adaptations of a trial.
      num_streams: E, demonstrations of a task, and episodes of a query chunk.
      horizon: T, as ``metajax.fresh`` takes it.
      slip: Probability with which a step of the oracle's episodes takes a uniformly random action
        in place of the one that it shows: noise injection of Laskey et al. (2017), "DART: noise
        injection for robust imitation learning".
      query: Who acts in the last chunk of a trial: "oracle", as behaviour cloning learns from, or
        the adapted "learner", as in DAgger (Ross et al. 2011, "A reduction of imitation
        learning and structured prediction to no-regret online learning"), with the oracle's
        actions in the states that the learner meets.
      explore: Measure sampled actions; otherwise the mode of the policy.

    Raises:
      OptionError: for a family without an oracle or bounds of its actions, or a horizon beyond its
        time limit.
    """
    world = environment(family, "a demonstrated trial")
    if world.oracle is None:
        problem = f"{world.spec.name} has no oracle to demonstrate; allowed: an environment with "
        raise OptionError("family", f'{problem}TaskFamily.oracle, such as "gridnavi"')
    space = world.spec.action_space
    bounded = isinstance(space, Discrete) or np.isfinite([*space.low, *space.high]).all()
    check(bounded, "family", world.spec.name, "an environment whose actions have bounds")
    check(query in QUERIES, "query", query, ", ".join(QUERIES))
    num_steps = episode_horizon(world, horizon)
    made = learner if isinstance(learner, Learner) else learner(num_streams * num_steps)

    def rebuild(family: Family, present: Learner, **sizes: Any) -> Problem:
        # A learner whose actor records more keeps its state, and so its number of demonstrations.
        anew = learner if present is made else present
        return demonstrated(family, anew, horizon=horizon, slip=slip, query=query, **sizes)

    judge = fresh_episodes(world, made, num_streams, num_steps, explore)
    return Problem(
        world,
        made,
        demonstrations(world, made, num_streams, num_steps, slip, query)._replace(
            measure=judge.measure
        ),
        num_adaptations,
        num_streams,
        judge=judge,
        axis="adaptations",
        rebuild=rebuild,
    )


def demonstrations(
    family: TaskFamily,
    learner: Learner,
    num_streams: int,
    horizon: int,
    slip: float | jax.Array,
    query: str,
) -> Source:
    """The same demonstrations at every adaptation, then query episodes; see ``demonstrated``."""
    world, actor = showing(family), actor_of(learner)
    oracle = demonstrator(family.spec, actor, slip)
    episodes = functools.partial(rollout, world, num_streams=num_streams, num_steps=horizon)

    def demonstrate(key, task):
        return labelled(episodes(oracle, key, (), (), task))

    def query_chunk(noise, theta, phi, task, state):
        if query == "oracle":
            return state, demonstrate(noise, task)
        return state, labelled(episodes(watching(actor), noise, theta, phi, task))

    return Source(
        open=lambda key, theta, task: demonstrate(key, task),
        next=lambda noise, theta, phi, task, state: (state, state),
        measure=fresh_episodes(family, learner, num_streams, horizon).measure,
        query=query_chunk,
    )


def showing(family: TaskFamily) -> TaskFamily:
    """The family with observations that are ``Shown``, for rollouts of single episodes."""
    oracle = family.oracle
    assert oracle is not None

    def shown(task, state, timestep):
        action = oracle(task, state)
        observation = Shown(timestep.observation, action)
        final = Shown(timestep.final_observation, action)
        return state, timestep._replace(observation=observation, final_observation=final)

    def reset(key, task):
        return shown(task, *family.reset(key, task))

    def advance(key, task, state, action):
        return shown(task, *family.advance(key, task, state, action))

    return family._replace(reset=reset, advance=advance)


def demonstrator(spec: Spec, actor: Actor, slip: float | jax.Array) -> Actor:
    """An actor that takes the shown action, or a random one with probability ``slip``.

    What chunks record is up to ``actor``, that of the learner.
    """

    def noise(key):
        key_slip, key_action = jax.random.split(key)
        return jax.random.bernoulli(key_slip, slip), _random_action(spec, key_action)

    def act(noise, theta, phi, memory, seen):
        (slips, other), shown = noise, seen.observation.action
        action = jnp.where(slips, other, shown)
        return ActorOutput(action, shown, jnp.zeros(())), memory

    return actor._replace(memory=lambda theta: (), act=act, noise=noise)


def watching(actor: Actor) -> Actor:
    """The actor in an environment whose observations are ``Shown``; it sees its own alone."""

    def act(noise, theta, phi, memory, seen):
        own = seen._replace(observation=seen.observation.observation)
        return actor.act(noise, theta, phi, memory, own)

    return actor._replace(act=act)


def labelled(chunk: Chunk) -> Chunk:
    """A chunk of ``Shown`` observations as one of observations and the oracle's actions."""
    shown: Any = chunk.observation
    reached: Any = chunk.next_observation
    return chunk._replace(
        observation=shown.observation,
        action=shown.action,
        next_observation=None if reached is None else reached.observation,
    )


def _random_action(spec: Spec, key: Tree) -> jax.Array:
    space = spec.action_space
    if isinstance(space, Discrete):
        return jax.random.randint(key, (), 0, space.num_actions, jnp.int32)
    low, high = (jnp.array(bound, jnp.float32) for bound in (space.low, space.high))
    return jax.random.uniform(key, low.shape, minval=low, maxval=high)
