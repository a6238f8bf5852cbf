"""Single transitions of a gymnax environment, inside its wrappers or without any."""

from __future__ import annotations

import contextlib
import inspect
from typing import Any

import jax
from gymnax.environments.environment import Environment
from gymnax.wrappers import LegacyStepAPIWrapper

from metajax.core.family import Key, Tree
from metajax.tasks.adapters.casts import cast, replace, scalar

# MetaMaze teleports the agent off the goal before it checks for termination, so it reports
# random positions that happen to be the goal.
_NEVER_TERMINATES = frozenset({"MetaMaze-misc"})


class Transitions:
    """An environment whose ``step`` does not reset, and keeps what belongs to the task.

    ``reset`` and ``step`` have the form of ``Environment``, so that wrappers can call them.

    Args:
      env: The environment, without wrappers.
      fields: Names of the state fields that belong to the task. With any of them the parameters
        that ``reset`` and ``step`` take are a ``GymnaxTask``.
      dtypes: Those of a state.
      done_at_limit: Whether the ``done`` of ``step_env`` is true at the time limit as well.
    """

    def __init__(
        self, env: Any, fields: tuple[str, ...], dtypes: Tree, done_at_limit: bool
    ) -> None:
        self.env, self.fields, self.dtypes = env, fields, dtypes
        self.done_at_limit = done_at_limit

    def __getattr__(self, name: str) -> Any:
        return getattr(self.env, name)

    def drawn(self, key: Key, params: Tree) -> dict[str, Tree]:
        """The fields of a new task."""
        if not self.fields:
            return {}
        with width(self.env):
            state = cast(self.dtypes, self.env.reset_env(key, params)[1])
        return {field: getattr(state, field) for field in self.fields}

    def reset(self, key: Key, params: Any) -> tuple[Any, Tree]:
        """The first observation of an episode, and its state."""
        key_reset, key_observe = jax.random.split(key)
        with width(self.env):
            raw, state = self.env.reset_env(key_reset, self._own(params))
            return self._restored(key_observe, raw, state, None, params)

    def step(self, key: Key, state: Tree, action: jax.Array, params: Any) -> tuple[Any, ...]:
        """``(observation, state, reward, terminated, truncated, info)``, before any reset."""
        key_step, key_observe = jax.random.split(key)
        own = self._own(params)
        with width(self.env):
            raw, state, reward, done, info = self.env.step_env(key_step, state, action, own)
            raw, state = self._restored(key_observe, raw, state, action, params)
        done = scalar(False if self.env.name in _NEVER_TERMINATES else done, bool)
        limit = scalar(self.env.is_truncated(state, own), bool)
        terminated = done & ~limit if self.done_at_limit else done
        truncated = limit & ~terminated
        ends = {"terminated": terminated, "truncated": truncated}
        info = {**info, **ends, "final_observation": raw}
        return raw, state, reward, terminated, truncated, info

    def params_of(self, task: Any) -> Any:
        """What ``reset`` and ``step`` take as the parameters of a ``GymnaxTask``."""
        return task if self.fields else task.params

    def _own(self, params: Any) -> Any:
        return params.params if self.fields else params

    def _restored(
        self, key: Key, raw: Any, state: Tree, action: jax.Array | None, params: Any
    ) -> tuple[Any, Tree]:
        """Observation and state, with the dtypes settled and the fields those of the task."""
        if not self.fields:
            return raw, cast(self.dtypes, state)
        state = cast(self.dtypes, replace(state, **params.fields))
        return observation(self.env, key, state, action, params.params), state


def is_of_gymnax(env: Any) -> bool:
    """Whether an environment, without wrappers, is one of gymnax itself."""
    return type(env).__module__.startswith("gymnax.")


def width(env: Any) -> Any:
    """The widths of numbers that an environment works with, as a context.

    Those of gymnax itself, some of which mix widths, work with 32 bits alone.
    """
    return jax.enable_x64(False) if is_of_gymnax(env) else contextlib.nullcontext()


def observation(env: Any, key: Key, state: Tree, action: jax.Array | None, params: Any) -> Any:
    """The observation of a state, from ``observe`` or from a ``get_obs`` of any age."""
    if defines(env, "observe"):
        return env.observe(key, state, action, params)
    taken = inspect.signature(env.get_obs).parameters
    known = {"params": params, "key": key}
    return env.get_obs(state, **{name: known[name] for name in taken if name in known})


def defines(env: Any, method: str) -> bool:
    """Whether the class of ``env`` overrides ``method`` of the base class."""
    return getattr(type(env), method, None) is not getattr(Environment, method, None)


def is_wrapper(env: Any) -> bool:
    """Whether ``env`` changes ``reset`` and ``step`` of another one, as gymnax's wrappers do."""
    return not hasattr(type(env), "step_env") and "_env" in vars(env) and hasattr(env, "step_env")


def unwrapped(env: Any) -> Any:
    """The environment inside all wrappers."""
    return unwrapped(env._env) if is_wrapper(env) else env


def rewrapped(env: Any, inside: Any) -> Any:
    """The wrappers of ``env`` around another environment.

    A wrapper that joins both ends of an episode in one flag is left out.
    """
    if not is_wrapper(env):
        return inside
    inside = rewrapped(env._env, inside)
    if isinstance(env, LegacyStepAPIWrapper):
        return inside
    # copy.copy asks for attributes that a wrapper without contents looks up for ever.
    wrapper = object.__new__(type(env))
    vars(wrapper).update(vars(env), _env=inside)
    return wrapper
