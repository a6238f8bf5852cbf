"""Families from three functions: the step that resets itself is derived."""

from __future__ import annotations

from collections.abc import Callable

import jax

from metajax.core.family import Key, Restarts, Spec, TaskFamily, TimeStep, Tree


def or_restart(
    state: Tree, timestep: TimeStep, first_state: Tree, first: TimeStep
) -> tuple[Tree, TimeStep]:
    """What a step led to or, where it ended the episode, the start of the next one."""

    # lax.select, unlike jnp.where, refuses to promote: an environment whose
    # state changes its dtype fails here and not in the scan around it.
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
) -> TaskFamily:
    """A ``TaskFamily`` whose ``step`` starts the next episode of the same task.

    ``step`` computes a reset at every step and selects, since under ``vmap``
    both sides of a condition run anyway. Where the reset draws random numbers
    that can cost more than the step itself, so code that needs one episode only
    should use ``advance``. A reset without randomness costs nothing.

    Args:
      spec: what is static about the family.
      sample: ``(key) -> task``.
      reset: ``(key, task) -> (state, timestep)``.
      advance: ``(key, task, state, action) -> (state, timestep)``, one transition
        without any reset. States and timesteps must have the shapes and dtypes
        of those that ``reset`` returns.
      restarts: When lifetimes and continuing trials draw the first state of the next episode;
        see ``TaskFamily``.

    Returns:
      The family. Its ``step`` splits the key it is given: ``advance`` receives
      the first half.
    """

    def step(key, task, state, action):
        key_advance, key_reset = jax.random.split(key)
        state, timestep = advance(key_advance, task, state, action)
        first_state, first = reset(key_reset, task)
        return or_restart(state, timestep, first_state, first)

    return TaskFamily(spec, sample, reset, step, advance, restarts)
