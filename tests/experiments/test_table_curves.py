"""A table of learning curves: run, resumed, shown; and its numbers by hand."""

from __future__ import annotations

import dataclasses
import json
import math
import os

import numpy as np
import pytest
import table_toys

from metajax.cli import main
from metajax.core.options import OptionError
from metajax.evaluation import Evaluation
from metajax.experiments import rendering, table_cells, table_results
from metajax.experiments.statistics import Estimate
from metajax.experiments.table_definition import Table, load
from metajax.run import meta_test, records
from metajax.run.directory import RunDirectory

TABLE = """
title = "Curves"
source = "this project"
metric = "learning-curve"
threshold = 3
baseline = "scratch"
family = { name = "cartpole", episode-length = 5 }
evaluate = { num-tasks = 3, explore = false }

[finetune]
name = "dqn"
lifetime = 40
num-points = 2
num-streams = 2
batch-size = 4
buffer-size = 40
learning-starts = 4
hidden-sizes = [4]

[[rows]]
name = "scratch"
label = "from scratch"
algorithm = { name = "dqn", hidden-sizes = [4] }

[[rows]]
name = "reptile"
label = "Reptile"

[rows.algorithm]
name = "reptile-dqn"
num-tasks = 2
num-streams = 2
lifetime = 8
devices = 1
batch-size = 4
learning-starts = 4
hidden-sizes = [4]

[rows.train]
num-iterations = 2
block-size = 1

[profiles.quick]

[profiles.full]
seeds = [0, 1]
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The working directory, with a table of curves in its place."""
    monkeypatch.setattr(os, "environ", os.environ.copy())
    monkeypatch.chdir(tmp_path)
    table_toys.write(tmp_path, TABLE, "curves")
    return tmp_path


def _read(tmp_path, text=TABLE):
    table = load("curves", table_toys.write(tmp_path, text, "curves"))
    assert isinstance(table, Table)
    return table


def _record(cell, returns):
    return {
        "row": cell.row.name,
        "settings": cell.settings,
        "num_tasks": len(returns),
        "steps": [0, 20, 40],
        "returns": returns,
    }


@pytest.mark.further
def test_a_table_is_run_and_shown_once(project, capsys):
    assert main(["table", "curves", "--only", "scratch"]) == 0
    assert main(["table", "curves"]) == 0
    shown = capsys.readouterr()
    assert "1 of 2 to run" in shown.err
    assert "env steps to 3" in shown.out
    scratch, reptile = records.read(project / "benchmarks" / "results" / "curves.jsonl")
    assert (scratch["row"], scratch["iterations"], reptile["row"]) == ("scratch", 0, "reptile")
    for one in (scratch, reptile):
        assert one["steps"] == [0, 20, 40]
        assert np.shape(one["returns"]) == (3, 3)
        np.testing.assert_allclose(np.mean(one["returns"], 0), one["mean"], atol=1e-3)
        assert one["settings"]["finetune"]["lifetime"] == 40
    assert reptile["settings"]["algorithm"]["lifetime"] == 8
    for ending in ("md", "tex", "png"):
        path = project / "runs" / "tables" / "curves" / f"curves-quick.{ending}"
        assert path.stat().st_size > 99
    assert main(["table", "curves", "--json"]) == 0
    again = capsys.readouterr()
    assert "0 of 2 to run" in again.err
    values = json.loads(again.out)["lines"][1]["values"]
    assert 0 < values["final return"]["value"] <= 5


@pytest.mark.further
def test_what_changes_while_training_is_recorded_and_drawn(project):
    learned = {"name": "meta-gradient-actor-critic", "num-tasks": 1, "num-streams": 1}
    learned |= {"num-steps": 2, "lifetime": 8, "num-points": 1, "hidden-sizes": [2]}
    options = ", ".join(f"{key} = {json.dumps(value)}" for key, value in learned.items())
    text = f"""
    title = "Learned"
    source = "this project"
    metric = "learning-curve"
    threshold = 3
    training-curves = true
    family = {{ name = "cartpole", episode-length = 5 }}
    evaluate = {{ num-tasks = 1 }}

    [[rows]]
    name = "learned"
    label = "learned settings"
    algorithm = {{ {options} }}
    train = {{ num-iterations = 3, block-size = 3 }}

    [profiles.quick]
    [profiles.full]
    """
    table_toys.write(project, text, "learned")
    assert main(["table", "learned"]) == 0
    (record,) = records.read(project / "benchmarks" / "results" / "learned.jsonl")
    schedules = record["schedules"]
    assert schedules["iteration"] == [1, 2, 3]
    for name in ("discount", "gae_lambda"):
        assert len(set(schedules[name])) == 3
        assert all(0 < value < 1 for value in schedules[name])
    pictures = project / "runs" / "tables" / "learned"
    training = record["training"]
    assert training["iteration"] == [1, 2, 3]
    assert np.shape(training["returns"])[0] == 3
    assert (training["axis"], training["score"]) == ("points", "return")
    for name in ("schedules", "training"):
        assert (pictures / f"learned-quick-{name}.png").stat().st_size > 99
    run = RunDirectory(next(pictures.with_name("trained").glob("*-seed-0-*")))
    config = run.read_config()
    algorithm, held_out = config.build()
    measured = Evaluation(np.ones((2, 2)), "points", True, 1, np.arange(2))
    drawn = meta_test.draw(run, config, measured, measured, algorithm, held_out, None)
    assert [path.name for path in drawn] == ["adaptation.png", "training.png", "schedules.png"]
    assert all(path.is_file() for path in drawn)


def test_training_is_that_of_the_row_and_the_measurement_that_of_the_table(tmp_path):
    table = _read(tmp_path)
    _, quick = table_cells.cells(table, "quick")
    longer = _read(tmp_path, TABLE.replace("lifetime = 40", "lifetime = 80"))
    full = [one for one in table_cells.cells(longer, "full") if one.row.name == "reptile"]
    assert quick.config.algorithm.name == "reptile-dqn"
    assert quick.config.algorithm.options.lifetime == 8
    assert quick.measured.algorithm.name == "dqn"
    assert quick.measured.algorithm.options.lifetime == 40
    assert [one.measured.algorithm.options.lifetime for one in full] == [80, 80]
    # What is trained is the same, what is measured is not.
    assert quick.training_digest == full[0].training_digest
    assert not quick.is_of({"settings": full[0].settings})
    with_less = {**quick.settings, "finetune": dict(quick.settings["finetune"])}
    del with_less["finetune"]["huber-delta"]
    assert quick.is_of({"settings": with_less})


def test_a_row_may_be_measured_as_it_was_trained_in_place_of_the_tables_way(tmp_path):
    own = 'label = "Reptile"\nfinetune = { name = "reptile-dqn", num-points = 1 }'
    table = _read(tmp_path, TABLE.replace('label = "Reptile"', own))
    _, reptile = table_cells.cells(table, "quick")
    measured, trained = reptile.measured.algorithm, reptile.config.algorithm
    assert measured.name == trained.name == "reptile-dqn"
    assert measured.options == dataclasses.replace(trained.options, num_points=1)


def test_numbers_and_words(tmp_path):
    table = _read(tmp_path)
    scratch, reptile = table_cells.cells(table, "quick")
    known = [
        _record(scratch, [[0.0, 2.0, 4.0]] * 4),
        _record(reptile, [[0.0, 4.0, 4.0]] * 4),
    ]
    lines = table_results.lines(table, "quick", known)
    # 20 + 20 x 1/2 steps to 3 from scratch, 20 x 3/4 after Reptile.
    assert [one and one.value for one in lines[0].values] == [2, 30, 4, None]
    assert [one and one.value for one in lines[1].values] == [3, 15, 4, 0.5]
    assert [
        table_results.best(lines, at, better)
        for at, better in enumerate(("higher", "lower", "higher"))
    ] == [{1}, {1}, {0, 1}]
    grid = rendering.grid(table, "quick", lines)
    assert grid.headers[1:5] == [one.name for one in table_results.columns(table, "quick")]
    assert grid.rows[1][1:5] == [
        "**3.0 (3.0 to 3.0)**",
        "**15 (15 to 15)**",
        "**4.0 (4.0 to 4.0)**",
        "0.50 (0.50 to 0.50)",
    ]
    assert "of the policy's mode. 4 tasks." in grid.foot


@pytest.mark.parametrize(
    ("explore", "said"),
    [
        ((False, False), "Returns are those of the policy's mode."),
        ((True, True), "Returns are those of sampled actions."),
        ((True, False), "Returns are those of sampled actions or of the policy's mode, by row."),
    ],
)
def test_the_foot_says_how_actions_were_chosen(tmp_path, explore, said):
    first, second = (f"evaluate = {{ explore = {str(one).lower()} }}" for one in explore)
    text = TABLE.replace('label = "from scratch"', f'label = "from scratch"\n{first}')
    table = _read(tmp_path, text.replace('label = "Reptile"', f'label = "Reptile"\n{second}'))
    known = [_record(one, [[0.0, 1.0, 2.0]] * 4) for one in table_cells.cells(table, "quick")]
    lines = table_results.lines(table, "quick", known)
    assert said in rendering.grid(table, "quick", lines).foot


def test_a_threshold_that_is_not_reached_is_said_to_lie_beyond(tmp_path):
    table = _read(tmp_path)
    scratch, reptile = table_cells.cells(table, "quick")
    known = [_record(scratch, [[0.0, 1.0, 1.0]] * 4), _record(reptile, [[0.0, 4.0, 4.0]] * 4)]
    lines = table_results.lines(table, "quick", known)
    rows = rendering.grid(table, "quick", lines).rows
    assert rows[0][2] == "> 40"
    assert rows[1][2] == "**15 (15 to 15)**"
    assert rows[1][4] == "0.38 (0.38 to 0.38)"
    partly = Estimate(30.0, 20.0, math.inf)
    assert rendering.value_of_curves(lines[0])(partly, 0) == "30 (20 to > 40)"


def test_rows_of_one_label_have_curves_of_their_own(tmp_path):
    table = _read(tmp_path, TABLE.replace('label = "Reptile"', 'label = "from scratch"'))
    known = [_record(one, [[0.0, 1.0, 1.0]] * 4) for one in table_cells.cells(table, "quick")]
    found = table_results.by_label(table, "quick", known)
    assert list(found) == ["from scratch (scratch)", "from scratch (reptile)"]
    lines = table_results.lines(table, "quick", known)
    assert [line.row for line in lines] == ["scratch", "reptile"]


def test_an_interval_without_an_end_makes_nothing_best():
    lines = [
        table_results.Line(label, "measured", [None, Estimate(*values)])
        for label, values in {"a": (10.0, 9.0, 11.0), "b": (30.0, 28.0, math.inf)}.items()
    ]
    assert table_results.best(lines, 1, "lower") == {0}


def test_mistakes_are_named(project):
    for old, new, message in (
        ("threshold = 3\n", "", "threshold: .* is not possible"),
        ('"learning-curve"', '"after-steps"', r"threshold: 3\.0 is not possible"),
        ('"scratch"', '"scrat"', r"curves\.baseline"),
        ("num-points = 2", "num-point = 2", r"rows\.scratch\.finetune\.num-point"),
    ):
        with pytest.raises(OptionError, match=message):
            table_cells.cells(_read(project, TABLE.replace(old, new, 1)), "quick")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("hidden-sizes = [4]\n\n[[rows]]", "hidden-sizes = [5]\n\n[[rows]]", "does not fit dqn"),
        ('name = "dqn"\nlifetime = 40\nnum-points = 2', 'name = "maml"', "has none; allowed"),
    ],
)
def test_what_cannot_be_measured_is_said_before_anything_is_run(project, capsys, old, new, message):
    text = TABLE.replace(old, new, 1)
    if "maml" in new:
        text = text.replace("\nbatch-size = 4\nbuffer-size = 40\nlearning-starts = 4", "", 1)
    table_toys.write(project, text, "curves")
    assert main(["table", "curves"]) == 2
    assert message in capsys.readouterr().err
    assert not (project / "benchmarks" / "results").exists()
