"""Building blocks of families: time steps, and a ``step`` that resets itself."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from metajax.core.family import Key, Restarts, Spec, TaskFamily, TimeStep, Tree


def time_step(
    observation: jax.Array,
    reward: jax.Array | float = 0.0,
    *,
    terminated: jax.Array | bool = False,
    truncated: jax.Array | bool = False,
) -> TimeStep:
    """The result of ``advance`` or, by default, of ``reset``, before any auto-reset.

    Args:
      observation: ``[O]``, also the final observation.
      reward: Scalar, cast to float32.
      terminated, truncated: Bool scalars.
    """
    reward = jnp.asarray(reward, jnp.float32)
    ends = jnp.asarray(terminated, bool), jnp.asarray(truncated, bool)
    return TimeStep(observation, reward, *ends, final_observation=observation)


def or_restart(
    state: Tree, timestep: TimeStep, first_state: Tree, first: TimeStep
) -> tuple[Tree, TimeStep]:
    """The result of a step, with state and observation of a reset if the episode ended.

    Args:
      state, timestep: Result of ``TaskFamily.advance``.
      first_state, first: Result of ``TaskFamily.reset``.
    """

    # lax.select, unlike jnp.where, refuses to promote: an environment that changes the dtype
    # of its state fails here and not in the scan around it.
    def select(fresh: jax.Array, ended: jax.Array) -> jax.Array:
        return jax.lax.select(timestep.done, fresh, ended)

    next_state = jax.tree.map(select, first_state, state)
    observation = jax.tree.map(select, first.observation, timestep.observation)
    return next_state, timestep._replace(observation=observation)


def with_auto_reset(
    spec: Spec,
    sample: Callable[[Key], Tree],
    reset: Callable[[Key, Tree], tuple[Tree, TimeStep]],
    advance: Callable[[Key, Tree, Tree, jax.Array], tuple[Tree, TimeStep]],
    *,
    restarts: Restarts = "step",
    oracle: Callable[[Tree, Tree], jax.Array] | None = None,
) -> TaskFamily:
    """A ``TaskFamily`` with a ``step`` that starts the next episode of the same task.

    ``step`` computes a reset at every step and selects, because ``vmap`` evaluates both
    sides of a condition anyway. A reset that draws random numbers can cost more than the
    step itself; code that needs a single episode should call ``advance``. A deterministic
    reset is free.

    Args:
      spec: Static description of the family.
      sample: ``(key) -> task``.
      reset: ``(key, task) -> (state, timestep)``.
      advance: ``(key, task, state, action) -> (state, timestep)``, one transition without
        any reset. State and timestep must keep the shapes and dtypes that ``reset`` returns.
      restarts: When lifetimes and continuing trials draw the first state of the next episode;
        see ``TaskFamily``.
      oracle: ``(task, state) -> action``, optimal for who sees the task.

    Returns:
      The family. ``step`` splits its key in two and passes the first half to ``advance``.
    """

    def step(key, task, state, action):
        key_advance, key_reset = jax.random.split(key)
        state, timestep = advance(key_advance, task, state, action)
        first_state, first = reset(key_reset, task)
        return or_restart(state, timestep, first_state, first)

    return TaskFamily(spec, sample, reset, step, advance, restarts, oracle)
