"""The command as its users meet it: quick answers, help, lists, and real training."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

import metajax
from metajax.algorithms import ALGORITHMS
from metajax.run import catalogue, extensions

ROOT = pathlib.Path(metajax.__file__).parents[1]
LISTED = catalogue.catalogue()
HEAVY = ("jax", "flax", "gymnax", "orbax", "matplotlib", "optax")
REPORT_IMPORTS = f"""
import sys
from metajax.cli import main
code = main(sys.argv[1:])
print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)
raise SystemExit(code)
"""
CONFIG = """
[family]
name = "point-navigation"

[algorithm]
name = "maml"
num-tasks = 2
num-streams = 2
horizon = 5
hidden-sizes = [4]

[train]
num-iterations = 4
block-size = 2
checkpoint-every = 2

[evaluate]
num-tasks = 2
num-adaptations = 2
"""


def metajax_process(*arguments, cwd, code=("-m", "metajax"), **environment):
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return subprocess.run(
        [sys.executable, *code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **environment},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
    )


QUICK = [
    (("--help",), 0),
    (("train", "--help"), 0),
    (("list",), 0),
    (("list", "--json"), 0),
    (("train", "real.toml", "--set", "algorithm.num-taks=3"), 2),
    (("train", "real.toml", "--set", "family.episode-length=0"), 2),
]


@pytest.mark.parametrize(("arguments", "code"), QUICK)
def test_answers_without_jax_in_under_a_second(tmp_path, arguments, code):
    (tmp_path / "real.toml").write_text(CONFIG)
    before = os.times()
    result = metajax_process(*arguments, cwd=tmp_path, code=("-c", REPORT_IMPORTS))
    after = os.times()
    assert result.returncode == code
    assert result.stderr.splitlines()[-1] == "[]"
    # Processor time, since other tests may keep the machine busy.
    spent = after.children_user + after.children_system
    assert spent - before.children_user - before.children_system < 1
    assert [path.name for path in tmp_path.iterdir()] == ["real.toml"]


def test_help_teaches_every_command(command):
    result = command("--help")
    assert result.code == 0
    every = ("train", "evaluate", "reproduce", "plot", "report", "export", "table", "list", "bench")
    for name in every:
        assert name in result.out
        if name != "bench":
            assert command(name, "--help").code == 0


def test_list_names_everything_with_defaults(command):
    listed = json.loads(command("list", "--json").out)
    algorithms = {one["name"]: one for one in listed["algorithms"]}
    assert set(algorithms) == set(ALGORITHMS.names())
    options = {one["name"]: one for one in algorithms["maml"]["options"]}
    assert options["num-tasks"]["default"] == "40"
    assert options["num-tasks"]["type"] == "an integer"
    assert options["num-tasks"]["bounds"] == "at least 1"
    assert options["gae-lambda"]["bounds"] == "at least 0 and at most 1"
    assert options["outer"]["bounds"] == ""
    assert "inner" not in options
    text = command("list").out
    assert all(name in text for name in ALGORITHMS.names())
    assert "num-iterations = 500" in command("list", "train").out
    text_of_one = command("list", "maml").out
    assert "  num-tasks = 40    (an integer, at least 1)\n" in text_of_one
    assert '  horizon = "none"    (an integer or "none", at least 1)\n' in text_of_one
    assert "at least 0" in command("evaluate", "--help").out
    rows = [line.split(maxsplit=1) for line in text.splitlines() if line.startswith("  ")]
    assert {name for name, _ in rows} >= set(ALGORITHMS.names())
    alone = json.loads(command("list", "maml", "--json").out)
    assert (alone["name"], alone["options"]) == ("maml", algorithms["maml"]["options"])


def test_options_that_a_help_names_are_there(command):
    known = {
        "family": {one["name"] for entry in LISTED["families"] for one in entry["options"]},
        "algorithm": {one["name"] for entry in LISTED["algorithms"] for one in entry["options"]},
        **{
            entry["name"]: {one["name"] for one in entry["options"]} for entry in LISTED["sections"]
        },
    }
    for name in ("train", "evaluate", "table", "bench"):
        text = command(name, "--help").out
        for section, option in re.findall(r"(\w+)\.([a-z][a-z-]+)=", text):
            assert option in known[section], (name, section, option)


def test_minibatches_are_no_passes():
    docs = {
        option["name"]: option["doc"]
        for entry in LISTED["algorithms"]
        for option in entry["options"]
        if option["name"] in ("num-epochs", "num-minibatches")
    }
    assert docs == {
        "num-epochs": "Number of passes over the trials of a meta-iteration.",
        "num-minibatches": "Number of meta-updates in each pass.",
    }


def test_every_option_is_explained():
    missing = [
        f"{entry['name']}.{option['name']}"
        for entries in catalogue.catalogue().values()
        for entry in entries
        for option in entry["options"]
        if not option["doc"] or not entry["doc"]
    ]
    assert missing == []


def test_environment_is_prepared_before_jax(workplace, monkeypatch):
    from metajax import cli

    for name in ("XLA_FLAGS", "JAX_COMPILATION_CACHE_DIR", "METAJAX_CACHE"):
        os.environ.pop(name, None)
    os.environ["XDG_CACHE_HOME"] = "/cache"
    cli.prepare_jax(cache=True)
    assert os.environ["XLA_FLAGS"].startswith("--xla_force_host_platform_device_count=")
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == "/cache/metajax/xla"
    assert os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] == "-1"


def test_environment_of_the_user_stays(workplace):
    from metajax import cli

    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=3 --other"
    os.environ["JAX_COMPILATION_CACHE_DIR"] = "mine"
    cli.prepare_jax(cache=True)
    assert os.environ["XLA_FLAGS"] == "--xla_force_host_platform_device_count=3 --other"
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == "mine"
    os.environ.pop("JAX_COMPILATION_CACHE_DIR")
    os.environ["XLA_FLAGS"] = "--other"
    os.environ["METAJAX_CACHE"] = "off"
    cli.prepare_jax(cache=True)
    assert os.environ["XLA_FLAGS"].startswith("--other --xla_force_host")
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ


@pytest.mark.slow
def test_real_training_end_to_end(tmp_path, monkeypatch):
    # Where the tests keep their own compiled programs; the command has its own place.
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    (tmp_path / "real.toml").write_text(CONFIG)

    def run(*arguments):
        result = metajax_process(*arguments, cwd=tmp_path, XDG_CACHE_HOME=str(tmp_path / "cache"))
        assert result.returncode == 0, result.stderr
        return result.stdout

    whole = json.loads(run("train", "real.toml", "--run-dir", "whole", "--json"))
    assert np.isfinite(whole["evaluation"]["mean"]).all()
    assert len(whole["evaluation"]["mean"]) == 3
    assert list((tmp_path / "cache" / "metajax" / "xla").iterdir())
    for name in ("adaptation.png", "training.png", "trajectories.png"):
        assert (tmp_path / "whole" / name).read_bytes().startswith(b"\x89PNG")
    half = ("--set", "train.num-iterations=2", "--run-dir", "parts")
    assert "held-out tasks" in run("train", "real.toml", *half)
    run("train", "--run-dir", "parts", "--resume", "--set", "train.num-iterations=4")
    assert results(tmp_path / "whole") == results(tmp_path / "parts")
    again = json.loads(run("reproduce", "whole", "--json"))
    assert (again["reproduced"], again["tolerance"] > 0, again["theta"]["largest"]) == (
        *(True, any("source: " in line for line in again["differing"]), 0),
    )
    again = json.loads(run("evaluate", "whole", "--json"))
    assert again["evaluation"]["mean"] == whole["evaluation"]["mean"]
    exported = json.loads(run("export", "whole", "--task", "3", "--json"))
    assert len(exported["returns"]) == 3
    assert (
        metajax.load_policy(tmp_path / exported["files"][0]).about["family"] == "point-navigation"
    )
    assert "wrote mode.zip" in run("export", "whole", "--mode", "--output", "mode.zip")


def results(path):
    """Metrics without the clock, and the returns of the meta-test, bit for bit."""
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    evaluation = json.loads((path / "evaluation.json").read_text())
    return [
        {k: v for k, v in one.items() if k not in ("seconds", "run")} for one in lines
    ], evaluation["returns"]


def test_modules_of_ones_own(command, workplace, monkeypatch):
    from metajax.tasks import FAMILIES

    monkeypatch.setattr(FAMILIES, "_entries", dict(FAMILIES._entries))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(extensions, "_loaded", [])
    (workplace / "own_tasks.py").write_text(
        "from metajax.tasks import FAMILIES\n"
        'FAMILIES.register("own-room", "metajax.tasks.grid.gridnavi:GridNavi")\n'
    )
    result = command("--import", "own_tasks", "list", "own-room")
    assert result.code == 0
    assert result.out.startswith("own-room: ")
    assert extensions.loaded() == ["own_tasks"]
    assert not [name for name in os.environ if "own_tasks" in os.environ[name]]
    assert command("--import=own_tasks", "list", "own-room").out == result.out
    missing = command("--import", "own_task", "list")
    assert missing.code == 2
    assert 'metajax: --import: "own_task" is not found; allowed: a module of' in missing.err
    assert command("--import").code == 2
    assert command("--import=", "list").code == 2


def test_a_mistake_in_a_measurement_is_said_as_one(tmp_path):
    result = metajax_process("bench", "--algorithm", "dqn", "--num-tasks", "4", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith("metajax: algorithm.family: point-navigation has Box")
