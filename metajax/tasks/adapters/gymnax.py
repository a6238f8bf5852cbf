"""Task families over gymnax environments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from metajax.core.family import Key, Spec, TaskFamily, TimeStep, Tree
from metajax.core.options import AtLeast, check_number
from metajax.tasks.adapters import gymnax_environment as build
from metajax.tasks.adapters.casts import cast, conform, replace, scalar
from metajax.tasks.auto_reset import time_step, with_auto_reset


class GymnaxTask(NamedTuple):
    """A task of a gymnax family.

    Attributes:
      params: ``EnvParams`` of the environment, with array leaves.
      fields: State fields that belong to the task, by name.
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

    A task is ``GymnaxTask(params, fields)``. The fields are drawn once per task and restored
    after every reset and step, so that a task stays fixed over all episodes of its trial;
    gymnax's own ``step`` would redraw them.

    Observations are float32, one-hot for a discrete space; rewards are float32 scalars.
    Actions are cast to the dtype of the environment and clipped to the bounds of the action
    space in the task. An episode that reaches a terminal state at the time limit counts as
    terminated, not as truncated.

    Args:
      env: gymnax environment, or the id of a registered one.
      sample_params: ``(key) -> EnvParams``, the parameters of a new task. Floats are rounded
        where the parameter is an integer, and booleans stay booleans, so all fields may be
        scaled alike. Default: the nominal parameters for every task.
      task_fields: Names of the state fields that ``reset_env`` draws although they belong to
        the task, such as the goal of PointRobot-misc. Default: the known fields of gymnax's
        own environments; ``()`` for none.
      params: Nominal parameters, the source of spaces and time limit. Default: those of the
        environment.
      episode_length: Time limit in steps, the same for all tasks. Default: the nominal
        ``max_steps_in_episode``.
      episodes_per_trial: Field of the ``Spec``.
      transform_observation: Function applied to every observation, for example to mask an
        observed goal or to merge several arrays into one.
      name: Field of the ``Spec``. Default: the name of the environment.

    Returns:
      The family.

    Raises:
      OptionError: A ``ValueError`` that names the argument: an unknown id or task field,
        parameters of another type, a missing time limit, an action space that is neither
        discrete nor a box, or an observation of several arrays.

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
    # A family may be built inside a trace, but its static parts must be concrete.
    with jax.ensure_compile_time_eval():
        env = build.environment(env)
        nominal = build.nominal_params(env, params, sample_params)
        episode_length = build.time_limit(nominal, episode_length, sample_params)
        action_space = build.action_space(env, nominal)
    nominal = build.limit_time(nominal, episode_length)
    fields = build.known_task_fields(env, task_fields)

    def draw_params(key):
        drawn = nominal if sample_params is None else sample_params(key)
        return conform(nominal, build.limit_time(drawn, episode_length))

    adapter = _Adapter(
        env,
        fields,
        draw_params,
        dtypes=build.state_dtypes(env, nominal, fields),
        encode=build.encoder(env, nominal, transform_observation),
    )
    first = jax.eval_shape(
        lambda key: adapter.reset(key, adapter.sample(key))[1], jax.random.key(0)
    )
    spec = Spec(
        name=env.name if name is None else name,
        observation_shape=first.observation.shape,
        action_space=action_space,
        episode_length=episode_length,
        episodes_per_trial=episodes_per_trial,
    )
    build.check_step(env, spec, adapter.sample, adapter.reset, adapter.advance)
    return with_auto_reset(spec, adapter.sample, adapter.reset, adapter.advance)


class _Adapter(NamedTuple):
    """The functions of a family over ``env``, from its settled arguments."""

    env: Any
    fields: tuple[str, ...]
    draw_params: Callable[[Key], Tree]
    dtypes: Tree  # of a state
    encode: Callable[[Any], jax.Array]

    def sample(self, key: Key) -> GymnaxTask:
        key_params, key_fields = jax.random.split(key)
        params = self.draw_params(key_params)
        if not self.fields:
            return GymnaxTask(params, {})
        state = cast(self.dtypes, self.env.reset_env(key_fields, params)[1])
        return GymnaxTask(params, {field: getattr(state, field) for field in self.fields})

    def reset(self, key: Key, task: GymnaxTask) -> tuple[Tree, TimeStep]:
        key_reset, key_observe = jax.random.split(key)
        raw, state = self.env.reset_env(key_reset, task.params)
        state, observation = self._restored(key_observe, task, raw, state, None)
        return state, time_step(observation)

    def advance(
        self, key: Key, task: GymnaxTask, state: Tree, action: jax.Array
    ) -> tuple[Tree, TimeStep]:
        env = self.env
        key_step, key_observe = jax.random.split(key)
        action = build.cast_action(env, task.params, action)
        raw, state, reward, terminated, _ = env.step_env(key_step, state, action, task.params)
        state, observation = self._restored(key_observe, task, raw, state, action)
        terminated = scalar(False if build.never_terminates(env) else terminated, bool)
        truncated = scalar(env.is_truncated(state, task.params), bool) & ~terminated
        reward = scalar(reward, jnp.float32)
        return state, time_step(observation, reward, terminated=terminated, truncated=truncated)

    def _restored(self, key, task, raw, state, action):
        """State with the fields of the task and settled dtypes, and its observation."""
        if self.fields:
            state = replace(state, **task.fields)
            raw = self.env.observe(key, state, action, task.params)
        return cast(self.dtypes, state), self.encode(raw)


def default_params(env: Any) -> Any:
    """The default ``EnvParams`` of a gymnax environment or id, a centre to draw tasks around."""
    with jax.ensure_compile_time_eval():
        return build.environment(env).default_params
