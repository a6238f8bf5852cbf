"""``metajax train --seeds``: runs one after another, what goes on, and what is said at the end."""

from __future__ import annotations

import json

import numpy as np
import pytest

from metajax.experiments import statistics
from metajax.run import loop
from metajax.run.directory import RunDirectory
from metajax.run.numbers import NotFinite

TRAIN = ("train", "fake.toml")


@pytest.fixture
def failing(monkeypatch):
    """Lets the training of some seeds end with an error; returns the seeds that were trained."""
    trained, original = [], loop.train_run

    def set_errors(errors):
        def train_run(run, config, *arguments, **more):
            trained.append(config.train.seed)
            if config.train.seed in errors:
                raise errors[config.train.seed]
            return original(run, config, *arguments, **more)

        monkeypatch.setattr(loop, "train_run", train_run)
        return trained

    return set_errors


def _means(workplace, *seeds):
    paths = [workplace / "runs" / f"fake-seed-{seed}" / "evaluation.json" for seed in seeds]
    return np.array([json.loads(path.read_text())["mean"] for path in paths])


def test_every_seed_has_its_run_and_the_end_their_mean(command, workplace):
    result = command(*TRAIN, "--seeds", 0, 3, 7)
    assert result.code == 0
    assert "[2/3] seed 3: in runs/fake-seed-3\n" in result.err
    assert {path.name for path in (workplace / "runs").iterdir()} == {
        f"fake-seed-{seed}" for seed in (0, 3, 7)
    }
    assert RunDirectory("runs/fake-seed-3").read_config().train.seed == 3
    title, _, header, _, *rows = result.out.splitlines()
    assert title == "Return on 4 held-out tasks, 95% interval over seeds and tasks"
    assert header.split()[-6:] == ["seed", "0", "seed", "3", "seed", "7"]
    means = _means(workplace, 0, 3, 7)
    assert len(rows) == 2
    for at, row in enumerate(rows):
        shown = row.split()
        assert float(shown[1]) == pytest.approx(means[:, at].mean(), abs=0.006)
        np.testing.assert_allclose([float(one) for one in shown[-3:]], means[:, at], atol=0.006)
        over_seeds = statistics.mean(means[:, at])
        assert float(shown[2]) <= over_seeds.low + 0.006
        assert float(shown[4]) >= over_seeds.high - 0.006


def test_one_number_counts_runs_from_the_seed_of_the_config_on(command, workplace):
    short = ("--set", "train.num-iterations=2")
    assert command(*TRAIN, "--seeds", 2, *short, "--set", "train.seed=5", "--json").code == 0
    assert {path.name for path in (workplace / "runs").iterdir()} == {"fake-seed-5", "fake-seed-6"}
    result = command(*TRAIN, *short, "--seeds", 1, "--run-dir", "here/mine", "--json")
    (run,) = json.loads(result.out)["runs"]
    assert (run["seed"], run["run_dir"]) == (0, "here/mine-seed-0")
    assert run["evaluation"]["mean"] == json.loads(result.out)["mean"]


def test_resuming_leaves_finished_runs_alone_and_starts_the_others(command, workplace, failing):
    assert command(*TRAIN, "--run-dir", "runs/fake-seed-1", "--set", "train.seed=1").code == 0
    cut = ("--set", "train.seed=2", "--set", "train.num-iterations=4")
    assert command(*TRAIN, "--run-dir", "runs/fake-seed-2", *cut).code == 0
    refused = command(*TRAIN, "--seeds", 3)
    assert refused.code == 2
    assert "--run-dir runs/fake-seed-1: holds a run already; continue it with" in refused.err
    assert not (workplace / "runs" / "fake-seed-0").exists()
    trained = failing({})
    before = (workplace / "runs/fake-seed-1/evaluation.json").stat().st_mtime_ns
    result = command(*TRAIN, "--seeds", 3, "--resume")
    assert result.code == 0
    assert trained == [0, 2]
    assert "[2/3] seed 1: finished before, in runs/fake-seed-1\n" in result.err
    assert "continuing runs/fake-seed-2 at iteration 4\n" in result.err
    assert (workplace / "runs/fake-seed-1/evaluation.json").stat().st_mtime_ns == before
    assert "seed 2" in result.out
    # Measured otherwise or longer, it is not finished.
    more = command(*TRAIN, "--seeds", 2, "--resume", "--set", "evaluate.num-tasks=6")
    assert more.code == 0
    assert "Return on 6 held-out tasks" in more.out


def test_overwriting_replaces_every_run(command, workplace, failing):
    arguments = (*TRAIN, "--seeds", 2, "--set", "train.num-iterations=2")
    assert command(*arguments).code == 0
    trained = failing({})
    assert command(*arguments, "--overwrite").code == 0
    assert trained == [0, 1]


@pytest.mark.parametrize("as_json", [False, True])
def test_a_seed_that_fails_stops_no_other(command, workplace, failing, as_json):
    failing({1: NotFinite("loss at iteration 3 is not a finite number")})
    arguments = (*TRAIN, "--seeds", 3, "--set", "train.num-iterations=2")
    result = command(*arguments, *(["--json"] if as_json else []))
    assert result.code == 1
    last = result.err.splitlines()[-1]
    assert last == (
        "metajax: seeds finished: 0, 2; did not finish: 1; continue with: metajax train fake.toml "
        "--seeds 3 --set train.num-iterations=2 --resume"
    )
    assert "loss at iteration 3 is not a finite number" in result.err
    if as_json:
        found = json.loads(result.out)
        assert [one["exit_code"] for one in found["runs"]] == [0, 1, 0]
        np.testing.assert_allclose(found["mean"], _means(workplace, 0, 2).mean(axis=0))
    else:
        assert "seed 0" in result.out
        assert "seed 1" not in result.out


def test_a_directory_in_use_stops_no_other(command, workplace):
    used = RunDirectory("runs/fake-seed-0")
    used.claim()
    try:
        result = command(*TRAIN, "--seeds", 2, "--set", "train.num-iterations=2")
    finally:
        used.release()
    assert result.code == 2
    assert "another process is training here" in result.err
    assert "seeds finished: 1; did not finish: 0" in result.err


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (OSError(28, "full"), 1)])
def test_what_would_end_any_run_ends_all(command, failing, error, code):
    trained = failing({1: error})
    result = command(*TRAIN, "--seeds", 3, "--set", "train.num-iterations=2")
    assert result.code == code
    assert trained == [0, 1]
    assert "seeds finished: 0; did not finish: 1; not started: 2; continue with" in result.err
    assert "seed 0" in result.out


def test_sizes_that_do_not_fit_are_said_once_and_nothing_is_written(command, workplace):
    result = command(*TRAIN, "--seeds", 3, "--set", "algorithm.rat=3")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert not (workplace / "runs").exists()
