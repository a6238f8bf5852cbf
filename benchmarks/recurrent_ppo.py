"""A recurrent PPO written the ordinary way, a yardstick for the speed of ``rl2``.

    metajax bench --algorithm rl2 --family bernoulli-bandit --set family.num-arms=10 \\
        --set family.num-pulls=100 --num-tasks 256 --yardstick benchmarks/recurrent_ppo.py

It has the structure that single-file recurrent PPO programs in JAX have: a flax ``GRUCell`` under
``nn.scan``, environments under ``vmap``, minibatches of whole sequences, all on one device.
Network, batch, epochs, minibatches, losses and environment are those of the ``rl2`` it stands
beside, which takes all devices unless ``--devices 1``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax


def yardstick(family: Any, options: Any) -> tuple[Callable, Callable]:
    """``init(key) -> state`` and ``step(key, state) -> (state, info)`` beside an ``rl2``."""
    plain = RecurrentPPO(family, options)
    return plain.init, plain.step


class ActorCritic(nn.Module):
    """A GRU over ``[T, B]`` observations, last actions, their rewards and starts of episodes."""

    hidden_size: int
    num_actions: int

    @nn.compact
    def __call__(self, carry, seen):
        observation, action, reward, start = seen
        scalars = jnp.stack([reward, start.astype(jnp.float32)], -1)
        flat = observation.reshape(*observation.shape[:2], -1)
        inputs = jnp.concatenate([flat, jax.nn.one_hot(action, self.num_actions), scalars], -1)
        over_time = {"variable_broadcast": "params", "split_rngs": {"params": False}}
        scan = nn.scan(lambda cell, carry, x: cell(carry, x), **over_time)
        carry, hidden = scan(nn.GRUCell(self.hidden_size), carry, inputs)
        return carry, nn.Dense(self.num_actions)(hidden), nn.Dense(1)(hidden)[..., 0]


@dataclasses.dataclass
class RecurrentPPO:
    """A plain recurrent PPO on a task family, with the options of an ``rl2``."""

    family: Any
    options: Any

    def __post_init__(self) -> None:
        spec, options = self.family.spec, self.options
        self.num_steps = spec.episodes_per_trial * spec.episode_length
        network: Any = ActorCritic(options.hidden_size, spec.action_space.num_actions)
        self.network = network
        self.optimizer = optax.chain(
            optax.clip_by_global_norm(options.max_grad_norm), optax.adam(options.learning_rate)
        )

    def init(self, key):
        num_envs = self.options.num_tasks
        observation = jnp.zeros((num_envs, *self.family.spec.observation_shape))
        seen = jax.tree.map(lambda leaf: leaf[None], self.first(observation))
        parameters = self.network.init(key, self.empty(num_envs), seen)
        return parameters, self.optimizer.init(parameters)

    def step(self, key, state):
        """One iteration: whole trials, then epochs of minibatches of them."""
        options, num_envs = self.options, self.options.num_tasks
        key_rollout, key_epochs = jax.random.split(key)
        traj = self.rollout(key_rollout, state[0])
        _, _, reward, value, _ = traj
        advantage = self.gae(reward, value)
        target = advantage + value
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        size = num_envs // options.num_minibatches

        def epoch(state, key):
            order = jax.random.permutation(key, num_envs)

            def minibatches(leaf):
                shuffled = jnp.take(leaf, order, axis=1)
                split = shuffled.reshape(self.num_steps, -1, size, *leaf.shape[2:])
                return jnp.swapaxes(split, 0, 1)

            batches = jax.tree.map(minibatches, (traj, advantage, target))
            return jax.lax.scan(self.update, state, batches)

        keys = jax.random.split(key_epochs, options.num_epochs)
        state, _ = jax.lax.scan(epoch, state, keys)
        return state, {"returns": reward.sum(0).mean(), "env_steps": reward.size}

    def rollout(self, key, parameters):
        num_envs = self.options.num_tasks
        key_task, key_reset, key_steps = jax.random.split(key, 3)
        tasks = jax.vmap(self.family.sample)(jax.random.split(key_task, num_envs))
        keys = jax.random.split(key_reset, num_envs)
        env_state, timestep = jax.vmap(self.family.reset)(keys, tasks)

        def env_step(carry, key):
            env_state, seen, hidden = carry
            key_act, key_env = jax.random.split(key)
            now = jax.tree.map(lambda leaf: leaf[None], seen)
            hidden, logits, value = self.network.apply(parameters, hidden, now)
            action = jax.random.categorical(key_act, logits[0])
            log_prob = jax.nn.log_softmax(logits[0])[jnp.arange(num_envs), action]
            keys = jax.random.split(key_env, num_envs)
            env_state, timestep = jax.vmap(self.family.step)(keys, tasks, env_state, action)
            record = (seen, action, timestep.reward, value[0], log_prob)
            seen = (timestep.observation, action, timestep.reward, timestep.done)
            return (env_state, seen, hidden), record

        start = (env_state, self.first(timestep.observation), self.empty(num_envs))
        return jax.lax.scan(env_step, start, jax.random.split(key_steps, self.num_steps))[1]

    def update(self, state, minibatch):
        parameters, opt_state = state
        grads = jax.grad(self.loss)(parameters, minibatch)
        updates, opt_state = self.optimizer.update(grads, opt_state, parameters)
        return (optax.apply_updates(parameters, updates), opt_state), None

    def loss(self, parameters, batch):
        options = self.options
        (seen, action, _, _, log_prob), advantage, target = batch
        _, logits, value = self.network.apply(parameters, self.empty(action.shape[1]), seen)
        log_probs = jax.nn.log_softmax(logits)
        now = jnp.take_along_axis(log_probs, action[..., None], -1)[..., 0]
        ratio = jnp.exp(now - log_prob)
        bounded = jnp.clip(ratio, 1 - options.clip, 1 + options.clip)
        policy_loss = -jnp.minimum(ratio * advantage, bounded * advantage).mean()
        value_loss = 0.5 * jnp.square(value - target).mean()
        entropy = -jnp.sum(jnp.exp(log_probs) * log_probs, -1).mean()
        critic = options.value_coefficient * value_loss
        return policy_loss + critic - options.entropy_coefficient * entropy

    def gae(self, reward, value):
        discount, decay = self.options.discount, self.options.discount * self.options.gae_lambda

        def backwards(carry, now):
            advantage, following = carry
            reward, value = now
            advantage = reward + discount * following - value + decay * advantage
            return (advantage, value), advantage

        zeros = jnp.zeros(reward.shape[1])
        return jax.lax.scan(backwards, (zeros, zeros), (reward, value), reverse=True)[1]

    def first(self, observation):
        number = len(observation)
        return observation, jnp.full(number, -1), jnp.zeros(number), jnp.ones(number, bool)

    def empty(self, number):
        return jnp.zeros((number, self.options.hidden_size))
