"""The zoo: its files are whole, its records true, and what it loads acts as they say."""

from __future__ import annotations

import hashlib
import json
import runpy
import shutil
import sys

import jax
import numpy as np
import pytest

import metajax
from metajax import zoo
from metajax.run.checkpoints import CheckpointError
from metajax.run.config import from_dict

# Held-out tasks of the quick meta-test.
TASKS = {
    "maml-point-navigation": 20,
    "reptile-dqn-cartpole": 2,
    "rl2-bernoulli-bandit": 400,
    "rl2-gridnavi": 100,
}
# Those beside the one that compiles fastest.
FURTHER = ("maml-point-navigation", "reptile-dqn-cartpole", "rl2-bernoulli-bandit")


def test_entries():
    assert zoo.names() == sorted(TASKS)
    assert [*zoo.titles()] == zoo.names()


@pytest.mark.parametrize("name", sorted(TASKS))
def test_a_record_is_whole(name):
    record = zoo.record(name)
    data = (zoo._HERE / f"{name}.npz").read_bytes()
    assert len(data) <= zoo.MOST_BYTES
    assert record["sha256"] == hashlib.sha256(data).hexdigest()
    config = from_dict(record["config"])
    assert config.to_dict() == json.loads(json.dumps(record["config"]), object_hook=_tuples)
    algorithm, family = config.build()
    assert record["algorithm"] in name
    assert (algorithm.family.spec.name, family.spec.name) == (record["family"], record["family"])
    assert (record["seed"], record["iteration"]) == (config.train.seed, config.train.num_iterations)
    assert record["evaluation"]["num_tasks"] == config.evaluate.num_tasks
    environment = record["environment"]
    assert (len(environment["revision"]), environment["dirty"]) == (40, False)
    assert {"python", "metajax", "jax"} <= {*environment["versions"]}


def _tuples(table):
    """JSON as a config has it, whose lists are tuples."""
    return {key: tuple(one) if isinstance(one, list) else one for key, one in table.items()}


@pytest.mark.parametrize(
    "name",
    [pytest.param(one, marks=pytest.mark.further if one in FURTHER else ()) for one in TASKS],
)
def test_a_quick_meta_test_is_what_the_record_says(name):
    run, record = metajax.zoo.load(name), metajax.zoo.record(name)["evaluation"]
    chosen, number = run.config.evaluate, TASKS[name]
    curve = metajax.evaluate(
        *(run.algorithm, jax.random.key(3), run.state, run.family),
        num_tasks=number,
        num_adaptations=chosen.num_adaptations,
        explore=chosen.explore,
    )
    low, high = np.asarray(record["interval"])
    # Intervals of 95% shrink with the root of the number of tasks; these are of 99.9% and more.
    margin = (high - low) * (1 + np.sqrt(record["num_tasks"] / number))
    assert curve.axis == record["axis"]
    assert np.all(np.abs(curve.mean() - record["mean"]) <= margin + 1e-3)
    assert curve.mean()[-1] > record["from_random"]["mean"][-1] + margin[-1]
    policy = metajax.policy(run.algorithm, run.state)
    assert policy.about["family"] == run.config.family.name


def test_unknown_names():
    with pytest.raises(metajax.OptionError, match=r'"rl2-gridnav" is not .*did you mean rl2-gridn'):
        zoo.load("rl2-gridnav")
    with pytest.raises(metajax.OptionError, match="is not in the zoo; allowed: maml-point"):
        zoo.load("../zoo/__init__")


@pytest.fixture
def entry(command, monkeypatch, tmp_path):
    """A directory with an entry that the script made from a run, in place of the zoo."""
    assert command("train", "fake.toml", "--run-dir", "run").code == 0
    (tmp_path / "zoo").mkdir()
    monkeypatch.setattr(zoo, "_HERE", tmp_path / "zoo")
    return tmp_path / "zoo"


def _script(repository, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["zoo.py", *map(str, arguments)])
    runpy.run_path(str(repository / "benchmarks" / "zoo.py"), run_name="__main__")


def test_an_entry_is_made_from_a_run(entry, repository, monkeypatch, capsys):
    _script(repository, monkeypatch, "run", "mine", "--directory", entry)
    assert capsys.readouterr().out.startswith(f"wrote {entry / 'mine.json'}, and 0 KB")
    assert sorted(path.name for path in entry.iterdir()) == ["mine.json", "mine.npz"]
    run, same = zoo.load("mine"), metajax.load_run("run")
    np.testing.assert_array_equal(run.state.theta["w"], same.state.theta["w"])
    assert run.config == same.config
    assert zoo.record("mine")["env_steps"] == 120
    first = (entry / "mine.npz").read_bytes()
    _script(repository, monkeypatch, "run", "mine", "--directory", entry)
    assert (entry / "mine.npz").read_bytes() == first
    (entry / "mine.npz").write_bytes(first[:-1])
    with pytest.raises(CheckpointError, match="mine of the zoo is damaged"):
        zoo.load("mine")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("algorithm.deployed=1.0", 'algorithm: "fake" is not possible; allowed: one whose meta'),
        ("train.num-iterations=16", "evaluation.json: 12 is not possible; allowed: that of check"),
    ],
)
def test_runs_that_are_no_entry(command, entry, repository, monkeypatch, setting, message):
    arguments = ("--run-dir", "run", "--resume", "--set", setting)
    if setting.startswith("train"):
        kept = shutil.copy("run/evaluation.json", "kept")
        assert command("train", *arguments).code == 0
        shutil.copy(kept, "run/evaluation.json")
    else:
        arguments = ("fake.toml", "--run-dir", "run", "--overwrite", "--set", setting)
        assert command("train", *arguments).code == 0
    with pytest.raises(SystemExit, match=message):
        _script(repository, monkeypatch, "run", "mine", "--directory", entry)
    assert [*entry.iterdir()] == []
