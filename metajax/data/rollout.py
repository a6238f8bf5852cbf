"""Rollouts: one loop over environment steps, written for one stream and mapped over streams.

Quantities that are the same in all streams, like the time in families without early ends, are
then carried once, and a decision that depends on nothing else stays a branch.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from metajax.core.family import Discrete, Key, Spec, StepFn, TaskFamily, TimeStep, Tree
from metajax.core.types import Actor, ActorInput, Chunk
from metajax.tasks.auto_reset import or_restart

Step = Callable[[Tree, Tree, Tree, jax.Array, jax.Array], tuple[Tree, TimeStep]]
"""``(noise, task, state, action, episode) -> (state, timestep)``."""


class Stream(NamedTuple):
    """Where one stream of experience has got to.

    Attributes:
      env_state: State of the environment.
      seen: Input of the next decision.
      memory: Memory of the learner.
      episode: Int32, episodes ended so far.
    """

    env_state: Tree
    seen: ActorInput
    memory: Tree
    episode: jax.Array


def no_action(spec: Spec) -> jax.Array:
    """``ActorInput.last_action`` before the first action of a trial."""
    if isinstance(spec.action_space, Discrete):
        return jnp.full((), -1, jnp.int32)
    return jnp.zeros(spec.action_space.size, jnp.float32)


def actor_inputs(spec: Spec, chunk: Chunk) -> ActorInput:
    """The inputs of all decisions of a chunk that begins a trial, ``[T, E, ...]``."""

    def shifted(first, leaf):
        first = jnp.broadcast_to(first.astype(leaf.dtype), leaf.shape[1:])
        return jnp.concatenate([first[None], leaf[:-1]])

    return ActorInput(
        observation=chunk.observation,
        last_action=shifted(no_action(spec), chunk.action),
        last_reward=shifted(jnp.zeros(()), chunk.reward),
        start=shifted(jnp.ones((), bool), chunk.done),
    )


def opened(family: TaskFamily, actor: Actor, key: Key, theta: Tree, task: Tree) -> Stream:
    """A stream at the start of a trial."""
    env_state, timestep = family.reset(key, task)
    reward = _floating(timestep.reward)
    start = jnp.ones((), bool)
    seen = ActorInput(timestep.observation, no_action(family.spec), reward, start)
    return Stream(env_state, seen, actor.memory(theta), jnp.zeros((), jnp.int32))


def rollout_noise(
    actor: Actor, key_noise: Key, key_steps: Key, shape: tuple[int, int]
) -> tuple[Tree, Key]:
    """Noise of the decisions and keys for the environments of a rollout, ``[T, E]``."""
    noise = jax.vmap(jax.vmap(actor.noise))(jax.random.split(key_noise, shape))
    return noise, jax.random.split(key_steps, shape)


def rollout(
    family: TaskFamily,
    actor: Actor,
    key: Key,
    theta: Tree,
    phi: Tree,
    task: Tree,
    num_streams: int,
    num_steps: int,
    *,
    num_episodes: int = 1,
    explore: bool = True,
) -> Chunk:
    """E streams of ``num_steps`` steps from reset, masked after ``num_episodes`` episodes."""
    theta, phi = jax.lax.stop_gradient((theta, phi))
    run = functools.partial(
        steps, family, actor, theta, phi, task, num_episodes=num_episodes, explore=explore
    )

    def stream(key, noise, step_keys):
        if num_episodes == 1:
            step = whatever_episode(family.advance)
        elif family.restarts == "chunk":
            step = restarting(family, first_states(family, key, task, num_episodes - 1))
        else:
            step = whatever_episode(family.step)
        start = opened(family, actor, key, theta, task)
        return run(start, noise, step_keys, step=step)[0]

    key_reset, key_noise, key_steps = jax.random.split(key, 3)
    noise, step_keys = rollout_noise(actor, key_noise, key_steps, (num_steps, num_streams))
    keys = jax.random.split(key_reset, num_streams)
    return jax.lax.stop_gradient(jax.vmap(stream, (0, 1, 1), 1)(keys, noise, step_keys))


def whatever_episode(step: StepFn) -> Step:
    """A step of the family as the loop takes it."""
    return lambda noise, task, state, action, episode: step(noise, task, state, action)


def first_states(family: TaskFamily, key: Key, task: Tree, number: int) -> Tree:
    """States and timesteps of resets, ``[number, ...]``, drawn ahead of a loop."""
    keys = jax.random.split(jax.random.fold_in(key, 1), number)
    return jax.vmap(lambda key: family.reset(key, task))(keys)


def restarting(family: TaskFamily, first: Tree) -> Step:
    """A step that begins the next episode in the state drawn for it; the last one repeats.

    ``first`` is a result of ``first_states``, ``[R, ...]``.
    """
    last = len(jax.tree.leaves(first)[0]) - 1

    def step(noise, task, state, action, episode):
        restart = jax.tree.map(lambda leaf: leaf[jnp.minimum(episode, last)], first)
        return or_restart(*family.advance(noise, task, state, action), *restart)

    return step


def steps(
    family: TaskFamily,
    actor: Actor,
    theta: Tree,
    phi: Tree,
    task: Tree,
    state: Stream,
    noise: Tree,
    step_noise: Tree,
    *,
    step: Step,
    num_episodes: int | None = None,
    explore: bool = True,
) -> tuple[Chunk, Stream]:
    """The steps of one stream, masked after ``num_episodes`` if given; leaves ``[T, ...]``.

    Args:
      family, actor, theta, phi, task: The learner in its task.
      state: Where the stream starts.
      noise: ``[T, ...]``, of the decisions.
      step_noise: ``[T, ...]``, of the environment.
      step: ``(noise, task, state, action, episode) -> (state, timestep)``.
      num_episodes: Episodes after which the stream is masked, and its observation the last one
        that was acted on.
      explore: Act by samples; otherwise by the mode of the policy.
    """
    spec = family.spec

    def transition(state, inputs):
        noise, step_noise = inputs
        env_state, seen, memory, episode = state
        alive = jnp.ones((), bool) if num_episodes is None else episode < num_episodes
        output, memory = actor.act(noise, theta, phi, memory, seen)
        action = output.action if explore else output.mode
        new_state, timestep = step(step_noise, task, env_state, action, episode)
        terminated, truncated = timestep.terminated & alive, timestep.truncated & alive
        reward = jnp.where(alive, _floating(timestep.reward), 0)
        ended = episode + (terminated | truncated)
        # Padding counts for nothing, but a network that reads a NaN there has a gradient of
        # 0 * NaN, so a stream stands still at its last decision.
        observation, final = timestep.observation, timestep.final_observation
        if num_episodes is not None:
            observation = _select(ended < num_episodes, observation, seen.observation)
            final = _select(alive, final, seen.observation)
        last_action = jnp.asarray(action, no_action(spec).dtype)
        reached = ActorInput(observation, last_action, reward, terminated | truncated)
        recorded: dict[str, Any] = {}
        if "next_observation" in actor.records:
            recorded["next_observation"] = final
        if "distribution" in actor.records:
            recorded["distribution"] = output.distribution
        if "final_value" in actor.records:
            then = reached._replace(observation=final, start=jnp.zeros((), bool))
            recorded["final_value"] = actor.act(noise, theta, phi, memory, then)[0].value
        chunk = Chunk(
            observation=seen.observation,
            action=action,
            reward=reward,
            terminated=terminated,
            truncated=truncated,
            mask=alive,
            log_prob=output.log_prob,
            value=output.value,
            **recorded,
        )
        return Stream(new_state, reached, memory, ended), chunk

    state, chunk = jax.lax.scan(transition, state, (noise, step_noise))
    return chunk, state


def _select(condition: jax.Array, new: Tree, old: Tree) -> Tree:
    return jax.tree.map(lambda one, other: jax.lax.select(condition, one, other), new, old)


def _floating(reward: jax.Array) -> jax.Array:
    """A user's family may pay integer rewards, which could not be discounted."""
    return jnp.asarray(reward, jnp.result_type(reward, jnp.float32))
