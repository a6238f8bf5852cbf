"""Where chunks of experience come from: rollouts of a learner in a task."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from metajax.core.types import (
    ActorInput,
    Chunk,
    Discrete,
    Key,
    Learner,
    Source,
    Spec,
    TaskFamily,
    TimeStep,
    Tree,
)
from metajax.tasks.auto_reset import or_restart

# Transitions of a lifetime whose randomness is drawn at once: enough to make the generator's
# own loop cheap, few enough to keep the states of as many new episodes small.
_DRAWN_TOGETHER = 1024


def fresh_episodes(
    family: TaskFamily, learner: Learner, num_streams: int, horizon: int, explore: bool = True
) -> Source:
    """Chunks of one episode a stream, each from reset, padded and masked.

    After the end of its episode a stream stands still: its state is frozen and
    its transitions are masked. The memory starts anew with every chunk. No gradient
    flows through a rollout.

    Args:
      family: the environment.
      learner: acts, with a memory for each stream.
      num_streams: E, episodes in a chunk.
      horizon: T, steps of a chunk; episodes that are longer are cut (a
        truncation).
      explore: act by samples; otherwise by the mode of the policy.
    """

    def next_chunk(key, theta, phi, task, state):
        chunk = _rollout(
            family, learner, key, theta, phi, task, num_streams, horizon, explore=explore
        )
        return state, chunk

    return Source(open=lambda key, theta, task: (), next=next_chunk, returns=_chunk_returns)


def whole_trials(
    family: TaskFamily,
    learner: Learner,
    num_streams: int,
    num_episodes: int,
    *,
    explore: bool = True,
    final_values: bool = False,
) -> Source:
    """Each chunk is a whole trial: episode after episode with one memory.

    Streams go on through resets, with the memory that they have, and are masked
    after the last episode of the trial. Where no episode ends before its time
    limit, nothing is ever masked.

    Args:
      family, learner, explore: see ``fresh_episodes``.
      num_streams: E, trials that run side by side in a task, each with its own
        memory.
      num_episodes: of a trial; T is that many times the episode length.
      final_values: fill in ``Chunk.final_value``, which takes a second decision
        at every step.
    """
    num_steps = num_episodes * family.spec.episode_length

    def next_chunk(key, theta, phi, task, state):
        chunk = _rollout(
            family,
            learner,
            key,
            theta,
            phi,
            task,
            num_streams,
            num_steps,
            num_episodes=num_episodes,
            explore=explore,
            final_values=final_values,
        )
        return state, chunk

    def returns(reward, done):
        return jnp.mean(
            jax.vmap(_episode_returns, (1, 1, None), 1)(
                reward.reshape(-1, num_streams), done.reshape(-1, num_streams), num_episodes
            ),
            axis=1,
        )

    return Source(lambda key, theta, task: (), next_chunk, returns, axis="episodes")


def lifetime(
    family: TaskFamily,
    learner: Learner,
    num_streams: int,
    num_steps: int,
    *,
    num_points: int = 1,
    explore: bool = True,
) -> Source:
    """Chunks of streams that go on from one to the next, through the ends of episodes.

    What the learner adapts to is a few steps at a time of one long life, as in DQN.
    Chunks store where each step led (``Chunk.next_observation``), and nothing is masked.

    Args:
      family, learner, explore: see ``fresh_episodes``.
      num_streams: E, environments that run side by side in a task.
      num_steps: T, steps of a chunk.
      num_points: measurements of a trial after the first one, spread evenly over its
        chunks. ``Trial.returns`` is ``[num_points + 1]``: a mean over streams of the return
        of the episode that ended last, or of the first one so far before it has ended.
    """

    def open_streams(key, theta, task):
        keys = jax.random.split(key, num_streams)
        return jax.vmap(lambda key: _opened(family, learner, key, theta, task))(keys)

    shape = (num_steps, num_streams)

    def draw(key, task):
        key_noise, key_steps = jax.random.split(key)
        noise, keys = _randomness(learner, key_noise, key_steps, shape)
        if not family.auto_reset:
            return noise, keys
        # The first step of a new episode, should this one end, drawn before it is known.
        pairs = jax.vmap(jax.vmap(jax.random.split))(keys)
        key_advance, key_reset = pairs[:, :, 0], pairs[:, :, 1]
        restart = jax.vmap(jax.vmap(lambda key: family.reset(key, task)))(key_reset)
        return noise, (key_advance, restart)

    def restarting_step(draws, task, env_state, action):
        key, restart = draws
        return or_restart(*family.advance(key, task, env_state, action), *restart)

    def next_chunk(draws, theta, phi, task, state):
        theta, phi = jax.lax.stop_gradient((theta, phi))

        def stream(state, noise, draws):
            return _steps(
                family,
                learner,
                theta,
                phi,
                task,
                state,
                noise,
                draws,
                environment_step=restarting_step if family.auto_reset else family.step,
                explore=explore,
                next_observations=True,
            )

        chunk, state = jax.vmap(stream, (0, 1, 1), (1, 0))(state, *draws)
        chunk = chunk._replace(last_observation=state.seen.observation)
        return jax.lax.stop_gradient((state, chunk))

    def returns(reward, done):
        _, latest = StreamReturns.none(num_streams).after(
            reward.reshape(-1, num_streams), done.reshape(-1, num_streams)
        )
        chunks = even_points(reward.shape[0] - 1, num_points)
        return jnp.mean(latest[chunks * num_steps + num_steps - 1], axis=-1)

    return Source(
        open_streams,
        next_chunk,
        returns,
        axis="points",
        draw=draw,
        drawn_together=max(1, _DRAWN_TOGETHER // (num_steps * num_streams)),
    )


def even_points(last: int, num_points: int) -> np.ndarray:
    """From 0 to ``last`` in even steps, int64 ``[num_points + 1]``; known when compiled."""
    return np.arange(num_points + 1, dtype=np.int64) * last // num_points


class StreamReturns(NamedTuple):
    """What the streams of a task have earned, from chunk to chunk.

    Attributes:
      running: ``[E]``, of the episode that goes on.
      latest: ``[E]``, of the episode that ended last, or of the first one so far before it
        has ended.
      ended: ``[E]``, whether an episode has ended.
    """

    running: jax.Array
    latest: jax.Array
    ended: jax.Array

    @classmethod
    def none(cls, num_streams: int) -> "StreamReturns":
        """Before the first step."""
        zeros = jnp.zeros(num_streams)
        return cls(zeros, zeros, jnp.zeros(num_streams, bool))

    def after(self, reward: jax.Array, done: jax.Array) -> tuple["StreamReturns", jax.Array]:
        """After some steps, ``[T, E]``; and ``latest`` after each, ``[T, E]``."""

        def step(before, now):
            reward, done = now
            running = before.running + reward
            ended = before.ended | done
            latest = jnp.where(done | ~ended, running, before.latest)
            return StreamReturns(jnp.where(done, 0, running), latest, ended), latest

        return jax.lax.scan(step, self, (reward, done), unroll=8)


def _chunk_returns(reward, done):
    """Mean return of the episodes of each chunk, ``[K + 1]``."""
    del done
    return jnp.mean(jnp.sum(reward, axis=1), axis=-1)


def _episode_returns(reward, done, num_episodes):
    """Sums of ``reward [T]`` over episodes, ``[num_episodes]``."""
    episode = jnp.cumsum(done) - done
    return jnp.zeros(num_episodes, reward.dtype).at[episode].add(reward, mode="drop")


def no_action(spec: Spec) -> jax.Array:
    """What ``ActorInput.last_action`` is before the first action of a trial."""
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


class _Stream(NamedTuple):
    """Where one stream of experience has got to."""

    env_state: Tree
    seen: ActorInput
    memory: Tree
    episode: jax.Array


def _opened(family: TaskFamily, learner: Learner, key: Key, theta: Tree, task: Tree) -> _Stream:
    env_state, timestep = family.reset(key, task)
    seen = _seen(family.spec, timestep, no_action(family.spec))
    seen = seen._replace(start=jnp.ones((), bool))
    return _Stream(env_state, seen, learner.memory(theta), jnp.zeros((), jnp.int32))


def _randomness(
    learner: Learner, key_noise: Key, key_steps: Key, shape: tuple[int, int]
) -> tuple[Tree, Key]:
    """Noise for the decisions and keys for the environments of a rollout, ``[T, E]``."""
    noise = jax.vmap(jax.vmap(learner.noise))(jax.random.split(key_noise, shape))
    return noise, jax.random.split(key_steps, shape)


def _rollout(
    family: TaskFamily,
    learner: Learner,
    key: Key,
    theta: Tree,
    phi: Tree,
    task: Tree,
    num_streams: int,
    num_steps: int,
    *,
    num_episodes: int = 1,
    **options: Any,
) -> Chunk:
    """E streams of ``num_steps`` steps from reset; options as ``_steps`` takes them.

    The loop over time is written for one stream and mapped over streams: what is the
    same in all of them, like the time of families without early ends, is then
    carried once, and a decision that depends on nothing else stays a branch.
    """
    theta, phi = jax.lax.stop_gradient((theta, phi))
    environment_step = family.advance if num_episodes == 1 else family.step

    def stream(key, noise, step_keys):
        state = _opened(family, learner, key, theta, task)
        chunk, state = _steps(
            family,
            learner,
            theta,
            phi,
            task,
            state,
            noise,
            step_keys,
            environment_step=environment_step,
            num_episodes=num_episodes,
            **options,
        )
        return chunk, state.seen.observation

    key_reset, key_noise, key_steps = jax.random.split(key, 3)
    noise, step_keys = _randomness(learner, key_noise, key_steps, (num_steps, num_streams))
    keys = jax.random.split(key_reset, num_streams)
    chunk, last = jax.vmap(stream, (0, 1, 1), (1, 0))(keys, noise, step_keys)
    return jax.lax.stop_gradient(chunk._replace(last_observation=last))


def _steps(
    family: TaskFamily,
    learner: Learner,
    theta: Tree,
    phi: Tree,
    task: Tree,
    state: _Stream,
    noise: Tree,
    step_keys: Key,
    *,
    environment_step: Callable[..., tuple[Tree, TimeStep]],
    num_episodes: int | None = None,
    explore: bool = True,
    final_values: bool = False,
    next_observations: bool = False,
) -> tuple[Chunk, _Stream]:
    """One stream's steps, masked after ``num_episodes`` if that is given."""
    spec = family.spec

    def step(state, inputs):
        noise, key = inputs
        env_state, seen, memory, episode = state
        alive = jnp.ones((), bool) if num_episodes is None else episode < num_episodes
        output, memory = learner.act(noise, theta, phi, memory, seen)
        action = output.action if explore else output.mode
        new_state, timestep = environment_step(key, task, env_state, action)
        final_value = ()
        if final_values:
            final = _seen(spec, timestep, action)
            final = final._replace(
                observation=timestep.final_observation, start=jnp.zeros((), bool)
            )
            final_value = learner.act(noise, theta, phi, memory, final)[0].value
        transition = Chunk(
            observation=seen.observation,
            action=action,
            reward=jnp.where(alive, _floating(timestep.reward), 0),
            terminated=timestep.terminated & alive,
            truncated=timestep.truncated & alive,
            mask=alive,
            log_prob=output.log_prob,
            last_observation=(),
            value=output.value,
            final_value=final_value,
            next_observation=timestep.final_observation if next_observations else (),
        )
        new_seen = _seen(spec, timestep, action)
        if num_episodes == 1:  # advance does not reset: stand still
            new_state, new_seen = _select(alive, (new_state, new_seen), (env_state, seen))
        return _Stream(new_state, new_seen, memory, episode + (timestep.done & alive)), transition

    state, transitions = jax.lax.scan(step, state, (noise, step_keys))
    return transitions, state


def _seen(spec: Spec, timestep: TimeStep, action: jax.Array) -> ActorInput:
    action = jnp.asarray(action, no_action(spec).dtype)
    return ActorInput(timestep.observation, action, _floating(timestep.reward), timestep.done)


def _select(condition: jax.Array, new: Tree, old: Tree) -> Tree:
    return jax.tree.map(lambda one, other: jax.lax.select(condition, one, other), new, old)


def _floating(reward: jax.Array) -> jax.Array:
    """A family of one's own may reward with integers, which could not be discounted."""
    return jnp.asarray(reward, jnp.result_type(reward, jnp.float32))
