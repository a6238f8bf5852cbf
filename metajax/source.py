"""Where chunks of experience come from: rollouts of a learner in a task."""

import jax
import jax.numpy as jnp

from metajax.types import Chunk, Learner, Source, TaskFamily, Tree


def broadcast_memory(memory: Tree, num_streams: int) -> Tree:
    """Gives each of ``num_streams`` streams its own copy of one stream's memory."""
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (num_streams, *leaf.shape)), memory)


def _freeze(alive: jax.Array, new: Tree, old: Tree) -> Tree:
    """``new`` in the streams that are alive, else ``old``; leaves ``[E, ...]``."""

    def select(fresh, kept):
        flags = alive.reshape(alive.shape + (1,) * (fresh.ndim - 1))
        return jnp.where(flags, fresh, kept)

    return jax.tree.map(select, new, old)


def fresh_episodes(
    family: TaskFamily, learner: Learner, num_streams: int, horizon: int, explore: bool = True
) -> Source:
    """Chunks of one episode a stream, each from reset, padded and masked.

    After the end of its episode a stream stands still: its state is frozen and
    its transitions are masked. No gradient flows through a rollout.

    Args:
      family: the environment.
      learner: acts, with a memory for each stream.
      num_streams: E, episodes in a chunk.
      horizon: T, steps of a chunk; episodes that are longer are cut (a
        truncation).
      explore: act by samples; otherwise by the mode of the policy.
    """

    def next_chunk(key, theta, phi, task, state):
        theta, phi = jax.lax.stop_gradient((theta, phi))
        key_reset, key_noise, key_steps = jax.random.split(key, 3)
        reset = jax.vmap(family.reset, (0, None))
        env_state, timestep = reset(jax.random.split(key_reset, num_streams), task)
        streams = broadcast_memory(learner.memory(theta), num_streams)
        alive = jnp.ones(num_streams, bool)

        def stream_step(noise, key, env_state, timestep, stream):
            output, stream = learner.act(noise, theta, phi, stream, timestep)
            action = output.action if explore else output.mode
            env_state, timestep = family.advance(key, task, env_state, action)
            return env_state, timestep, stream, action, output.log_prob

        def step(carry, inputs):
            noise, keys = inputs
            env_state, timestep, streams, alive = carry
            new_state, new_timestep, streams, action, log_prob = jax.vmap(stream_step)(
                noise, keys, env_state, timestep, streams
            )
            transition = (
                timestep.observation,
                action,
                jnp.where(alive, new_timestep.reward, 0),
                new_timestep.terminated & alive,
                new_timestep.truncated & alive,
                alive,
                log_prob,
            )
            new_state, new_timestep = _freeze(
                alive, (new_state, new_timestep), (env_state, timestep)
            )
            return (new_state, new_timestep, streams, alive & ~new_timestep.done), transition

        noise_keys = jax.random.split(key_noise, (horizon, num_streams))
        noise = jax.vmap(jax.vmap(learner.noise))(noise_keys)
        step_keys = jax.random.split(key_steps, (horizon, num_streams))
        start = (env_state, timestep, streams, alive)
        carry, transitions = jax.lax.scan(step, start, (noise, step_keys))
        chunk = Chunk(*transitions, last_observation=carry[1].observation)
        return state, jax.lax.stop_gradient(chunk)

    return Source(open=lambda key, theta, task: (), next=next_chunk)
