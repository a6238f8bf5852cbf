"""Configs: what is read, how it is changed, and how it is written back."""

from __future__ import annotations

import pathlib

import fake_algorithm as fake
import pytest

import metajax
from metajax.algorithms import ALGORITHMS
from metajax.core.options import OptionError
from metajax.run import config as configs


def parse(*overrides: str) -> configs.Config:
    return configs.parse(fake.CONFIG, overrides)


def test_sections_become_dataclasses():
    config = parse()
    assert config.algorithm == configs.Named("fake", fake.Fake())
    assert config.family == configs.Named("fake", fake.FakeFamily())
    assert config.held_out is config.family
    assert config.train.num_iterations == 12
    assert config.evaluate.num_tasks == 4


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("algorithm.num-tasks=64", 64),
        ("algorithm.num_tasks=64", 64),
        ("algorithm.num-tasks = 64", 64),
        ("algorithm.kind=bad", "bad"),
        ('algorithm.kind="bad"', "bad"),
        ("algorithm.sizes=[8, 8, 8]", (8, 8, 8)),
        ("algorithm.nan-at=none", None),
        ("algorithm.rate=1e-3", 1e-3),
    ],
)
def test_override(override, expected):
    name = override.split("=")[0].strip().split(".")[1].replace("-", "_")
    assert getattr(parse(override).algorithm.options, name) == expected


def test_last_override_wins_however_it_is_spelled():
    config = parse("train.num-iterations=3", "train.num_iterations=4")
    assert config.train.num_iterations == 4


def test_held_out_family_differs_where_told():
    config = parse("evaluate.family.scale=3")
    assert config.family.options.scale == 1
    assert config.held_out.options.scale == 3
    algorithm, held_out = config.build()
    assert algorithm.family is not held_out


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("evaluate.family.scale=2.5", "algorithm.rate=inf", "train.seed=4294967295"),
        ('train.wandb-project="a \\"quoted\\" \\\\ name\\n"', "algorithm.sizes=[]"),
        ("algorithm.nan-at=none", "algorithm.rate=1e-12"),
    ],
)
def test_written_config_reads_back_equal(overrides):
    config = parse(*overrides)
    again = configs.parse(config.to_toml())
    assert again == config
    assert again.digest() == config.digest()


def test_digest_changes_with_any_setting():
    digests = {
        parse(*one).digest()
        for one in [(), ("train.seed=1",), ("algorithm.rate=0.2",), ("evaluate.family.scale=2",)]
    }
    assert len(digests) == 4


def test_build_names_the_section_of_what_does_not_fit(monkeypatch):
    def refuse(self, family):
        raise OptionError("num_tasks", "does not fit")

    monkeypatch.setattr(fake.Fake, "build", refuse)
    with pytest.raises(OptionError, match=r"^algorithm\.num-tasks: does not fit"):
        parse().build()


def test_every_shipped_config_builds():
    root = pathlib.Path(metajax.__file__).parents[1]
    for path in sorted((root / "configs").rglob("*.toml")):
        configs.load(path).build()


@pytest.mark.parametrize("name", ALGORITHMS.names())
def test_defaults_of_every_algorithm_survive_being_written_down(name):
    """A run keeps its config as TOML and resumes from that."""
    text = (
        f'[family]\nname = "cartpole"\n[algorithm]\nname = "{name}"\n[train]\nnum-iterations = 1\n'
    )
    config = configs.parse(text)
    assert configs.parse(config.to_toml()) == config
