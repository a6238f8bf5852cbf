"""Task families over gymnax environments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from metajax.core.family import Key, Spec, TaskFamily, TimeStep, Tree
from metajax.core.options import AtLeast, check_number
from metajax.tasks.adapters import gymnax_environment as build
from metajax.tasks.adapters.casts import conform, scalar
from metajax.tasks.adapters.transitions import Transitions, rewrapped, unwrapped, width
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
    done_at_limit: bool | None = None,
    name: str | None = None,
) -> TaskFamily:
    """A task family over a gymnax environment.

    A task is ``GymnaxTask(params, fields)``. The fields are drawn once per task and restored
    after every reset and step, so that a task stays fixed over all episodes of its trial;
    gymnax's own ``step`` would redraw them.

    Observations keep their dtype, but float64 becomes float32, and those of a discrete space are
    one-hot. Rewards are float32 scalars. Actions are clipped to the bounds of the action space in
    the task, rounded where it is one of integers, and cast to its dtype. An episode that reaches a
    terminal state at the time limit counts as terminated, not as truncated.

    Args:
      env: gymnax environment, or the id of a registered one. It may be inside wrappers that have
        the form of ``gymnax.wrappers.LogWrapper``, which then see single transitions.
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
      done_at_limit: Whether the environment says that it is done at its time limit as well, as was
        the rule before gymnax 1.0. An episode that is done at the limit then counts as truncated.
        Default: found out by a step at the limit, with a warning if so.
      name: Field of the ``Spec``. Default: the name of the environment.

    Returns:
      The family.

    Raises:
      OptionError: A ``ValueError`` that names the argument: an unknown id or task field,
        parameters of another type or other static fields, a missing time limit, an action space
        that is neither discrete nor a box, a reward of several numbers, or an observation of
        several arrays.

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
        plain = unwrapped(env)
        with width(plain):
            nominal = build.nominal_params(env, params, sample_params)
        episode_length = build.time_limit(nominal, episode_length, sample_params)
        action_space = build.action_space(env, nominal)
    build.check_static_fields(nominal, sample_params)
    nominal = build.limit_time(nominal, episode_length)
    fields = build.known_task_fields(plain, task_fields)
    dtypes = build.state_dtypes(plain, nominal, fields)
    build.check_time(plain, nominal, dtypes)
    if done_at_limit is None:
        with jax.ensure_compile_time_eval():
            limit = plain, nominal, dtypes, episode_length
            done_at_limit = build.finds_done_at_limit(*limit)

    def draw_params(key):
        drawn = nominal if sample_params is None else sample_params(key)
        with width(plain):
            return conform(nominal, build.limit_time(drawn, episode_length))

    inside = Transitions(plain, fields, dtypes, done_at_limit)
    encode = build.encoder(env, nominal, transform_observation)
    adapter = _Adapter(inside, rewrapped(env, inside), draw_params, encode)
    functions = adapter.sample, adapter.reset, adapter.advance
    observed = build.observed(env, action_space, *functions)
    adapter = adapter._replace(encode=lambda raw: jnp.asarray(encode(raw), observed.dtype))
    spec = Spec(
        name=env.name if name is None else name,
        observation_shape=observed.shape,
        action_space=action_space,
        episode_length=episode_length,
        episodes_per_trial=episodes_per_trial,
        observation_dtype=observed.dtype.name,
    )
    return with_auto_reset(spec, adapter.sample, adapter.reset, adapter.advance)


class _Adapter(NamedTuple):
    """The functions of a family, from the settled arguments."""

    inside: Transitions
    env: Any  # ``inside`` in its wrappers
    draw_params: Callable[[Key], Tree]
    encode: Callable[[Any], jax.Array]

    def sample(self, key: Key) -> GymnaxTask:
        key_params, key_fields = jax.random.split(key)
        params = self.draw_params(key_params)
        return GymnaxTask(params, self.inside.drawn(key_fields, params))

    def reset(self, key: Key, task: GymnaxTask) -> tuple[Tree, TimeStep]:
        raw, state = self.env.reset(key, self.inside.params_of(task))
        return state, time_step(self.encode(raw))

    def advance(
        self, key: Key, task: GymnaxTask, state: Tree, action: jax.Array
    ) -> tuple[Tree, TimeStep]:
        action = build.cast_action(self.env, task.params, action)
        raw, state, reward, terminated, truncated, _ = self.env.step(
            key, state, action, self.inside.params_of(task)
        )
        ends = {"terminated": terminated, "truncated": truncated}
        return state, time_step(self.encode(raw), scalar(reward, jnp.float32), **ends)


def default_params(env: Any) -> Any:
    """The default ``EnvParams`` of a gymnax environment or id, a centre to draw tasks around."""
    with jax.ensure_compile_time_eval():
        return build.environment(env).default_params
