"""What the families of bandits have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from metajax.core.family import Discrete, Key, Spec, Tabular, TaskFamily, TimeStep
from metajax.tasks.auto_reset import with_auto_reset


class BanditTask(NamedTuple):
    """A bandit.

    Attributes:
      means: float32 ``[A]``, the expected reward of each arm.
    """

    means: jax.Array


class BanditState(NamedTuple):
    """The state of one pull.

    Attributes:
      time: int32 scalar, steps since the reset.
    """

    time: jax.Array


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
    """Independent pulls of arms: an episode is one pull, a trial ``num_pulls``.

    The observation is always ``[1.0]``. An episode *terminates* after its pull, since
    nothing follows that one could bootstrap from; being a constant, the end is the
    same in all streams and tasks. Actions outside the arms are clipped to the nearest.

    Args:
      name, random_return, oracle_return, tabular: for the ``Spec``.
      num_arms: A.
      num_pulls: episodes of a trial.
      sample_means: ``(key) -> [A]``, the means of a task.
      draw: ``(key, mean) -> scalar``, the reward of an arm with that mean.

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
    )

    def sample(key):
        return BanditTask(jnp.asarray(sample_means(key), jnp.float32))

    def reset(key, task):
        del key, task
        seen, no = jnp.ones(1, jnp.float32), jnp.zeros((), bool)
        timestep = TimeStep(seen, jnp.zeros((), jnp.float32), no, no, seen)
        return BanditState(jnp.zeros((), jnp.int32)), timestep

    def advance(key, task, state, action):
        arm = jnp.clip(action, 0, num_arms - 1)
        reward = jnp.asarray(draw(key, task.means[arm]), jnp.float32)
        seen, yes, no = jnp.ones(1, jnp.float32), jnp.ones((), bool), jnp.zeros((), bool)
        return BanditState(state.time + 1), TimeStep(seen, reward, yes, no, seen)

    return with_auto_reset(spec, sample, reset, advance)


def bernoulli(key: Key, mean: jax.Array) -> jax.Array:
    """1 with probability ``mean``, else 0."""
    return (jax.random.uniform(key) < mean).astype(jnp.float32)
