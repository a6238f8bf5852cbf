"""Multi-armed bandits: the environment shared by all bandit families."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from metajax.core.family import Discrete, Key, Spec, Tabular, TaskFamily
from metajax.tasks.auto_reset import time_step, with_auto_reset


class BanditTask(NamedTuple):
    """A bandit."""

    means: jax.Array  # float32 [A], expected reward of each arm


class BanditState(NamedTuple):
    """State of one episode."""

    time: jax.Array  # int32 scalar, pulls since the reset: 0 or 1


def bandit_family(
    *,
    name: str,
    num_arms: int,
    num_pulls: int,
    sample_means: Callable[[Key], jax.Array],
    draw: Callable[[Key, jax.Array], jax.Array],
    random_return: float,
    oracle_return: float,
    tabular: Tabular | None,
) -> TaskFamily:
    """A family of bandits with independent pulls.

    An episode is one pull, a trial ``num_pulls`` episodes. The observation is always
    ``[1.0]``. The pull *terminates* its episode, since there is no next state to bootstrap
    from; the flag is a constant, hence the same in all streams and tasks. An action
    outside the range of arms is clipped to the nearest arm.

    Args:
      name, random_return, oracle_return, tabular: Fields of the ``Spec``.
      num_arms: Number of arms, A.
      num_pulls: Pulls per trial.
      sample_means: ``(key) -> [A]``, the arm means of a new task.
      draw: ``(key, mean) -> scalar``, the reward of a pull of an arm with this mean.

    Returns:
      The family; tasks are ``BanditTask(means)``.
    """
    spec = Spec(
        name=name,
        observation_shape=(1,),
        action_space=Discrete(num_arms),
        episode_length=1,
        episodes_per_trial=num_pulls,
        random_return=random_return,
        oracle_return=oracle_return,
        optimal_return=lambda task: jnp.max(task.means),
        tabular=tabular,
        arms=lambda task: task.means,
    )

    def sample(key):
        return BanditTask(jnp.asarray(sample_means(key), jnp.float32))

    def reset(key, task):
        del key, task
        return BanditState(jnp.zeros((), jnp.int32)), time_step(jnp.ones(1, jnp.float32))

    def advance(key, task, state, action):
        reward = draw(key, task.means[jnp.clip(action, 0, num_arms - 1)])
        timestep = time_step(jnp.ones(1, jnp.float32), reward, terminated=True)
        return BanditState(state.time + 1), timestep

    return with_auto_reset(spec, sample, reset, advance)


def bernoulli(key: Key, mean: jax.Array) -> jax.Array:
    """A reward of 1 with probability ``mean``, else 0."""
    return (jax.random.uniform(key) < mean).astype(jnp.float32)
