"""What every registered environment must keep to, and gymnax families with quirks too."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metajax import tasks
from metajax.core.family import Discrete, TaskFamily
from metajax.tasks import from_gymnax

SHORT = 6
# Where the number of states is the length of an episode.
SIZES = {"xu-chain": {"num_states": SHORT}}
# What of the state a family keeps at the end of an episode.
KEPT = {"two-colours": ("steps",), "two-step": ("rich",)}
# Families whose size is their episode length.
SMALL = {"catch": {"rows": SHORT + 1}, "deep-sea": {"size": SHORT}}
FROM_GYMNAX = ("BernoulliBandit-misc", "FourRooms-misc", "FrozenLake-misc", "UmbrellaChain-bsuite")
ENVIRONMENTS = [
    name
    for name in tasks.list()
    if not tasks.FAMILIES.get(name).__module__.startswith("metajax.tasks.supervised")
]


@pytest.fixture(scope="module", params=[*ENVIRONMENTS, *FROM_GYMNAX])
def family(request, jitted) -> TaskFamily:
    """The family with episodes of 6 steps at most, so that short walks see several."""
    if request.param in tasks.list():
        options = {field.name for field in dataclasses.fields(tasks.FAMILIES.get(request.param))}
        short = {"episode_length": SHORT} if "episode_length" in options else {}
        short |= SMALL.get(request.param, {})
        return jitted(tasks.make(request.param, **short, **SIZES.get(request.param, {})))
    return jitted(from_gymnax(request.param, episode_length=SHORT))


def _zero_action(family):
    space = family.spec.action_space
    return np.int32(0) if isinstance(space, Discrete) else np.zeros(space.size, np.float32)


def _signature(tree):
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype, leaf.weak_type), tree)


def test_reset_and_step_have_the_same_shapes_and_strong_dtypes(family, key):
    task = jax.eval_shape(family.sample, key)
    first = jax.eval_shape(family.reset, key, task)
    stepped = jax.eval_shape(family.step, key, task, first[0], _zero_action(family))
    advanced = jax.eval_shape(family.advance, key, task, first[0], _zero_action(family))

    assert _signature(first) == _signature(stepped) == _signature(advanced)
    assert not any(leaf.weak_type for leaf in jax.tree.leaves((task, first)))
    timestep = first[1]
    assert timestep.observation.shape == family.spec.observation_shape
    assert timestep.final_observation.shape == family.spec.observation_shape
    assert timestep.observation.dtype == family.spec.observation_dtype
    assert timestep.reward.dtype == jnp.float32
    assert timestep.terminated.dtype == timestep.truncated.dtype == jnp.bool
    assert timestep.reward.shape == timestep.terminated.shape == timestep.truncated.shape == ()


def test_steps_can_be_scanned_and_mapped_over_tasks(family, key):
    def walk(key, task):
        def body(state, key):
            return family.step(key, task, state, _zero_action(family))

        return jax.lax.scan(body, family.reset(key, task)[0], jax.random.split(key, 4))[1]

    keys = jax.random.split(key, 3)
    timestep = jax.eval_shape(lambda: jax.vmap(walk)(keys, jax.vmap(family.sample)(keys)))
    assert timestep.observation.shape == (3, 4, *family.spec.observation_shape)
    assert timestep.reward.shape == (3, 4)


def test_a_walk_over_several_episodes(family, key, random_walk):
    length = family.spec.episode_length
    assert length <= SHORT
    num_steps = 3 * length + 2
    (_, first), (state, timestep) = random_walk(family, key, family.sample(key), num_steps)

    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((first, timestep)))
    assert first.reward == 0
    assert not first.done
    assert timestep.done.sum() >= 3, "a limit of n steps ends 3 episodes in 3 n"
    assert np.diff(np.flatnonzero(timestep.done), prepend=-1).max() <= length
    assert not (timestep.terminated & timestep.truncated).any()
    moved_on = (timestep.observation != timestep.final_observation).reshape(num_steps, -1).any(-1)
    assert not (moved_on & ~timestep.done).any()
    assert (state.time[timestep.done] == 0).all()


def test_step_is_advance_until_the_end_and_then_reset(family, key, random_actions):
    task = family.sample(key)
    key_advance, key_reset = jax.random.split(key)
    state, _ = family.reset(key, task)
    for action in random_actions(family, SHORT):
        next_state, timestep = family.advance(key_advance, task, state, action)
        expected = next_state, timestep
        if timestep.done:
            first_state, first = family.reset(key_reset, task)
            kept = {name: getattr(next_state, name) for name in KEPT.get(family.spec.name, ())}
            first_state = first_state._replace(**kept) if kept else first_state
            expected = first_state, timestep._replace(observation=first.observation)
        stepped = family.step(key, task, state, action)
        # Two programs may round differently.
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), stepped, expected)
        if timestep.done:
            return
        state = next_state
    pytest.fail(f"no episode ended within {SHORT} steps")


def test_one_trace_for_all_tasks_and_states(family, key):
    traces = []

    @jax.jit
    def step(key, task, state, action):
        traces.append(1)
        return family.step(key, task, state, action)

    task = jax.eval_shape(family.sample, key)
    state, _ = jax.eval_shape(family.reset, key, task)
    for _ in range(3):
        state, _ = jax.eval_shape(step, key, task, state, _zero_action(family))
    assert len(traces) == 1


def test_sampling_is_determined_by_the_key(family, key):
    one, same = (jax.device_get(family.sample(jax.random.key(1))) for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, one, same)
    # More than one other, since some families have two tasks only.
    different = [
        bool((a != b).any())
        for seed in range(2, 12)
        for a, b in zip(
            *map(jax.tree.leaves, (one, jax.device_get(family.sample(jax.random.key(seed))))),
            strict=True,
        )
    ]
    has_one_task = family.spec.name in (
        "FourRooms-misc",
        "FrozenLake-misc",
        "UmbrellaChain-bsuite",
        "xu-chain",
    )
    assert any(different) or has_one_task


def test_one_task_alone_equals_it_in_a_batch(family, key):
    keys = jax.random.split(key, 3)
    batch = jax.device_get(jax.vmap(family.sample)(keys))
    alone = family.sample(keys[1])
    jax.tree.map(lambda b, a: np.testing.assert_allclose(b[1], a, rtol=1e-6), batch, alone)
