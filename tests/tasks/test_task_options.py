"""Names and options of families: answered at once, and in words."""

import subprocess
import sys

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
