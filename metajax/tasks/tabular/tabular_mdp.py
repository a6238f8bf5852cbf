"""Random tabular Markov decision processes."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Annotated, NamedTuple

from metajax.core.options import Above, Below, Count, Options

if TYPE_CHECKING:
    import jax

    from metajax.core.family import TaskFamily

REWARD_STD = 1.0


class TabularTask(NamedTuple):
    """A Markov decision process; every episode starts in state 0."""

    transition: jax.Array  # float32 [S, A, S], transition probabilities
    reward: jax.Array  # float32 [S, A], expected rewards


class TabularState(NamedTuple):
    """State of one episode."""

    state: jax.Array  # int32 scalar, 0 .. S - 1
    time: jax.Array  # int32 scalar, steps since the reset


@dataclasses.dataclass(frozen=True, kw_only=True)
class TabularMdp(Options):
    """Random tabular MDP (Duan et al. 2016): unknown transitions and Gaussian rewards.

    Transition probabilities of each state and action are Dirichlet(1, ..., 1). Rewards are
    Gaussian around the mean of their state and action, and the means are Gaussian around
    ``reward_mean``, both with standard deviation 1. Every episode starts in state 0 and ends
    by the time limit, as a truncation. An action out of range is clipped to the nearest.

    Source: Duan et al. (2016), "RL2: fast reinforcement learning via slow reinforcement
    learning", section 3.2.

    Attributes:
      num_states: Number of states, S; an observation is the state, one-hot.
      num_actions: Number of actions, A.
      episode_length: Time limit in steps.
      num_episodes: Episodes per trial.
      reward_mean: Mean of the prior over expected rewards.
    """

    num_states: Count = 10
    num_actions: Count = 5
    episode_length: Count = 10
    num_episodes: Count = 10
    reward_mean: Annotated[float, Above(-math.inf), Below(math.inf)] = 1.0

    def build(self) -> TaskFamily:
        """The family; tasks are ``TabularTask(transition, reward)``."""
        import jax
        import jax.numpy as jnp

        from metajax.core.family import Discrete, Spec, Tabular
        from metajax.tasks.auto_reset import time_step, with_auto_reset

        shape = (self.num_states, self.num_actions)
        spec = Spec(
            name="tabular-mdp",
            observation_shape=(self.num_states,),
            action_space=Discrete(self.num_actions),
            episode_length=self.episode_length,
            episodes_per_trial=self.num_episodes,
            random_return=self.episode_length * self.reward_mean,
            optimal_return=lambda task: optimal_values(task, self.episode_length)[0],
            tabular=Tabular(self.num_states, rewards="gaussian"),
        )

        def observe(state):
            return jax.nn.one_hot(state, self.num_states, dtype=jnp.float32)

        def sample(key):
            key_transition, key_reward = jax.random.split(key)
            # Independent exponentials divided by their sum are Dirichlet(1, ..., 1).
            weights = jax.random.exponential(key_transition, (*shape, self.num_states), jnp.float32)
            transition = weights / jnp.sum(weights, axis=-1, keepdims=True)
            deviation = jax.random.normal(key_reward, shape, jnp.float32)
            return TabularTask(transition, self.reward_mean + deviation)

        def reset(key, task):
            del key, task
            zero = jnp.zeros((), jnp.int32)
            return TabularState(zero, zero), time_step(observe(zero))

        def advance(key, task, state, action):
            action = jnp.clip(action, 0, self.num_actions - 1)
            # One call for both draws, at half the cost of splitting the key.
            draw = jax.random.normal(key, (2,), jnp.float32)
            reward = task.reward[state.state, action] + REWARD_STD * draw[0]
            below = jnp.cumsum(task.transition[state.state, action])[:-1]
            next_state = jnp.sum(jax.scipy.stats.norm.cdf(draw[1]) >= below, dtype=jnp.int32)
            time = state.time + 1
            timestep = time_step(observe(next_state), reward, truncated=time >= self.episode_length)
            return TabularState(next_state, time), timestep

        return with_auto_reset(spec, sample, reset, advance)


def one_step_values(task: TabularTask, values: jax.Array) -> jax.Array:
    """One-step lookahead ``r(s, a) + sum_s' P(s' | s, a) V(s')``: values ``[S]`` to ``[S, A]``."""
    import jax.numpy as jnp

    # A sum instead of a matrix product, which may round: equal actions must get equal values.
    return task.reward + jnp.sum(task.transition * values, axis=-1)


def optimal_values(task: TabularTask, horizon: int) -> jax.Array:
    """Optimal undiscounted values of a known task, by backward induction.

    ``V_h(s) = max_a r(s, a) + sum_s' P(s' | s, a) V_(h-1)(s')`` with ``V_0 = 0``.

    Args:
      task: Task with S states and A actions.
      horizon: Number of steps to go.

    Returns:
      float32 ``[S]``.
    """
    import jax
    import jax.numpy as jnp

    def back_up(_, values):
        return jnp.max(one_step_values(task, values), axis=-1)

    return jax.lax.fori_loop(0, horizon, back_up, jnp.zeros(task.reward.shape[0], jnp.float32))
