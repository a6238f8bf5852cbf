"""Random Markov decision processes with few states."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Annotated, NamedTuple

from metajax.core.options import Above, Below, Count, Options

if TYPE_CHECKING:
    import jax

    from metajax.core.types import TaskFamily

REWARD_STD = 1.0


class TabularTask(NamedTuple):
    """A Markov decision process that starts every episode in state 0.

    Attributes:
      transition: float32 ``[S, A, S]``, probabilities of the next state.
      reward: float32 ``[S, A]``, the expected reward of an action in a state.
    """

    transition: jax.Array
    reward: jax.Array


class TabularState(NamedTuple):
    """The state of one episode.

    Attributes:
      state: int32 scalar, ``0 .. S - 1``.
      time: int32 scalar, steps since the reset.
    """

    state: jax.Array
    time: jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class TabularMdp(Options):
    """Options of ``tabular-mdp``.

    The next state after each state and action is drawn from probabilities that are
    Dirichlet(1, ..., 1). The reward is Gaussian around the mean of that state and
    action, and the means are Gaussian around ``reward_mean``, both with standard
    deviation 1. Every episode starts in state 0, and only the time limit ends it: a
    truncation. Actions outside the space are clipped to the nearest.

    Follows Duan et al. 2016, "RL2: fast reinforcement learning via slow reinforcement
    learning", section 3.2.

    Attributes:
      num_states: S; an observation is one-hot of that length.
      num_actions: A.
      episode_length: time limit in steps.
      num_episodes: episodes of a trial.
      reward_mean: what the mean rewards of all tasks are drawn around.
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

        from metajax.core.types import Discrete, Spec, Tabular, TimeStep
        from metajax.tasks.auto_reset import with_auto_reset

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
            # Exponentials divided by their sum are Dirichlet(1, ..., 1).
            weights = jax.random.exponential(key_transition, (*shape, self.num_states), jnp.float32)
            transition = weights / jnp.sum(weights, axis=-1, keepdims=True)
            deviation = jax.random.normal(key_reward, shape, jnp.float32)
            return TabularTask(transition, self.reward_mean + deviation)

        def reset(key, task):
            del key, task
            zero, no = jnp.zeros((), jnp.int32), jnp.zeros((), bool)
            first = observe(zero)
            timestep = TimeStep(first, jnp.zeros((), jnp.float32), no, no, first)
            return TabularState(zero, zero), timestep

        def advance(key, task, state, action):
            action = jnp.clip(action, 0, self.num_actions - 1)
            # Both draws at once: half the price of splitting the key.
            draw = jax.random.normal(key, (2,), jnp.float32)
            reward = task.reward[state.state, action] + REWARD_STD * draw[0]
            below = jnp.cumsum(task.transition[state.state, action])[:-1]
            next_state = jnp.sum(jax.scipy.stats.norm.cdf(draw[1]) >= below, dtype=jnp.int32)
            time = state.time + 1
            seen, no = observe(next_state), jnp.zeros((), bool)
            timestep = TimeStep(seen, reward, no, time >= self.episode_length, seen)
            return TabularState(next_state, time), timestep

        return with_auto_reset(spec, sample, reset, advance)


def one_step_values(task: TabularTask, values: jax.Array) -> jax.Array:
    """``r(s, a) + sum_s' P(s' | s, a) V(s')``, ``[S, A]`` for values ``[S]``."""
    import jax.numpy as jnp

    # A sum, not a product of matrices, which need not be exact in float32: equal actions
    # must come out equal.
    return task.reward + jnp.sum(task.transition * values, axis=-1)


def optimal_values(task: TabularTask, horizon: int) -> jax.Array:
    """Expected return of the best policy that knows the task, from each state.

    Backward induction: ``V_h(s) = max_a r(s, a) + sum_s' P(s' | s, a) V_(h-1)(s')``
    with ``V_0 = 0``.

    Args:
      task: with S states and A actions.
      horizon: steps that are left.

    Returns:
      float32 ``[S]``, undiscounted.
    """
    import jax
    import jax.numpy as jnp

    def back_up(_, values):
        return jnp.max(one_step_values(task, values), axis=-1)

    return jax.lax.fori_loop(0, horizon, back_up, jnp.zeros(task.reward.shape[0], jnp.float32))
