"""Static checks and facts of a gymnax environment, for ``from_gymnax``.

Every function here runs once, when a family is built, and raises an ``OptionError`` that
names the argument of ``from_gymnax`` at fault.
"""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
from gymnax.environments.environment import Environment

from metajax.core.family import Box, Discrete, Key, Tree
from metajax.core.options import AtLeast, OptionError, check, check_number, suggest
from metajax.tasks.adapters.casts import cast, common_dtypes, conform, field_names, replace, scalar
from metajax.tasks.adapters.transitions import defines, is_of_gymnax, is_wrapper, unwrapped, width

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
    own, plain = ("reset_env", "step_env", "action_space"), unwrapped(env)
    missing = [name for name in own if not defines(plain, name)]
    if not (defines(plain, "observe") or defines(plain, "get_obs")):
        missing.append("observe")
    if missing:
        raise OptionError(
            "env",
            f"{type(plain).__name__} lacks {', '.join(missing)}; allowed: an environment with "
            "reset_env, step_env, observe and action_space of its own",
        )
    return env


@functools.cache
def _make(env_id: str) -> Any:
    # gymnax compiles anew for every instance, so each id gets a single one, of concrete arrays
    # even inside a trace.
    with jax.ensure_compile_time_eval(), jax.enable_x64(False):
        return gymnax.make(env_id)[0]


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


def check_static_fields(nominal: Any, sample_params: SampleParams | None) -> None:
    """Raises OptionError for drawn parameters that a compiled program could not take."""
    if sample_params is None:
        return
    try:
        drawn = jax.eval_shape(sample_params, jax.random.key(0))
    except (
        jax.errors.ConcretizationTypeError,
        jax.errors.TracerArrayConversionError,
        jax.errors.TracerIntegerConversionError,
    ) as error:
        first = str(error).strip().splitlines()[0]
        raise OptionError(
            "sample_params",
            f"needs the value of what it draws ({first[:200]}); allowed: a function that can be "
            "compiled, whose draws decide numbers in arrays and nothing else",
        ) from error
    if jax.tree.structure(drawn) == jax.tree.structure(nominal):
        return
    changes = [
        f"{name} from {getattr(nominal, name)!r} to {getattr(drawn, name)!r}"
        for name in field_names(nominal)
        if jax.tree.structure(getattr(drawn, name)) != jax.tree.structure(getattr(nominal, name))
        or (_is_static(nominal, name) and getattr(drawn, name) != getattr(nominal, name))
    ]
    raise OptionError(
        "sample_params",
        f"changes {', '.join(changes)[:200] or 'the structure of the parameters'}, which programs "
        "are compiled for; allowed: the same for all tasks, that of params",
    )


def _is_static(params: Any, name: str) -> bool:
    """Whether a field of flax's dataclasses is no leaf of the tree."""
    fields = getattr(params, "__dataclass_fields__", {})
    return name in fields and not fields[name].metadata.get("pytree_node", True)


def action_space(env: Any, params: Any) -> Discrete | Box:
    """The action space under the nominal parameters."""
    space = env.action_space(params)
    if hasattr(space, "n"):
        check(space.n >= 1, "env", space, "an action space of at least one action")
        return Discrete(int(space.n))
    if not (hasattr(space, "low") and hasattr(space, "high")):
        raise OptionError(
            "env", f"has the action space {space!r}; allowed: a Discrete or Box of gymnax"
        )
    try:
        low, high = (np.broadcast_to(np.asarray(b), space.shape) for b in (space.low, space.high))
    except ValueError:
        low, high = np.ones(1), np.zeros(1)
    if not low.size or not np.all(low <= high):
        raise OptionError(
            "env",
            f"has the action space {space!r}; allowed: a Box of at least one number, whose bounds "
            "have its shape and are in order",
        )
    return Box(tuple(low.ravel().tolist()), tuple(high.ravel().tolist()))


def cast_action(env: Any, params: Any, action: jax.Array) -> jax.Array:
    """An action for ``step_env``, within the bounds of the task and in the dtype of the space."""
    space = env.action_space(params)
    dtype = jax.dtypes.canonicalize_dtype(space.dtype)
    if hasattr(space, "n"):
        return scalar(action, dtype)
    action = jnp.reshape(jnp.asarray(action, jnp.float32), space.shape)
    if not jnp.issubdtype(dtype, jnp.floating):
        action = jnp.round(action)
    return jnp.clip(action, space.low, space.high).astype(dtype)


def encoder(
    env: Any, params: Any, transform: Callable[[Any], jax.Array] | None
) -> Callable[[Any], jax.Array]:
    """The function ``raw observation -> array``."""
    try:
        num_categories = getattr(env.observation_space(params), "n", None)
    except (NotImplementedError, AssertionError):  # unknown, or not for a wrapper's
        num_categories = None

    def encode(raw):
        if num_categories is not None:
            raw = jax.nn.one_hot(raw, num_categories)
        raw = jax.tree.map(jnp.asarray, raw)
        observation = raw if transform is None else transform(raw)
        if not jax.tree_util.all_leaves([observation]):
            raise OptionError(
                "transform_observation",
                f"an observation is a tree of {len(jax.tree.leaves(observation))} arrays; "
                "allowed: a function that makes one array of them",
            )
        return jnp.asarray(observation)

    return encode


def observed(env: Any, space: Discrete | Box, sample: Any, reset: Any, advance: Any) -> Any:
    """Shape and dtype of the observations of a family over ``env``, from a traced step.

    Raises:
      OptionError: If the environment lacks a field that gymnax reads in a step.
    """

    def both(key):
        task = sample(key)
        state, first = reset(key, task)
        action = jnp.zeros(space.size) if isinstance(space, Box) else jnp.zeros((), jnp.int32)
        return first.observation, advance(key, task, state, action)[1].observation

    try:
        first, second = jax.eval_shape(both, jax.random.key(0))
    except AttributeError as error:
        raise OptionError(
            "env",
            f"{type(unwrapped(env)).__name__} cannot take a step ({error}); allowed: a state with "
            "time and parameters with max_steps_in_episode, as those that extend gymnax's EnvState "
            "and EnvParams have, or an is_truncated of its own that reads neither",
        ) from error
    except (TypeError, ValueError) as error:
        if not is_wrapper(env):
            raise
        first_line = str(error).strip().splitlines()[0]
        raise OptionError(
            "env",
            f"{type(env).__name__} is a wrapper of another form ({first_line[:150]}); allowed: one "
            "whose reset and step take and return what those of gymnax.wrappers.LogWrapper do",
        ) from error
    if first.shape != second.shape:
        raise OptionError(
            "env",
            f"its observations have shape {second.shape} after step_env, but {first.shape} after "
            "reset_env; allowed: one shape",
        )
    dtype = common_dtypes(first, second)
    return jax.ShapeDtypeStruct(first.shape, jnp.float32 if dtype == jnp.float64 else dtype)


def check_time(env: Any, params: Any, dtypes: Tree) -> None:
    """Raises OptionError for an environment that does not count its steps."""
    if type(env).is_truncated is not Environment.is_truncated or not hasattr(dtypes, "time"):
        return

    def after(time):
        key = jax.random.key(0)
        state = replace(cast(dtypes, env.reset_env(key, params)[1]), time=time)
        return env.step_env(key, state, _some_action(env, params, key), params)[1].time

    with width(env):
        program = jax.make_jaxpr(after)(jax.ShapeDtypeStruct((), dtypes.time)).jaxpr
    if program.outvars[0] is program.invars[0]:
        raise OptionError(
            "env",
            f"{type(env).__name__} leaves state.time as it is in step_env, so that no time limit "
            "is ever reached; allowed: time=state.time + 1 in the state that it returns, or an "
            "is_truncated of its own",
        )


def finds_done_at_limit(env: Any, params: Any, dtypes: Tree, limit: int) -> bool:
    """Whether ``step_env`` says that it is done at the time limit, and for no other reason.

    It does if it is done in the last step before the limit, but neither a step earlier nor with a
    later limit. Warns if so. The environments of gymnax itself never do.
    """
    counts = hasattr(dtypes, "time") and hasattr(params, "max_steps_in_episode")
    own = type(env).is_truncated is not Environment.is_truncated
    if own or not counts or is_of_gymnax(env):
        return False

    def done(key, time, last):
        now = conform(params, limit_time(params, last))
        key_reset, key_action, key_step = jax.random.split(key, 3)
        state = cast(dtypes, env.reset_env(key_reset, now)[1])
        state = replace(state, time=jnp.asarray(time, dtypes.time))
        action = _some_action(env, now, key_action)
        return scalar(env.step_env(key_step, state, action, now)[3], bool)

    def differs(key):
        sooner, later = done(key, limit - 2, limit), done(key, limit - 1, limit + 1)
        return done(key, limit - 1, limit) & ~(sooner & later)

    keys = jax.random.split(jax.random.key(0), 4)
    found = bool(jnp.any(jax.jit(jax.vmap(differs))(keys)))
    if found:
        warnings.warn(
            f"{type(env).__name__} says that it is done at its time limit, as before gymnax 1.0; "
            "the ends of its episodes there count as truncated. To silence this, return in "
            "step_env whether the state is terminal, or give done_at_limit=True; "
            "done_at_limit=False counts them as terminal",
            stacklevel=3,
        )
    return found


def _some_action(env: Any, params: Any, key: Key) -> jax.Array:
    return cast_action(env, params, env.action_space(params).sample(key))


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
        first = jax.tree.map(jnp.asarray, env.reset_env(key, params)[1])
        stepped = env.step_env(key, first, cast_action(env, params, action), params)
        if len(stepped) != 5:
            raise OptionError(
                "env",
                f"its step_env returns {len(stepped)} values; allowed: five, observation, state, "
                "reward, terminated and info",
            )
        for name, value in (("reward", stepped[2]), ("terminated", stepped[3])):
            if jnp.size(value) != 1:
                raise OptionError(
                    "env",
                    f"its {name} has the shape {jnp.shape(value)}; allowed: a single number",
                )
        return first, stepped[1]

    shape = env.action_space(params).shape
    action = jax.ShapeDtypeStruct(shape, jnp.float32)
    with width(env):
        first, second = jax.eval_shape(both, jax.random.key(0), conform(params, params), action)
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
