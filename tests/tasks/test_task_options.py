"""Names and options of families: answered at once, and in words."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metajax import tasks
from metajax.core.family import TaskFamily
from metajax.core.options import OptionError


def test_list_names_what_make_builds():
    assert {"cartpole", "pendulum", "point-navigation", "sparse-point-robot"} <= {*tasks.list()}
    for name in ("point-navigation", "sparse-point-robot"):
        family = tasks.make(name)
        assert isinstance(family, TaskFamily)
        assert family.spec.name == name


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("cart-pole", {}, ["did you mean cartpole?", "point-navigation"]),
        ("cartpole", {"miror": True}, ["family.miror", "did you mean mirrored?"]),
        ("cartpole", {"mirrored": 1}, ["family.mirrored", "1", "true or false"]),
        ("cartpole", {"scale_range": (2.0, 1.0)}, ["family.scale_range", "the lower factor first"]),
        ("cartpole", {"scale_range": (0.0, 1.0)}, ["family.scale_range", "above 0"]),
        ("cartpole", {"scale_range": (1.0,)}, ["family.scale_range", "a list of 2"]),
        ("cartpole", {"episode_length": 0}, ["family.episode_length", "at least 1"]),
        ("pendulum", {"scale_range": (0.5, float("inf"))}, ["family.scale_range", "below inf"]),
        ("point-navigation", {"episode_length": 1.5}, ["family.episode_length", "an integer"]),
        ("point-navigation", {"episode_length": -3}, ["family.episode_length", "-3"]),
        ("sparse-point-robot", {"reward": "denser"}, ["family.reward", '"sparse", "dense"']),
        ("sparse-point-robot", {"goal_radius": 0.0}, ["family.goal_radius", "above 0"]),
        ("sparse-point-robot", {"num_goals": 0}, ["family.num_goals", "at least 1"]),
        ("sparse-point-robot", {"split": "train"}, ["family.split", "num_goals"]),
        (
            "sparse-point-robot",
            {"split": "test", "num_goals": 20},
            ["family.num_test_goals", "from 1 to", "19"],
        ),
    ],
)
def test_wrong_options_are_named(name, options, words):
    with pytest.raises(OptionError) as error:
        tasks.make(name, **options)
    for word in words:
        assert word in str(error.value)


def test_options_are_checked_without_importing_jax_or_gymnax():
    code = """
import sys
from metajax import tasks
for name in tasks.list():
    tasks.FAMILIES.get(name)()
assert "from_gymnax" in dir(tasks)
heavy = {"jax", "gymnax", "flax", "numpy"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_point_families_do_not_import_gymnax():
    code = """
import sys
from metajax import tasks
tasks.make("point-navigation"), tasks.make("sparse-point-robot")
assert "gymnax" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_unknown_attribute():
    with pytest.raises(AttributeError, match="no attribute 'from_gym'"):
        _ = tasks.from_gym  # type: ignore[attr-defined]


def test_a_revealed_task_stands_behind_observations_and_inputs(key):
    family = tasks.make("point-navigation", episode_length=2, reveal_task=True)
    assert family.spec.observation_shape == (4,)

    @jax.jit
    def walk(key):
        task = family.sample(key)
        state, first = family.reset(key, task)
        return task.goal, first, family.step(key, task, state, jnp.ones(2))[1]

    goal, first, second = jax.device_get(walk(key))
    np.testing.assert_allclose(first.observation, [0, 0, *goal])
    np.testing.assert_allclose(second.observation, [0.1, 0.1, *goal], rtol=1e-6)
    np.testing.assert_array_equal(second.final_observation, second.observation)

    waves = tasks.make("sinusoid", reveal_task=True)
    draw = jax.jit(lambda key: (waves.sample(key), waves.draw(key, waves.sample(key), 3)))
    wave, examples = jax.device_get(draw(key))
    assert examples.inputs.shape == (3, *waves.spec.input_shape)
    np.testing.assert_array_equal(examples.inputs[:, 1:], np.tile([*wave], (3, 1)))
