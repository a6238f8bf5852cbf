"""Any gymnax environment as a task family."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from metajax.core.options import AtLeast, check_number
from metajax.core.types import Key, Spec, TaskFamily, TimeStep, Tree
from metajax.tasks.adapters import gymnax_environment as build
from metajax.tasks.adapters.casts import cast, conform, replace, scalar
from metajax.tasks.auto_reset import with_auto_reset


class GymnaxTask(NamedTuple):
    """A task of a family from gymnax.

    Attributes:
      params: the environment's ``EnvParams``, every leaf an array.
      fields: the state fields that belong to the task, by name.
    """

    params: Tree
    fields: dict[str, Tree]


def from_gymnax(
    env: Any,
    *,
    sample_params: Callable[[Key], Any] | None = None,
    task_fields: Sequence[str] | None = None,
    params: Any = None,
    episode_length: int | None = None,
    episodes_per_trial: int = 1,
    transform_observation: Callable[[Any], jax.Array] | None = None,
    name: str | None = None,
) -> TaskFamily:
    """A task family over a gymnax environment.

    A task is ``GymnaxTask(params, fields)``. The fields are drawn once, with the
    task, and put back after every reset and step, so a task stays what it is over
    all episodes of its trial; gymnax's own ``step`` would redraw them.

    Observations are float32, those of a discrete space one-hot; rewards are float32
    scalars; actions are cast to what the environment takes and clipped to the
    bounds that its action space has in the task. An episode that ends in a
    terminal state at the time limit counts as terminated only.

    Args:
      env: a gymnax environment, or the id of a registered one.
      sample_params: ``(key) -> EnvParams``. Floats are rounded where the parameter
        is an integer and booleans stay booleans, so all fields may be scaled alike.
        By default every task has the same parameters.
      task_fields: names of the state fields that ``reset_env`` draws though they
        belong to the task, like the goal of PointRobot-misc. Known by default for
        gymnax's own environments; ``()`` for none.
      params: the nominal parameters, from which spaces and the time limit are read;
        by default the environment's.
      episode_length: time limit in steps; by default the nominal
        ``max_steps_in_episode``. It belongs to the family: tasks do not differ in it.
      episodes_per_trial: for the ``Spec``.
      transform_observation: applied to every observation, to mask a goal it shows
        or to make one array of several.
      name: for the ``Spec``; by default the environment's.

    Returns:
      The family.

    Raises:
      OptionError: a ``ValueError`` that names the argument, for an unknown id or
        task field, parameters of another type, a missing time limit, an action
        space that is neither discrete nor a box, or several arrays an observation.

    Examples:
      >>> import jax
      >>> from metajax.tasks.adapters.gymnax import default_params, from_gymnax
      >>> default = default_params("CartPole-v1")
      >>> family = from_gymnax(
      ...     "CartPole-v1",
      ...     sample_params=lambda key: default.replace(
      ...         gravity=jax.random.uniform(key, minval=5.0, maxval=15.0)
      ...     ),
      ...     episode_length=100,
      ... )
      >>> task = family.sample(jax.random.key(0))
      >>> state, timestep = family.reset(jax.random.key(1), task)
      >>> timestep.observation.shape
      (4,)
    """
    check_number("episodes_per_trial", episodes_per_trial, AtLeast(1))
    # A family may be built while something is traced; what is static may not be.
    with jax.ensure_compile_time_eval():
        env = build.environment(env)
        nominal = build.nominal_params(env, params, sample_params)
        episode_length = build.time_limit(nominal, episode_length, sample_params)
        action_space = build.action_space(env, nominal)
    nominal = build.limit_time(nominal, episode_length)
    fields = build.known_task_fields(env, task_fields)
    dtypes = build.state_dtypes(env, nominal, fields)
    encode = build.encoder(env, nominal, transform_observation)

    def sample(key):
        key_params, key_fields = jax.random.split(key)
        drawn = nominal if sample_params is None else sample_params(key_params)
        drawn = conform(nominal, build.limit_time(drawn, episode_length))
        if not fields:
            return GymnaxTask(drawn, {})
        state = cast(dtypes, env.reset_env(key_fields, drawn)[1])
        return GymnaxTask(drawn, {field: getattr(state, field) for field in fields})

    def settle(key, task, raw, state, action):
        """Puts the task back into the state; then the dtypes and the observation."""
        if fields:
            state = replace(state, **task.fields)
            raw = env.observe(key, state, action, task.params)
        return cast(dtypes, state), encode(raw)

    def reset(key, task):
        key_reset, key_observe = jax.random.split(key)
        raw, state = env.reset_env(key_reset, task.params)
        state, observation = settle(key_observe, task, raw, state, None)
        no = jnp.zeros((), bool)
        return state, TimeStep(observation, jnp.zeros((), jnp.float32), no, no, observation)

    def advance(key, task, state, action):
        key_step, key_observe = jax.random.split(key)
        action = build.cast_action(env, task.params, action)
        raw, state, reward, terminated, _ = env.step_env(key_step, state, action, task.params)
        state, observation = settle(key_observe, task, raw, state, action)
        terminated = scalar(False if build.never_terminates(env) else terminated, bool)
        truncated = scalar(env.is_truncated(state, task.params), bool) & ~terminated
        reward = scalar(reward, jnp.float32)
        return state, TimeStep(observation, reward, terminated, truncated, observation)

    first = jax.eval_shape(lambda key: reset(key, sample(key))[1], jax.random.key(0))
    spec = Spec(
        name=env.name if name is None else name,
        observation_shape=first.observation.shape,
        action_space=action_space,
        episode_length=episode_length,
        episodes_per_trial=episodes_per_trial,
    )
    build.check_step(env, spec, sample, reset, advance)
    return with_auto_reset(spec, sample, reset, advance)


def default_params(env: Any) -> Any:
    """The default ``EnvParams`` of a gymnax environment or id, to draw tasks around."""
    with jax.ensure_compile_time_eval():
        return build.environment(env).default_params
