"""Running a table: what is missing is run once, and goes on where it stopped."""

from __future__ import annotations

import json
import math
import os
import signal

import jax
import numpy as np
import pytest
import table_toys

from metajax.cli import main
from metajax.core.options import OptionError
from metajax.experiments import table_cells, table_runner, tuning
from metajax.run import checkpoints, loop, records
from metajax.run.config import digest
from metajax.run.directory import RunDirectory
from metajax.run.meta_test import evaluation_key

pytestmark = pytest.mark.usefixtures("toys")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The working directory, with the toys' table in its place."""
    monkeypatch.setattr(os, "environ", os.environ.copy())
    monkeypatch.chdir(tmp_path)
    table_toys.write(tmp_path)
    return tmp_path


def _lines(project):
    return records.read(project / "benchmarks" / "results" / "toys.jsonl")


def _numbers(project):
    """What records say, without the times and places."""
    left_out = ("seconds", "evaluation_seconds", "environment")
    return [{k: v for k, v in one.items() if k not in left_out} for one in _lines(project)]


def test_a_table_is_run_and_shown_once(project, capsys):
    assert main(["table", "toys"]) == 0
    shown = capsys.readouterr()
    assert "toys, profile quick: 3 of 3 to run" in shown.err
    # w = 0.4 after four iterations: 2 x 0.4 x 0.6, of the optimum 2 x 2.
    assert [one["mean"] for one in _lines(project)] == pytest.approx([4, 0.48, 0.48])
    trained = _lines(project)[1]
    assert (trained["row"], trained["column"], trained["seed"]) == ("trained", "two", 0)
    assert (trained["iterations"], trained["env_steps"], trained["num_tasks"]) == (4, 40, 6)
    assert trained["settings"]["train"] == {"num-iterations": 4}
    assert trained["digest"] == digest(trained["settings"])
    assert "trained, A paper 2016 (published)" in shown.out
    for ending in ("md", "tex", "png"):
        assert (project / "runs" / "tables" / "toys" / f"toys-quick.{ending}").stat().st_size > 99
    assert main(["table", "toys", "--json"]) == 0
    again = capsys.readouterr()
    assert "0 of 3 to run" in again.err
    assert len(_lines(project)) == 3
    summary = json.loads(again.out)
    assert summary["lines"][2]["values"]["two"]["value"] == pytest.approx(0.48)
    assert not summary["interrupted"]


def test_renderings_that_cannot_be_written_are_one_message(project, capsys):
    (project / "runs" / "tables").mkdir(parents=True)
    (project / "runs" / "tables" / "toys").write_text("mine")
    assert main(["table", "toys"]) == 1
    shown = capsys.readouterr()
    assert "metajax: runs/tables/toys cannot be written (File exists)" in shown.err
    assert "trained" in shown.out
    assert len(_lines(project)) == 3


def test_damaged_results_are_set_aside_and_measured_again(project, capsys):
    assert main(["table", "toys", "--only", "still", "optimum"]) == 0
    path = project / "benchmarks" / "results" / "toys.jsonl"
    first, second = path.read_text().splitlines()
    changed = second.replace('"num-tasks": 6', '"num-tasks": 7')
    assert changed != second
    path.write_text(f"{first}\n{changed}\n{first[:50]}\n")
    capsys.readouterr()
    assert main(["table", "toys", "--only", "still", "optimum"]) == 0
    said = capsys.readouterr().err
    assert "benchmarks/results/toys.jsonl: 2 damaged lines (2, 3) are set aside" in said
    assert "1 of 2 to run" in said
    again = [json.loads(line) for line in path.read_text().splitlines()]
    assert [one["row"] for one in again] == [json.loads(one)["row"] for one in (first, second)]
    assert path.with_name("toys.jsonl.damaged").read_text() == f"{changed}\n{first[:50]}\n"


def test_a_file_of_results_that_cannot_be_read_is_named(project, capsys):
    (project / "benchmarks" / "results" / "toys.jsonl").mkdir(parents=True)
    assert main(["table", "toys"]) == 1
    said = capsys.readouterr().err
    assert "metajax: benchmarks/results/toys.jsonl cannot be read (Is a directory)" in said


def test_records_of_another_shape_are_said(project, capsys):
    assert main(["table", "toys", "--only", "trained"]) == 0
    (record,), file = _lines(project), project / "benchmarks" / "results" / "toys.jsonl"
    for change in (
        *(
            {"settings": 3},
            {"settings": {"family": [1]}},
            {"settings": {"algorithm": {"name": []}}},
        ),
        *({"mean": "x"}, {"mean": {}}, {"mean": [1, 2]}, {"interval": 3}),
        *({"interval": [1]}, {"interval": ["a", "b"]}, {"environment": 3}),
        *({"num_tasks": "x"}, {"training": 3}, {"schedules": [1]}),
        *({"training": {"iteration": [1], "returns": 3}}, {"schedules": {"rate": []}}),
    ):
        changed: dict = record | change
        changed["digest"] = digest(changed["settings"])
        file.write_text(json.dumps(changed) + "\n")
        capsys.readouterr()
        assert main(["table", "toys", "--only", "trained"]) == 1, change
        said = capsys.readouterr().err.splitlines()[-1]
        assert said.startswith("metajax: benchmarks/results/toys.jsonl holds something of"), change
        assert len(said) < 500


def test_speeds_of_another_shape_are_said(project, capsys):
    table_toys.write(project, 'title = "Speed"\nresults = { a = "speed" }', "speed")
    (project / "benchmarks" / "results").mkdir()
    for text in ('{"setting": 3}', '{"setting": {}}', '{"setting": {"num-tasks": "x"}}', "{}"):
        (project / "benchmarks" / "results" / "speed.jsonl").write_text(text + "\n")
        assert main(["table", "speed"]) == 1, text
        said = capsys.readouterr().err
        assert said.startswith("metajax: benchmarks/results/speed.jsonl holds something of"), text


def test_a_table_of_speeds_without_records_says_so(project, capsys):
    text = 'title = "Speed"\nresults = { a = "speed" }'
    table_toys.write(project, text, "speed")
    assert main(["table", "speed"]) == 2
    assert "benchmarks/results/speed.jsonl has no records" in capsys.readouterr().err


def test_only_and_output(project):
    arguments = ["table", "toys", "--profile", "full", "--only", "trained/three", "still"]
    assert main([*arguments, "--output", "elsewhere"]) == 0
    found = records.read(project / "elsewhere" / "toys.jsonl")
    assert [(one["row"], one["column"], one["seed"]) for one in found] == [
        *[("trained", "three", 0), ("trained", "three", 1)],
        *[("still", "two", 0), ("still", "three", 0)],
    ]
    assert not _lines(project)


def test_seeds(project, capsys):
    arguments = ["table", "toys", "--profile", "full", "--only", "trained"]
    assert main([*arguments, "--seeds", "2"]) == 2
    assert "--seeds: 2 is no seed of these cells; allowed: 0, 1" in capsys.readouterr().err
    assert main([*arguments, "--seeds", "1"]) == 0
    cells = [(one["column"], one["seed"]) for one in _lines(project)]
    assert cells == [("two", 1), ("three", 1)]


def test_what_was_asked_for_is_shown_and_the_files_hold_the_whole(project, capsys):
    assert main(["table", "toys", "--profile", "full"]) == 0
    capsys.readouterr()
    words = ["table", "toys", "--profile", "full", "--only", "trained/three", "--seeds", "1"]
    assert main([*words, "--json"]) == 0
    lines = json.loads(capsys.readouterr().out)["lines"]
    assert [(one["kind"], [*one["values"]]) for one in lines] == [
        *[("published", ["three"]), ("measured", ["three"])],
    ]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "two" not in shown
    assert "optimum" not in shown
    assert "seed" in shown
    whole = (project / "runs" / "tables" / "toys" / "toys-full.md").read_text()
    assert "| optimum |" in whole
    assert "two" in whole


def test_tables_share_what_is_trained(project, monkeypatch):
    assert main(["table", "toys", "--only", "trained"]) == 0
    text = table_toys.TABLE.replace('"total"', '"normalized"').replace('"trained"', '"again"')
    table_toys.write(project, text, "others")
    with monkeypatch.context() as patch:
        _stop(patch, 1, _kill)
        assert main(["table", "others", "--only", "again"]) == 0
    before = _lines(project)[0]
    (record,) = records.read(project / "benchmarks" / "results" / "others.jsonl")
    assert (record["table"], record["row"], record["metric"]) == ("others", "again", "normalized")
    assert record["mean"] == pytest.approx(0.48 / 4)
    assert (record["iterations"], record["env_steps"]) == (4, before["env_steps"])


class Killed(BaseException):
    """As sudden as a signal that cannot be handled."""


def _stop(monkeypatch, at, how):
    """Calls ``how`` in the ``at``-th block of training from now on."""
    original, calls = loop._Blocks.__call__, []

    def block(*arguments):
        calls.append(arguments)
        if len(calls) == at:
            how()
        return original(*arguments)

    monkeypatch.setattr(loop._Blocks, "__call__", block)


def _kill():
    raise Killed


def test_a_killed_table_resumes_to_the_same_records(project, monkeypatch, capsys):
    assert main(["table", "toys", "--profile", "full"]) == 0
    whole = _numbers(project)
    assert len(whole) == 8
    (project / "benchmarks" / "results" / "toys.jsonl").rename(project / "whole")
    (project / "runs").rename(project / "whole-runs")
    with monkeypatch.context() as patch:
        _stop(patch, 7, _kill)  # in the third block of the second seed
        with pytest.raises(Killed):
            main(["table", "toys", "--profile", "full"])
    assert len(_lines(project)) == 3
    capsys.readouterr()
    assert main(["table", "toys", "--profile", "full"]) == 2
    refusal = capsys.readouterr().err
    assert "trained/two, seed 1: runs/tables/trained/mover-toys-seed-1-" in refusal
    assert "holds an unfinished run; continue it with --resume" in refusal
    assert len(_lines(project)) == 3
    with monkeypatch.context() as patch:
        _stop(patch, 99, _kill)
        assert main(["table", "toys", "--profile", "full", "--resume"]) == 0
    assert _numbers(project) == whole
    metrics = next(project.glob("runs/tables/trained/mover-toys-seed-1-*/metrics.jsonl"))
    assert [one["iteration"] for one in records.read(metrics)] == [1, 2, 3, 4]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_save_and_say_how_to_continue(project, monkeypatch, capsys, number, code):
    with monkeypatch.context() as patch:
        _stop(patch, 2, lambda: os.kill(os.getpid(), number))
        assert main(["table", "toys", "--only", "trained"]) == code
    said = capsys.readouterr().err
    again = "metajax table toys --profile quick --only trained --resume"
    assert f"what is done is saved; continue with: {again}" in said
    assert not _lines(project)
    assert main(again.split()[1:]) == 0
    assert _lines(project)[0]["mean"] == pytest.approx(0.48)


def test_a_cell_that_fails_stops_no_other(project, capsys):
    bad = '[[rows]]\nname = "bad"\nlabel = "bad"\nalgorithm = { name = "mover", start = inf }\n'
    bad += 'train = { num-iterations = 2 }\n\n[[rows]]\nname = "still"'
    text = table_toys.TABLE.replace('[[rows]]\nname = "still"', bad)
    table_toys.write(project, text)
    assert main(["table", "toys", "--only", "bad", "still", "--json"]) == 1
    assert [one["row"] for one in _lines(project)] == ["still"]
    captured = capsys.readouterr()
    assert "\nfailed: bad/two, seed 0: theta at iteration 2 is not" in captured.err
    assert "\nmetajax: 1 of 2 cells failed; try them again with: " in captured.err
    summary = json.loads(captured.out)
    assert (summary["failed"], summary["interrupted"]) == (True, False)
    assert [one["row"] for one in summary["lines"]][-3:] == ["bad", "still", "still"]


def test_what_another_process_trains_is_left_to_it(project, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        _stop(patch, 2, _kill)
        with pytest.raises(Killed):
            main(["table", "toys", "--only", "trained"])
    (path,) = project.glob("runs/tables/trained/mover-*")
    run = RunDirectory(path)
    assert not run.is_claimed()
    run.claim()
    try:
        capsys.readouterr()
        assert main(["table", "toys", "--only", "trained", "still"]) == 1
    finally:
        run.release()
    assert "trained/two, seed 0: another process is training it" in capsys.readouterr().err
    assert [one["row"] for one in _lines(project)] == ["still"]


@pytest.mark.parametrize("damaged", [1, 4])
def test_damaged_checkpoints_are_trained_again(project, capsys, damaged):
    arguments = ["table", "toys", "--only", "trained"]
    assert main(arguments) == 0
    (before,) = _numbers(project)
    (project / "benchmarks" / "results" / "toys.jsonl").unlink()
    (path,) = project.glob("runs/tables/trained/mover-*")
    kept = checkpoints.iterations(path / "checkpoints")
    for iteration in kept[-damaged:]:
        manifest = path / "checkpoints" / f"{iteration:08d}" / "manifest.json"
        manifest.write_text("{}")
    assert main(arguments) == 0
    start = kept[-2] if damaged == 1 else 0
    assert f"checkpoint 4 is damaged; going on from iteration {start}" in capsys.readouterr().err
    assert _numbers(project) == [before]


def test_sigterm_between_trainings(project, monkeypatch, capsys):
    def evaluate(*_):
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("not reached")

    monkeypatch.setattr(table_runner, "_reference", evaluate)
    assert main(["table", "toys"]) == 143
    assert "continue with: metajax table toys" in capsys.readouterr().err


def test_mistakes_on_the_command_line(project, capsys):
    assert main(["table", "toy"]) == 2
    assert "did you mean toys?" in capsys.readouterr().err
    assert main(["table", "--tables", "benchmarks/tables"]) == 2
    assert "NAME: is missing; allowed: toys" in capsys.readouterr().err
    assert main(["table", "toys", "--only", "stil"]) == 2
    assert "did you mean still?" in capsys.readouterr().err


def _cell(project, name, *changes):
    text = table_toys.TABLE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    table = table_toys.read(project, text)
    return next(one for one in table_cells.cells(table, "quick") if one.name == name)


@pytest.mark.parametrize("seed", [0, 1])
def test_tuned_options_are_chosen_on_separate_trials(project, seed):
    cell = _cell(
        project,
        "still/two",
        ('{ name = "mover" }\ntune', '{ name = "mover", tilt = 1.0 }\ntune'),
        (
            '"toys" }\nevaluate = { num-tasks = 6 }',
            f'"toys", spread = 1.0 }}\nevaluate = {{ num-tasks = 3, seed = {seed} }}',
        ),
    )
    record = table_runner.measure(cell, project)
    key = evaluation_key(cell.config)
    means = []
    for one in (key, jax.random.fold_in(key, table_runner._SEPARATE)):
        tasks = [jax.random.normal(jax.random.split(k)[0]) for k in jax.random.split(one, 3)]
        means.append([2 * w * (1 - w + float(np.mean(tasks))) for w in (0, 0.4, 1)])
    here, separate = means
    tuned = record["tuned"]
    np.testing.assert_allclose(tuned["on_evaluation"]["mean"], here, atol=1e-5)
    np.testing.assert_allclose(tuned["on_separate"]["mean"], separate, atol=1e-5)
    best, chosen = np.argmax(here), np.argmax(separate)
    assert (best == chosen) == (seed == 0)  # by the draws of these seeds
    assert tuned["as_published"]["value"] == (0, 0.4, 1)[best]
    assert tuned["as_published"]["mean"] == pytest.approx(here[best], abs=1e-5)
    assert tuned["value"] == (0, 0.4, 1)[chosen]
    assert record["mean"] == pytest.approx(here[chosen], abs=1e-5)


def test_options_that_are_shapes_are_tried_one_by_one(project):
    cell = _cell(project, "still/two", ("start = [0.0, 0.4, 1.0]", "size = [1, 2]"))
    returns = tuning.grid_returns(cell.config, "size", [1, 2])
    assert returns.__name__ == "one_by_one"
    np.testing.assert_array_equal(returns(jax.random.key(0)), np.zeros((2, 6, 2)))
    at_once = tuning.grid_returns(cell.config, "start", [0.0, 0.4])
    assert at_once.__name__ != "one_by_one"
    found = np.asarray(at_once(jax.random.key(0)))
    np.testing.assert_allclose(found[:, 0], [[0, 0], [0.24, 0.24]], rtol=1e-6)


def test_every_episode_of_fresh_trials_counts(project):
    # 3 streams in each of 2 + 1 chunks, 0.5 (1 - 0.5) each.
    cell = _cell(
        project,
        "still/two",
        (
            '{ name = "mover" }\ntune = { start = [0.0, 0.4, 1.0] }',
            '{ name = "mover", start = 0.5, steps = 2, num-streams = 3 }\nuntrained = true',
        ),
    )
    assert table_runner.measure(cell, project)["mean"] == pytest.approx(9 * 0.25)


@pytest.mark.parametrize(("metric", "mean"), [("regret", 3.52), ("normalized", 0.12)])
def test_metrics_against_the_optimum(project, metric, mean):
    start = (
        "tune = { start = [0.0, 0.4, 1.0] }",
        "evaluate = { num-streams = 1 }\nuntrained = true",
    )
    name = ('{ name = "mover" }\neval', '{ name = "mover", start = 0.4 }\neval')
    cell = _cell(project, "still/two", ('"total"', f'"{metric}"'), start, name)
    assert table_runner.measure(cell, project)["mean"] == pytest.approx(mean, abs=1e-6)
    cell = _cell(project, "optimum/two", ('"total"', f'"{metric}"'))
    assert table_runner.measure(cell, project)["mean"] == {"regret": 0, "normalized": 1}[metric]


@pytest.mark.parametrize(
    ("option", "counts"),
    [("start = [0.0, 0.4, 1.0]", [3, 3, 3]), ("num-episodes = [2, 5]", [2, 5])],
)
def test_regret_of_a_tuned_method_is_over_its_own_episodes(project, option, counts):
    cell = _cell(
        project,
        "still/two",
        ('"total"', '"regret"'),
        ('{ name = "mover" }\ntune', '{ name = "mover", num-episodes = 3 }\ntune'),
        ("start = [0.0, 0.4, 1.0]", option),
    )
    starts = (0.0, 0.4, 1.0) if len(counts) == 3 else (0.0, 0.0)
    expected = [count * (2 - w * (1 - w)) for count, w in zip(counts, starts, strict=True)]
    tuned = table_runner.measure(cell, project)["tuned"]
    assert tuned["on_evaluation"]["mean"] == pytest.approx(expected)


@pytest.mark.parametrize(("metric", "factor"), [("total", 9), ("after-last-step", 1)])
def test_a_method_that_adapts_is_tuned_by_the_metric(project, metric, factor):
    """Starts beyond 1 have returns below 0, and one that diverges is never chosen."""
    cell = _cell(
        project,
        "still/two",
        ('"total"', f'"{metric}"'),
        ('{ name = "mover" }\ntune', '{ name = "mover", steps = 2, num-streams = 3 }\ntune'),
        ("start = [0.0, 0.4, 1.0]", "start = [1e30, 2.0, 0.4]"),
    )
    record = table_runner.measure(cell, project)
    means = np.array(record["tuned"]["on_evaluation"]["mean"], np.float64)
    np.testing.assert_allclose(means, factor * np.array([-np.inf, -2.0, 0.24]), rtol=1e-5)
    assert record["tuned"]["value"] == 0.4
    assert record["mean"] == pytest.approx(factor * 0.24)


BLOBS = """
title = "Blobs"
source = "A paper 2016"
metric = "after-last-step"
family = { name = "gaussian-blobs", num-classes = 2, num-features = 1, spread = 1.5 }
evaluate = { num-tasks = 500, num-streams = 300 }

[[columns]]
name = "two"

[[rows]]
name = "optimum"
label = "optimum"
reference = "optimal-predictor"
"""


def test_the_best_predictor_of_labelled_examples(project):
    """With many examples, the expectation of Phi(a |z|) for half the distance a |z| of means."""
    cells = table_cells.cells(table_toys.read(project, BLOBS), "quick")
    accuracy = 0.5 + math.atan(1.5 / math.sqrt(2)) / math.pi
    assert table_runner.measure(cells[0], project)["mean"] == pytest.approx(accuracy, abs=0.03)
    for change in (("num-streams = 300", "seed = 1"), ('"gaussian-blobs",', '"sinusoid" }#')):
        cells = table_cells.cells(table_toys.read(project, BLOBS.replace(*change)), "quick")
        with pytest.raises(OptionError, match="reference: needs labelled examples whose best"):
            table_runner.measure(cells[0], project)


STILL = 'algorithm = { name = "mover" }\ntune = { start = [0.0, 0.4, 1.0] }'


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            [('"total"', '"regret"'), ('"toys" }', '"toys", known = false }')],
            'toys.rows.optimum.reference: family "toys" does not say what the optimal-policy',
        ),
        (
            [('"total"', '"regret"'), ('"optimal-policy"', '"random-policy"')],
            'toys.rows.optimum.reference: family "toys" does not say what the random-policy',
        ),
        (
            [
                ('"total"', '"normalized"'),
                ('"toys" }', '"toys", known = false }'),
                ('[[rows]]\nname = "optimum"\nlabel = "optimum"\nreference = "optimal-policy"', ""),
            ],
            'toys.rows.trained.metric: "normalized" needs a family whose optimal return is known',
        ),
        (
            [(STILL, STILL.replace('"mover" }', '"mover", lives = true }'))],
            'toys.rows.still.metric: "total" is of whole trials, and "mover" has lifetimes',
        ),
    ],
)
def test_what_cannot_be_measured_is_said_before_anything_is_trained(
    project, capsys, changes, message
):
    text = table_toys.TABLE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    table_toys.write(project, text)
    assert main(["table", "toys"]) == 2
    assert message in capsys.readouterr().err
    assert not (project / "benchmarks" / "results").exists()
    assert not list(project.glob("runs/**/metrics.jsonl"))


def test_meta_tests_of_a_table_are_tried_before_anything_is_trained(project, capsys):
    text = """
title = "Bandits"
source = "nowhere"
metric = "total"
family = { name = "bernoulli-bandit" }
columns = [{ name = "all" }]
[[rows]]
name = "toy"
label = "toy"
algorithm = { name = "ucb1" }
[[rows]]
name = "rl2"
label = "RL2"
algorithm = { name = "rl2", num-tasks = 4, hidden-size = 4 }
train = { num-iterations = 1 }
evaluate = { num-adaptations = 3 }
[profiles.quick]
[profiles.full]
"""
    table_toys.write(project, text)
    assert main(["table", "toys"]) == 2
    said = capsys.readouterr().err
    assert "toys.rows.rl2.evaluate.num-adaptations: 3 is not possible; allowed: 0" in said
    assert not (project / "benchmarks" / "results").exists()


@pytest.mark.parametrize("change", [("num-tasks = 6", "num-tasks = 5"), ('"total"', '"regret"')])
def test_what_is_trained_is_measured_again_without_training(project, monkeypatch, change):
    assert main(["table", "toys", "--only", "trained"]) == 0
    table_toys.write(project, table_toys.TABLE.replace(*change))
    with monkeypatch.context() as patch:
        _stop(patch, 1, _kill)
        assert main(["table", "toys", "--only", "trained"]) == 0
    first, second = _lines(project)
    assert (second["iterations"], second["env_steps"]) == (4, 40)
    assert second["settings"] != first["settings"]
    assert second["settings"]["train"] == first["settings"]["train"]
