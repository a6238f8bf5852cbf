"""The rule of methods that plan at the start of each episode and then keep to the plan."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from metajax.core.family import Discrete, Key, Spec
from metajax.inner.classical.scoring import Rule
from metajax.inner.classical.tabular import Counts, count, no_counts

Plan = Callable[[Key | None, Counts], jax.Array]


class PlannerMemory(NamedTuple):
    """What a planner carries through a trial.

    Attributes:
      counts: the statistics of the trial.
      state: int32, where the last action was taken.
      time: int32, steps since the start of the episode.
      value: ``[H, S, A]``, the action values of the plan for this episode.
    """

    counts: Counts
    state: jax.Array
    time: jax.Array
    value: jax.Array


def episodic_planner(spec: Spec, plan: Plan, *, random: bool = False) -> Rule:
    """Rates actions by a plan that is made anew at the start of each episode.

    Args:
      spec: of a family with ``tabular``.
      plan: ``(key, counts) -> [H, S, A]``, action values at all times of an episode.
      random: whether the plan uses its key, which is None otherwise.
    """
    assert spec.tabular is not None
    assert isinstance(spec.action_space, Discrete)
    num_states, num_actions = spec.tabular.num_states, spec.action_space.num_actions
    horizon = spec.episode_length

    def memory():
        value = jnp.zeros((horizon, num_states, num_actions))
        zero = jnp.zeros((), jnp.int32)
        return PlannerMemory(no_counts(num_states, num_actions), zero, zero, value)

    def score(noise, memory, seen):
        state = jnp.argmax(seen.observation).astype(jnp.int32)
        counts = count(
            memory.counts, memory.state, seen.last_action, seen.last_reward, state, seen.start
        )
        key = noise if random else None
        # A branch that is really taken or not: where no episode ends early, its condition
        # is the same in all streams and tasks, and stays a scalar under vmap.
        value = jax.lax.cond(
            seen.start, lambda counts: plan(key, counts), lambda counts: memory.value, counts
        )
        time = jnp.where(seen.start, 0, memory.time + 1)
        return value[time, state], PlannerMemory(counts, state, time, value)

    return Rule(memory, score, (lambda key: key) if random else None)
