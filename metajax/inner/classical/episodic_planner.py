"""Episodic planning: a rule that plans at the start of each episode and follows the plan."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from metajax.core.family import Discrete, Key, Spec
from metajax.inner.classical.scoring import Rule
from metajax.inner.classical.tabular import Counts, count, no_counts

Plan = Callable[[Key | None, Counts], jax.Array]


class PlannerMemory(NamedTuple):
    """Memory of a planner in one stream.

    Attributes:
      counts: Statistics of the trial.
      state: int32 scalar, state of the last action.
      time: int32 scalar, steps since the start of the episode.
      value: ``[H, S, A]``, action values of the plan for the current episode.
    """

    counts: Counts
    state: jax.Array
    time: jax.Array
    value: jax.Array


def episodic_planner(spec: Spec, plan: Plan, *, random: bool = False) -> Rule:
    """A rule that scores actions by a plan made at the start of each episode.

    Args:
      spec: Spec of a family with ``tabular``.
      plan: ``(key, counts) -> [H, S, A]``, action values at all times of an episode.
      random: Whether the plan uses its key; a deterministic plan gets None.
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
        # If no episode ends early, the condition is the same in all streams and tasks and
        # stays a scalar under vmap, so that only one branch runs.
        value = jax.lax.cond(
            seen.start, lambda counts: plan(key, counts), lambda counts: memory.value, counts
        )
        time = jnp.where(seen.start, 0, memory.time + 1)
        return value[time, state], PlannerMemory(counts, state, time, value)

    return Rule(memory, score, (lambda key: key) if random else None)
