"""The adapter against gymnax itself, and what it promises beyond gymnax."""

import dataclasses
import doctest
from typing import Any

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from gymnax import wrappers
from gymnax.environments import environment, spaces

import metajax.tasks.adapters.gymnax
from metajax import tasks
from metajax.core.family import Box, Discrete
from metajax.core.options import OptionError
from metajax.data.buffer import blank_step
from metajax.tasks.adapters import gymnax_environment as build
from metajax.tasks.adapters.gymnax import GymnaxTask, default_params, from_gymnax

# Options under which every one of them draws its task in reset.
DRAWS_ITS_TASK_IN_RESET = {
    "BernoulliBandit-misc": {},
    "DeepSea-bsuite": {"sample_action_map": True},
    "FourRooms-misc": {"resample_goal_pos": True},
    "GaussianBandit-misc": {},
    "MetaMaze-misc": {},
    "PointRobot-misc": {},
    "Reacher-misc": {},
    "SimpleBandit-bsuite": {},
    "Swimmer-misc": {},
}


@pytest.mark.parametrize("env_id", DRAWS_ITS_TASK_IN_RESET)
def test_the_task_never_changes_within_a_trial(env_id, key, jitted, random_walk):
    changes = DRAWS_ITS_TASK_IN_RESET[env_id]
    params = default_params(env_id).replace(**changes)
    # DeepSea's grid decides when its episode ends; the others end by the limit.
    episode_length = 8 if "DeepSea" in env_id else 3
    family = jitted(from_gymnax(env_id, params=params, episode_length=episode_length))
    task = family.sample(key)
    first, (states, timestep) = random_walk(family, key, task, 24)
    assert timestep.done.sum() >= 3
    assert task.fields
    for name, value in task.fields.items():
        np.testing.assert_array_equal(getattr(first[0], name), value)
        np.testing.assert_array_equal(
            getattr(states, name), np.broadcast_to(value, (24, *value.shape))
        )
    other = family.sample(jax.random.key(3))
    assert any(np.any(np.not_equal(other.fields[name], task.fields[name])) for name in task.fields)


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
def test_transitions_agree_with_gymnax(env_id, key, jitted, random_actions):
    env, params = gymnax.make(env_id)
    params = params.replace(max_steps_in_episode=60)
    family = jitted(from_gymnax(env_id, episode_length=60))
    task, advance = family.sample(key), family.advance
    _, state = env.reset(key, params)
    num_terminated = num_truncated = 0
    keys = jax.random.split(key, 130)
    for key_step, action in zip(keys, random_actions(family, 130), strict=True):
        ours, timestep = advance(key_step, task, state, action)
        _, state, reward, terminated, truncated, info = env.step(key_step, state, action, params)
        np.testing.assert_allclose(
            timestep.observation, info["final_observation"], rtol=1e-5, atol=1e-6
        )
        np.testing.assert_allclose(timestep.reward, reward, rtol=1e-5)
        assert bool(timestep.terminated) == bool(terminated)
        assert bool(timestep.truncated) == (bool(truncated) and not bool(terminated))
        if not timestep.done:
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), ours, state)
        num_terminated += int(terminated)
        num_truncated += int(truncated)
    assert num_truncated if env_id == "Pendulum-v1" else num_terminated


def test_cartpole_derives_masses_from_the_scaled_ones(key):
    family = tasks.make("cartpole", scale_range=(0.5, 2.0))
    batch = jax.jit(jax.vmap(family.sample))(jax.random.split(key, 200))
    params, default = jax.device_get(batch.params), default_params("CartPole-v1")
    np.testing.assert_allclose(params.total_mass, params.masscart + params.masspole, rtol=1e-6)
    np.testing.assert_allclose(params.polemass_length, params.masspole * params.length, rtol=1e-6)
    for name in ("gravity", "masscart", "masspole", "length", "force_mag"):
        scale = getattr(params, name) / getattr(default, name)
        assert 0.5 <= scale.min() < 0.6
        assert 1.9 < scale.max() <= 2.0
    assert (params.max_steps_in_episode == 200).all()
    assert family.spec.episode_length == 200
    np.testing.assert_array_equal(params.tau, np.float32(default.tau))


def test_mirrored_cartpole_swaps_the_actions_in_half_of_the_tasks(key):
    family = tasks.make("cartpole", mirrored=True)
    batch = jax.jit(jax.vmap(family.sample))(jax.random.split(key, 400))
    assert 0.4 < np.mean(np.asarray(batch.params.force_mag) < 0) < 0.6


def test_pendulum_clips_to_the_torque_of_the_task(jitted):
    family = jitted(tasks.make("pendulum", scale_range=(2.0, 2.0)))
    task = family.sample(jax.random.key(0))
    assert task.params.max_torque == 4
    assert task.params.g == 20
    state, _ = family.reset(jax.random.key(1), task)
    assert family.advance(jax.random.key(2), task, state, np.array([9.0]))[0].last_u == 4
    assert family.advance(jax.random.key(2), task, state, np.array([3.5]))[0].last_u == 3.5


def test_meta_maze_terminates_by_time_only(key, jitted, random_walk):
    """The goal is put where the agent starts: gymnax says terminated at once."""
    family = jitted(from_gymnax("MetaMaze-misc", episode_length=5))
    state, _ = family.reset(key, family.sample(key))
    task = family.sample(key)._replace(fields={"goal": state.pos})
    _, (_, timestep) = random_walk(family, key, task, 10)
    assert not timestep.terminated.any()
    np.testing.assert_array_equal(np.flatnonzero(timestep.truncated), [4, 9])


def test_discrete_observations_are_one_hot(jitted):
    family = jitted(from_gymnax("FrozenLake-misc"))
    assert family.spec.observation_shape == (16,)
    _, timestep = family.reset(jax.random.key(0), family.sample(jax.random.key(0)))
    np.testing.assert_array_equal(timestep.observation, np.eye(16)[0])


def test_transform_observation_masks_the_goal():
    family = from_gymnax("Reacher-misc", transform_observation=lambda observation: observation[:6])
    assert family.spec.observation_shape == (6,)
    assert family.spec.action_space == Box((-1.0, -1.0), (1.0, 1.0))


def test_actions_are_clipped_where_gymnax_does_not(jitted):
    family = jitted(from_gymnax("Reacher-misc"))
    task = family.sample(jax.random.key(0))
    state, _ = family.reset(jax.random.key(1), task)
    far = family.advance(jax.random.key(2), task, state, np.array([50.0, -50.0]))
    near = family.advance(jax.random.key(2), task, state, np.array([1.0, -1.0]))
    jax.tree.map(np.testing.assert_array_equal, far, near)


def test_scaled_parameters_keep_their_kinds(jitted):
    default = default_params("DeepSea-bsuite")

    def scale_everything(key):
        del key
        return jax.tree.map(lambda leaf: leaf * 1.3, default)

    family = jitted(from_gymnax("DeepSea-bsuite", sample_params=scale_everything, episode_length=8))
    params = family.sample(jax.random.key(0)).params
    assert params.deterministic.dtype == jnp.bool
    assert bool(params.deterministic)
    assert not params.sample_action_map
    np.testing.assert_allclose(params.unscaled_move_cost, 0.013, rtol=1e-6)

    chain = default_params("UmbrellaChain-bsuite")
    longer = from_gymnax(
        "UmbrellaChain-bsuite", sample_params=lambda key: chain.replace(chain_length=10 * 1.27)
    )
    length = longer.sample(jax.random.key(0)).params.chain_length
    assert length.dtype == jnp.int32
    assert length == 13


# --- An environment of a user's own ----------------------------------------------


@struct.dataclass
class WalkState(environment.EnvState):
    position: Any
    target: jax.Array


@struct.dataclass
class WalkParams(environment.EnvParams):
    stride: float = 1  # a whole number where a float is meant
    max_steps_in_episode: int = 7


@struct.dataclass
class NoLimitParams(environment.EnvParams):
    stride: float = 1.0


class Walk(environment.Environment):
    """Moves left or right; its state begins as an integer and goes on as a float."""

    parameters: Any = WalkParams()

    @property
    def default_params(self):
        return self.parameters

    def reset_env(self, key, params) -> Any:
        target = jax.random.choice(key, jnp.array([-3, 3]))
        state = WalkState(time=0, position=0, target=target)
        return self.observe(key, state, None, params), state

    def step_env(self, key, state, action, params):
        position = state.position + params.stride * (2 * action - 1)
        target = state.target + 100  # a step that disturbs the task
        state = WalkState(time=state.time + 1, position=position, target=target)
        reward = jnp.abs(position) < 5
        return self.observe(key, state, action, params), state, reward, jnp.array([False]), {}

    def observe(self, key, state, action, params):
        return {"position": jnp.array([state.position]), "target": jnp.array([state.target])}

    def action_space(self, params=None) -> Any:
        return spaces.Discrete(2)


class NoLimitWalk(Walk):
    parameters = NoLimitParams()


class Nothing(environment.Environment):
    """An environment of which nothing is written yet."""


class FourValues(Walk):
    def step_env(self, key, state, action, params) -> Any:
        return super().step_env(key, state, action, params)[:4]


class MultiAction(Walk):
    def action_space(self, params=None):
        return spaces.Tuple((spaces.Discrete(2), spaces.Discrete(2)))


def _flatten(observation):
    return jnp.concatenate([observation["position"], observation["target"]])


@struct.dataclass
class CountState(environment.EnvState):
    position: int
    target: jax.Array


class Counter(environment.Environment):
    """Counts up by its action, from a state of Python numbers, towards a target of the task."""

    @property
    def default_params(self) -> Any:
        return WalkParams()

    def reset_env(self, key, params) -> Any:
        state: Any = CountState(time=0, position=0, target=jax.random.uniform(key))
        return self.get_obs(state), state

    def step_env(self, key, state, action, params) -> Any:
        time = state.time + 1
        moved = state.position.astype(jnp.int32) + jnp.sum(action).astype(jnp.int32)
        state = CountState(time=time, position=moved, target=state.target)
        return self.get_obs(state), state, self.reward(time), self.done(state, params), {}

    def get_obs(self, state) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return jnp.stack([jnp.asarray(state.position), jnp.asarray(state.time)]).astype(jnp.uint8)

    def reward(self, time) -> Any:
        return 1.0

    def done(self, state, params) -> Any:
        return jnp.array(False)

    def action_space(self, params=None) -> Any:
        return spaces.Discrete(3)

    def observation_space(self, params=None) -> Any:
        return spaces.Box(0, 255, (2,), jnp.uint8)


class Acting(Counter):
    """A counter with another action space."""

    def __init__(self, space):
        self.space = space

    def action_space(self, params=None):
        return self.space


class DoneAtLimit(Counter):
    """An environment as it was written before gymnax 1.0."""

    def done(self, state, params):
        return (state.position > 3) | (state.time >= params.max_steps_in_episode)


class DoneAtSeven(Counter):
    """The same with a limit of its own, that of ``WalkParams``."""

    def done(self, state, params):
        return state.time >= 7


class DoneEarly(Counter):
    """An environment that time alone ends, but never at its limit."""

    def done(self, state, params):
        return state.time >= 5


class TwoRewards(Counter):
    def reward(self, time):
        return jnp.ones(2)


@struct.dataclass
class SizedParams(WalkParams):
    size: int = struct.field(pytree_node=False, default=5)


class Sized(Counter):
    @property
    def default_params(self):
        return SizedParams()


def test_an_environment_of_a_users_own(jitted, random_walk):
    family = from_gymnax(
        Walk(),
        sample_params=lambda key: Walk.parameters.replace(
            stride=jax.random.uniform(key, minval=0.5)
        ),
        task_fields=("target",),
        transform_observation=_flatten,
        name="walk",
    )
    assert family.spec.name == "walk"
    assert family.spec.observation_shape == (2,)
    assert family.spec.episode_length == 7
    assert family.spec.action_space == Discrete(2)
    family = jitted(family)
    task = jax.device_get(family.sample(jax.random.key(0)))
    assert isinstance(task, GymnaxTask)
    assert 0.5 <= task.params.stride < 1, "a float parameter must not be rounded"
    _, (states, timestep) = random_walk(family, jax.random.key(1), task, 20)
    assert states.position.dtype == jnp.float32
    assert (states.target == task.fields["target"]).all()
    assert (timestep.final_observation[:, 1] == task.fields["target"]).all()
    np.testing.assert_array_equal(np.flatnonzero(timestep.truncated), [6, 13])
    assert (timestep.reward == 1).any()
    assert timestep.reward.dtype == jnp.float32


class Timeless(Walk):
    def step_env(self, key, state, action, params):
        raw, after, reward, done, info = super().step_env(key, state, action, params)
        return raw, dataclasses.replace(after, time=state.time), reward, done, info


def test_an_environment_that_does_not_count_its_steps_is_refused():
    with pytest.raises(OptionError, match=r"Timeless leaves state\.time as it is in step_env"):
        from_gymnax(Timeless(), transform_observation=_flatten)


def test_families_may_be_built_while_something_is_traced():
    @jax.jit
    def observe(key):
        family = from_gymnax(Walk(), task_fields=("target",), transform_observation=_flatten)
        return family.reset(key, family.sample(key))[1].observation

    assert observe(jax.random.key(0)).shape == (2,)


@pytest.mark.parametrize(
    ("env", "options", "words"),
    [
        ("CartPole-v2", {}, ["env", '"CartPole-v2"', "did you mean CartPole-v1?"]),
        (3, {}, ["env: 3", "gymnax environment"]),
        (Walk, {}, ["env", "an instance of"]),
        (
            "PointRobot-misc",
            {"task_fields": ("gaol",)},
            ["task_fields", "did you mean goal?", "last_action"],
        ),
        ("PointRobot-misc", {"task_fields": "goal"}, ["task_fields", "tuple"]),
        (
            "CartPole-v1",
            {"sample_params": lambda key: {"gravity": 9.0}},
            ["sample_params", "returns a dict", "cartpole.EnvParams"],
        ),
        ("CartPole-v1", {"sample_params": 3}, ["sample_params", "3", "function"]),
        (
            "CartPole-v1",
            {
                "sample_params": lambda key: default_params("CartPole-v1").replace(
                    max_steps_in_episode=9
                )
            },
            ["sample_params", "to 9", "500", "give episode_length"],
        ),
        ("CartPole-v1", {"episode_length": 0}, ["episode_length", "0", "at least 1"]),
        ("CartPole-v1", {"episodes_per_trial": 0}, ["episodes_per_trial", "at least 1"]),
        (NoLimitWalk(), {"transform_observation": _flatten}, ["episode_length", "is missing"]),
        (Walk(), {}, ["transform_observation", "2 arrays"]),
        (Nothing(), {}, ["env", "Nothing lacks reset_env, step_env, action_space, observe"]),
        (FourValues(), {}, ["env", "step_env returns 4 values", "five, observation, state"]),
        (MultiAction(), {}, ["env", "action space", "Discrete or Box"]),
        (Acting(spaces.Discrete(0)), {}, ["env", "Discrete(0", "at least one action"]),
        (Acting(spaces.Box(1.0, -1.0, (2,))), {}, ["env", "Box(low=1.0", "in order"]),
        (Acting(spaces.Box(jnp.zeros(3), 1.0, (2,))), {}, ["env", "Box(low=[0", "its shape"]),
        (Acting(spaces.Box(0.0, 1.0, (0,))), {}, ["env", "at least one number"]),
        (TwoRewards(), {}, ["env", "its reward has the shape (2,)", "a single number"]),
        (
            Sized(),
            {"sample_params": lambda key: SizedParams(size=9)},
            ["sample_params", "changes size from 5 to 9", "that of params"],
        ),
        (
            Sized(),
            {"sample_params": lambda key: SizedParams(size=int(jax.random.randint(key, (), 2, 9)))},
            ["sample_params", "needs the value of what it draws", "can be compiled"],
        ),
    ],
)
def test_wrong_arguments_are_named(env, options, words):
    with pytest.raises(OptionError) as error:
        from_gymnax(env, **options)
    for word in words:
        assert word in str(error.value)


def test_a_missing_limit_can_be_given():
    family = from_gymnax(NoLimitWalk(), episode_length=4, transform_observation=_flatten)
    assert family.sample(jax.random.key(0)).params.max_steps_in_episode == 4


def test_the_docstring_example_runs():
    assert doctest.testmod(metajax.tasks.adapters.gymnax).failed == 0


@struct.dataclass
class _BareParams:
    stride: float = 1.0


class _BareWalk(Walk):
    parameters: Any = _BareParams()


def test_parameters_that_gymnax_cannot_step_with_are_named():
    with pytest.raises(OptionError) as caught:
        from_gymnax(_BareWalk(), episode_length=5, transform_observation=_flatten)
    assert "env: _BareWalk cannot take a step" in str(caught.value)
    assert "extend gymnax's EnvState and EnvParams" in str(caught.value)


# --- Environments written for other versions, wrappers and spaces ----------------------


def _episode(family, num_steps, action):
    """States and timesteps of an action taken again and again, ``[T, ...]``."""

    @jax.jit
    def walk(key):
        task = family.sample(key)
        state, _ = family.reset(key, task)

        def step(state, key):
            after = family.advance(key, task, state, jnp.asarray(action))
            return after[0], after

        return jax.lax.scan(step, state, jax.random.split(key, num_steps))[1]

    return jax.device_get(walk(jax.random.key(0)))


@pytest.mark.parametrize("env", [DoneAtLimit(), DoneAtSeven()])
def test_what_is_done_at_its_limit_is_truncated_there(env):
    """A constant reward would otherwise be worth less the nearer the limit is."""
    with pytest.warns(UserWarning, match=r"done at its time limit.* done_at_limit=True"):
        family = from_gymnax(env)
    _, timestep = _episode(family, 7, 0)
    np.testing.assert_array_equal(timestep.truncated, np.arange(7) == 6)
    assert not timestep.terminated.any()


def test_a_limit_can_be_said_to_be_terminal_or_not(recwarn):
    for given in (True, False):
        family = from_gymnax(DoneAtLimit(), done_at_limit=given)
        _, timestep = _episode(family, 7, 0)
        assert timestep.truncated[6] == given
        assert timestep.terminated[6] == (not given)
    _, timestep = _episode(family, 2, 2)
    np.testing.assert_array_equal(timestep.terminated, [False, True])
    assert not timestep.truncated.any()
    assert not [one for one in recwarn if one.category is UserWarning]


@pytest.mark.parametrize("env", [Counter(), DoneEarly(), "MemoryChain-bsuite"])
def test_other_ends_are_left_alone(env, recwarn):
    from_gymnax(env)
    assert not [one for one in recwarn if one.category is UserWarning]


def test_observations_keep_their_dtype_and_old_ones_their_task():
    """Observed by the ``get_obs`` of old, which knows the state alone, whose task is kept."""
    family = from_gymnax(Counter(), task_fields=("target",))
    assert family.spec.observation_dtype == "uint8"
    assert blank_step(family.spec).observation.dtype == jnp.uint8
    state, timestep = _episode(family, 2, 2)
    np.testing.assert_array_equal(timestep.observation, np.array([[2, 1], [4, 2]]))
    assert timestep.observation.dtype == np.uint8
    task = jax.jit(family.sample)(jax.random.key(0))
    np.testing.assert_array_equal(state.target, task.fields["target"])


def test_integer_actions_are_rounded_within_their_bounds():
    space = spaces.Box(-2, jnp.array([1, 5]), (2,), jnp.int32)
    family = from_gymnax(Acting(space))
    assert family.spec.action_space == Box((-2.0, -2.0), (1.0, 5.0))
    state, _ = _episode(family, 2, np.array([9.0, 3.6], np.float32))
    np.testing.assert_array_equal(state.position, [1 + 4, 2 * (1 + 4)])
    taken = build.cast_action(Acting(space), None, jnp.zeros(2))
    assert taken.dtype == jnp.int32


def test_wrappers_change_single_transitions():
    """Not the environment alone, and without the reset that they would add."""
    pong = wrappers.FlattenObservationWrapper(gymnax.make("Catch-bsuite")[0])
    assert from_gymnax(pong).spec.observation_shape == (50,)
    point = gymnax.make("PointRobot-misc")[0]
    (logged, timestep), (state, expected) = (
        _episode(from_gymnax(wrapper(point), episode_length=2), 2, np.array([0.05, 0], np.float32))
        for wrapper in (wrappers.LogWrapper, wrappers.LegacyStepAPIWrapper)
    )
    jax.tree.map(np.testing.assert_array_equal, timestep, expected)
    jax.tree.map(np.testing.assert_array_equal, logged.env_state, state)
    np.testing.assert_array_equal(timestep.truncated, [False, True])
    np.testing.assert_array_equal(state.time, [1, 2])
    np.testing.assert_array_equal(logged.returned_episode_lengths, [0, 2])
    assert (state.goal[0] == state.goal[1]).all()


def test_a_sticky_action_is_the_one_before():
    sticky = wrappers.StickyActionWrapper(Counter(), sticky_action_prob=1.0)
    state, _ = _episode(from_gymnax(sticky), 2, 2)
    np.testing.assert_array_equal(state.env_state.position, 0)


def test_wrappers_of_other_libraries_are_named():
    with pytest.raises(OptionError, match=r"env: .*GymnaxToDmEnvWrapper.* allowed: "):
        from_gymnax(wrappers.GymnaxToDmEnvWrapper(Counter()))
    with pytest.raises(OptionError, match=r"env: .*GymnaxToGymWrapper.* is not a gymnax"):
        from_gymnax(wrappers.GymnaxToGymWrapper(Counter()))


@pytest.mark.parametrize("env_id", ["MetaMaze-misc", "GaussianBandit-misc"])
def test_environments_of_gymnax_work_in_float64(env_id, x64):
    """Some of which mix the default width of numbers with 32 bits."""
    family = from_gymnax(env_id, episode_length=3)

    def first(key):
        task = family.sample(key)
        return family.step(key, task, family.reset(key, task)[0], jnp.int32(1))[1]

    timestep = jax.eval_shape(first, jax.random.key(0))
    assert timestep.reward.dtype == timestep.observation.dtype == jnp.float32
