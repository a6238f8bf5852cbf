"""Where chunks of experience come from: rollouts of a learner in a task."""

import jax
import jax.numpy as jnp

from metajax.types import (
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
        start=shifted(jnp.ones((), bool), chunk.terminated | chunk.truncated),
    )


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
    explore: bool = True,
    final_values: bool = False,
) -> Chunk:
    """E streams of ``num_steps`` steps from reset, masked after ``num_episodes``.

    The loop over time is written for one stream and mapped over streams: what is the
    same in all of them, like the time of families without early ends, is then
    carried once, and a decision that depends on nothing else stays a branch.
    """
    theta, phi = jax.lax.stop_gradient((theta, phi))
    spec = family.spec
    environment_step = family.advance if num_episodes == 1 else family.step

    def stream(key_reset, noise, step_keys):
        env_state, timestep = family.reset(key_reset, task)
        seen = _seen(spec, timestep, no_action(spec))._replace(start=jnp.ones((), bool))

        def step(carry, inputs):
            noise, key = inputs
            env_state, seen, memory, episode = carry
            alive = episode < num_episodes
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
            transition = (
                seen.observation,
                action,
                jnp.where(alive, timestep.reward, 0),
                timestep.terminated & alive,
                timestep.truncated & alive,
                alive,
                output.log_prob,
                output.value,
                final_value,
            )
            now = new_state, _seen(spec, timestep, action)
            if num_episodes == 1:  # advance does not reset: stand still
                now = _select(alive, now, (env_state, seen))
            return (*now, memory, episode + (timestep.done & alive)), transition

        start = (env_state, seen, learner.memory(theta), jnp.zeros((), jnp.int32))
        carry, transitions = jax.lax.scan(step, start, (noise, step_keys))
        return transitions, carry[1].observation

    key_reset, key_noise, key_steps = jax.random.split(key, 3)
    shape = (num_steps, num_streams)
    noise = jax.vmap(jax.vmap(learner.noise))(jax.random.split(key_noise, shape))
    keys = jax.random.split(key_reset, num_streams), noise, jax.random.split(key_steps, shape)
    transitions, last = jax.vmap(stream, (0, 1, 1), (1, 0))(*keys)
    *common, value, final_value = transitions
    chunk = Chunk(*common, last_observation=last, value=value, final_value=final_value)
    return jax.lax.stop_gradient(chunk)


def _seen(spec: Spec, timestep: TimeStep, action: jax.Array) -> ActorInput:
    action = jnp.asarray(action, no_action(spec).dtype)
    return ActorInput(timestep.observation, action, timestep.reward, timestep.done)


def _select(condition: jax.Array, new: Tree, old: Tree) -> Tree:
    return jax.tree.map(lambda one, other: jax.lax.select(condition, one, other), new, old)
