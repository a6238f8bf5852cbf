"""Static checks and facts of a gymnax environment, for ``from_gymnax``.

Every function here runs once, when a family is built, and raises an ``OptionError`` that
names the argument of ``from_gymnax`` at fault.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
from gymnax.environments.environment import Environment

from metajax.core.family import Box, Discrete, Key, Spec, Tree
from metajax.core.options import AtLeast, OptionError, check, check_number, suggest
from metajax.tasks.adapters.casts import common_dtypes, conform, field_names, replace, scalar

SampleParams = Callable[[Key], Any]

# State fields that gymnax draws in reset although they define the task.
_TASK_FIELDS: dict[str, tuple[str, ...]] = {
    "BernoulliBandit-misc": ("reward_probs", "exp_reward_best"),
    "DeepSea-bsuite": ("action_mapping",),
    "FourRooms-misc": ("goal",),
    "GaussianBandit-misc": ("mu",),
    "MetaMaze-misc": ("goal",),
    "PointRobot-misc": ("goal",),
    "Reacher-misc": ("goal_xy",),
    "SimpleBandit-bsuite": ("rewards",),
    "Swimmer-misc": ("goal_xy", "urchin_xys"),
}

# MetaMaze teleports the agent off the goal before it checks for termination, so it reports
# random positions that happen to be the goal.
_NEVER_TERMINATES = frozenset({"MetaMaze-misc"})


def environment(env: Any) -> Any:
    """The environment of a gymnax id, or ``env`` itself once checked."""
    if isinstance(env, str):
        known = gymnax.registered_envs
        if env not in known:
            raise OptionError(
                "env",
                f'"{env}" is not an id of gymnax; {suggest(env, known)}allowed: {", ".join(known)}',
            )
        return _make(env)
    wanted = ("reset_env", "step_env", "observe", "is_truncated", "action_space")
    if isinstance(env, type) or not all(hasattr(env, method) for method in wanted):
        raise OptionError(
            "env",
            f"{env!r} is not a gymnax environment; allowed: an instance of "
            "gymnax.environments.environment.Environment, or the id of a registered one",
        )
    # The base class defines every method, some of them only to raise.
    own = ("reset_env", "step_env", "action_space")
    missing = [name for name in own if not _defines(env, name)]
    if not (_defines(env, "observe") or _defines(env, "get_obs")):
        missing.append("observe")
    if missing:
        raise OptionError(
            "env",
            f"{type(env).__name__} lacks {', '.join(missing)}; allowed: an environment with "
            "reset_env, step_env, observe and action_space of its own",
        )
    return env


def _defines(env: Any, method: str) -> bool:
    """Whether the class of ``env`` overrides ``method`` of the base class."""
    return getattr(type(env), method, None) is not getattr(Environment, method, None)


@functools.cache
def _make(env_id: str) -> Any:
    # gymnax compiles anew for every instance, so each id gets a single one, of concrete arrays
    # even inside a trace.
    with jax.ensure_compile_time_eval():
        return gymnax.make(env_id)[0]


def never_terminates(env: Any) -> bool:
    """Whether to ignore the ``terminated`` flag of the environment."""
    return env.name in _NEVER_TERMINATES


def nominal_params(env: Any, params: Any, sample_params: SampleParams | None) -> Any:
    """Parameters that give the type, time limit and spaces common to all tasks."""
    nominal = env.default_params if params is None else params
    if sample_params is not None:
        check(callable(sample_params), "sample_params", sample_params, "a function (key) -> params")
        drawn = sample_params(jax.random.key(0))
        if not isinstance(drawn, type(nominal)):
            raise OptionError(
                "sample_params",
                f"returns a {type(drawn).__name__}; allowed: {type(nominal).__module__}."
                f"{type(nominal).__qualname__}, for example default_params(env).replace(...)",
            )
        # An environment without default_params of its own returns the bare base class.
        nominal = nominal if type(drawn) is type(nominal) else drawn
    if not dataclasses.is_dataclass(nominal):
        return nominal
    # A field such as ``length: float = 1`` must not be rounded when it is scaled.
    floats = {
        field.name: float(getattr(nominal, field.name))
        for field in dataclasses.fields(nominal)
        if field.type in (float, "float") and type(getattr(nominal, field.name)) is int
    }
    return replace(nominal, **floats)


def time_limit(nominal: Any, episode_length: int | None, sample_params: SampleParams | None) -> int:
    """Time limit in steps: ``episode_length`` if given, else that of the parameters."""
    if episode_length is not None:
        check_number("episode_length", episode_length, AtLeast(1))
        return int(episode_length)
    limit = getattr(nominal, "max_steps_in_episode", None)
    # The base class of all parameters has the placeholder 1, a limit that nobody set.
    placeholder = gymnax.EnvParams.__dataclass_fields__["max_steps_in_episode"]
    fields = getattr(nominal, "__dataclass_fields__", {})
    inherited = fields.get("max_steps_in_episode") is placeholder and limit == placeholder.default
    if limit is None or inherited:
        raise OptionError(
            "episode_length",
            f"is missing, and {type(nominal).__name__} sets no max_steps_in_episode; "
            "allowed: a number of steps",
        )
    if sample_params is not None:
        drawn = int(sample_params(jax.random.key(0)).max_steps_in_episode)
        if drawn != int(limit):
            raise OptionError(
                "sample_params",
                f"sets max_steps_in_episode to {drawn}, the nominal params to {int(limit)}; the "
                "time limit belongs to the family: give episode_length to set it",
            )
    return int(limit)


def limit_time(params: Any, episode_length: int) -> Any:
    """``params`` with the given time limit, as a float where the environment uses a float."""
    if not hasattr(params, "max_steps_in_episode"):
        return params
    is_float = isinstance(params.max_steps_in_episode, float)
    return replace(
        params, max_steps_in_episode=float(episode_length) if is_float else episode_length
    )


def action_space(env: Any, params: Any) -> Discrete | Box:
    """The action space under the nominal parameters."""
    space = env.action_space(params)
    if hasattr(space, "n"):
        return Discrete(int(space.n))
    if not (hasattr(space, "low") and hasattr(space, "high")):
        raise OptionError(
            "env", f"has the action space {space!r}; allowed: a Discrete or Box of gymnax"
        )
    low, high = (np.broadcast_to(np.asarray(b), space.shape) for b in (space.low, space.high))
    return Box(tuple(low.ravel().tolist()), tuple(high.ravel().tolist()))


def cast_action(env: Any, params: Any, action: jax.Array) -> jax.Array:
    """An action for ``step_env``: int32, or float32 clipped to the bounds of the task."""
    space = env.action_space(params)
    if hasattr(space, "n"):
        return scalar(action, jnp.int32)
    action = jnp.reshape(jnp.asarray(action, jnp.float32), space.shape)
    return jnp.clip(action, space.low, space.high).astype(jnp.float32)


def encoder(
    env: Any, params: Any, transform: Callable[[Any], jax.Array] | None
) -> Callable[[Any], jax.Array]:
    """The function ``raw observation -> float32 array``."""
    try:
        num_categories = getattr(env.observation_space(params), "n", None)
    except NotImplementedError:
        num_categories = None

    def encode(raw):
        if num_categories is not None:
            raw = jax.nn.one_hot(raw, num_categories)
        raw = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), raw)
        observation = raw if transform is None else transform(raw)
        if not jax.tree_util.all_leaves([observation]):
            raise OptionError(
                "transform_observation",
                f"an observation has {len(jax.tree.leaves(observation))} arrays; "
                "allowed: a function that makes one of them",
            )
        return jnp.asarray(observation, jnp.float32)

    return encode


def check_step(env: Any, spec: Spec, sample: Any, reset: Any, advance: Any) -> None:
    """Traces one step of a family.

    Raises:
      OptionError: If the environment lacks a field that gymnax reads in a step, or does not
        count its steps.
    """

    def after(key, **changes):
        task = sample(key)
        space = spec.action_space
        discrete = isinstance(space, Discrete)
        action = jnp.zeros((), jnp.int32) if discrete else jnp.zeros(space.size)
        state, _ = reset(key, task)
        return advance(key, task, replace(state, **changes), action)[0]

    key = jax.random.key(0)
    try:
        state = jax.eval_shape(after, key)
    except AttributeError as error:
        raise OptionError(
            "env",
            f"{type(env).__name__} cannot take a step ({error}); allowed: a state with time and "
            "parameters with max_steps_in_episode, as those that extend gymnax's EnvState and "
            "EnvParams have, or an is_truncated of its own that reads neither",
        ) from error
    if type(env).is_truncated is not Environment.is_truncated:
        return
    program = jax.make_jaxpr(lambda time: after(key, time=time).time)(state.time).jaxpr
    if program.outvars[0] is program.invars[0]:
        raise OptionError(
            "env",
            f"{type(env).__name__} leaves state.time as it is in step_env, so that no time limit "
            "is ever reached; allowed: time=state.time + 1 in the state that it returns, or an "
            "is_truncated of its own",
        )


def known_task_fields(env: Any, task_fields: Sequence[str] | None) -> tuple[str, ...]:
    """``task_fields`` if given, else those known for the environments of gymnax."""
    if isinstance(task_fields, str):
        raise OptionError("task_fields", f'"{task_fields}" is a string; allowed: a tuple of them')
    return _TASK_FIELDS.get(env.name, ()) if task_fields is None else tuple(task_fields)


def state_dtypes(env: Any, params: Any, task_fields: tuple[str, ...]) -> Tree:
    """Dtypes of a state, the same after a reset and after a step.

    States of gymnax start as Python numbers and may continue with another dtype; each leaf
    gets the promoted one.
    """

    def both(key, params, action):
        _, first = env.reset_env(key, params)
        stepped = env.step_env(key, first, cast_action(env, params, action), params)
        if len(stepped) != 5:
            raise OptionError(
                "env",
                f"its step_env returns {len(stepped)} values; allowed: five, observation, state, "
                "reward, terminated and info",
            )
        return first, stepped[1]

    shape = env.action_space(params).shape
    first, second = jax.eval_shape(
        both, jax.random.key(0), conform(params, params), jax.ShapeDtypeStruct(shape, jnp.float32)
    )
    names = field_names(first)
    for field in task_fields:
        if field not in names:
            raise OptionError(
                "task_fields",
                f'"{field}" is not a field of the state; {suggest(field, names)}'
                f"allowed: {', '.join(names)}",
            )
    if jax.tree.structure(first) != jax.tree.structure(second):
        raise OptionError(
            "env",
            f"its state has another structure after step_env ({jax.tree.structure(second)}) "
            f"than after reset_env ({jax.tree.structure(first)})",
        )
    return common_dtypes(first, second)
