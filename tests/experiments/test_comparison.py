"""Several runs in one picture: what is one line, what is refused, and the numbers drawn."""

from __future__ import annotations

import json

import numpy as np
import pytest

from metajax import cli
from metajax.experiments import statistics
from metajax.run import config, plots

CONFIG = """
[family]
name = "gridnavi"

[algorithm]
name = "{name}"
{options}

[train]
num-iterations = 4

[evaluate]
num-tasks = 3
{evaluate}
"""


def _run(directory, name, seed, returns, *, axis="adaptations", options="", evaluate="", family=""):
    """A run directory whose training returns are ``[iterations, K + 1]``."""
    text = CONFIG.format(name=name, options=options, evaluate=evaluate)
    text = text.replace('"gridnavi"', f'"gridnavi"\n{family}')
    settings = config.parse(text, [f"train.seed={seed}"])
    directory.mkdir()
    (directory / "config.toml").write_text(settings.to_toml())
    rows = [
        {"iteration": at + 1, "returns": list(one), "loss": 1.0 * at, "env_steps": 10 * (at + 1)}
        for at, one in enumerate(returns)
    ]
    (directory / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    measured = np.add(returns[-1], [[-1.0], [0.0], [1.0]])
    width = 1.96 / np.sqrt(3)
    mean = np.array(returns[-1], float)
    about = {"axis": axis, "score": "return", "steps": None, "explore": settings.evaluate.explore}
    numbers = {
        "mean": mean.tolist(),
        "interval": [(mean - width).tolist(), (mean + width).tolist()],
        "returns": measured.tolist(),
        "env_steps": 30,
    }
    record = {**about, **numbers, "checkpoint": 4, "num_tasks": 3, "from_random": numbers}
    record |= {"config": settings.to_dict(), "config_digest": settings.digest()}
    (directory / "evaluation.json").write_text(json.dumps(record))
    return str(directory)


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def runs(place):
    maml = [
        _run(place / f"maml-{seed}", "maml", seed, [[0, seed + at] for at in range(4)])
        for seed in (0, 1, 5)
    ]
    rl2 = _run(place / "rl2", "rl2", 0, [[0, 1, at] for at in range(4)], axis="episodes")
    return [*maml, rl2]


@pytest.fixture
def bands(monkeypatch):
    """All lines that are drawn: x, and middle and ends."""
    found, original = [], plots.band

    def band(axes, x, lines, style="-", **more):
        lines = [list(one) for one in lines]
        found.append((list(x), np.array(lines)))
        original(axes, x, lines, style, **more)

    monkeypatch.setattr(plots, "band", band)
    return found


def _plot(*arguments):
    return cli.main(["plot", *map(str, arguments)])


def test_seeds_are_one_line_and_axes_have_panels_of_their_own(runs, place, bands, capsys):
    assert _plot(*runs) == 0
    assert capsys.readouterr().out == "maml: 3 seeds\nrl2: seed 0\nwrote comparison.png\n"
    assert (place / "comparison.png").read_bytes().startswith(b"\x89PNG")
    maml, rl2, adaptations, episodes = bands
    assert maml[0] == [10, 20, 30, 40]
    of_seeds = [statistics.mean(np.array([0, 1, 5]) + at) for at in range(4)]
    np.testing.assert_allclose(maml[1].T, of_seeds)
    assert rl2[1][0].tolist() == [0, 1, 2, 3]
    assert np.isnan(rl2[1][1:]).all()
    # Over seeds 3, 4, 8, and in each over three tasks one apart.
    width = np.hypot(statistics.mean([3, 4, 8]).half_width, 1.96 / np.sqrt(3))
    np.testing.assert_allclose(adaptations[1][:, 1], [5, 5 - width, 5 + width])
    assert adaptations[0] == [0, 1]
    assert episodes[0] == [1, 2, 3]


def test_settings_tell_methods_of_one_algorithm_apart(runs, place, bands, capsys):
    fast = _run(place / "fast", "maml", 0, [[0, 9]] * 4, options="inner-lr = 0.5")
    words = ("--metric", "loss", "--by", "iterations", "--output", "both.svg", "--json")
    assert _plot(*runs[:3], fast, *words) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["label"] for one in found["groups"]] == [
        "maml (inner-lr = 0.1)",
        "maml (inner-lr = 0.5)",
    ]
    assert found["groups"][0]["seeds"] == [0, 1, 5]
    assert found["files"] == ["both.svg"]
    assert bands[0][0] == [1, 2, 3, 4]
    assert bands[0][1][0].tolist() == [0, 1, 2, 3]
    assert _plot(fast, "--output", "one.png") == 0
    assert capsys.readouterr().out == "maml: seed 0\nwrote one.png\n"


def test_no_method_is_lost_whatever_it_is_called(place, bands, capsys):
    long = "hidden-sizes = [{}, {}]".format(", ".join(["8"] * 60), "{}")
    options = ["num-tasks = 4", "num-tasks = 8", long.format(1), long.format(2)]
    runs = [
        _run(place / str(number), "maml", 0, [[0, 1]] * 4, options=one, evaluate="num-streams = 3")
        for number, one in enumerate(options)
    ]
    assert _plot(*runs, "--json") == 0
    labels = [one["label"] for one in json.loads(capsys.readouterr().out)["groups"]]
    assert len({*labels}) == 4
    assert labels[0].startswith("maml (num-tasks = 4, hidden-sizes = [")


def test_metrics_of_another_shape_are_said(runs, place, capsys):
    file = place / "rl2" / "metrics.jsonl"
    lines = file.read_text().splitlines()
    for second in ({"iteration": 2, "loss": "a", "env_steps": 20}, {"iteration": 2, "loss": 1}):
        file.write_text(f"{lines[0]}\n{json.dumps(second)}\n")
        assert _plot(*runs, "--metric", "loss") == 1
        assert f"{file} holds something of another shape" in capsys.readouterr().err


def test_what_is_missing_is_said(runs, place, bands, capsys):
    (place / "rl2" / "evaluation.json").unlink()
    lines = (place / "maml-1" / "metrics.jsonl").read_text().splitlines(keepends=True)
    (place / "maml-1" / "metrics.jsonl").write_text("".join(lines[:2]))
    assert _plot(*runs) == 0
    said = capsys.readouterr().err
    assert "rl2 has no meta-test and is drawn in training alone\n" in said
    assert f"maml: training is drawn up to iteration 2, where {runs[1]} ends\n" in said
    assert len(bands) == 3


def _refused(capsys, said, *arguments):
    assert _plot(*arguments) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_what_cannot_be_compared_is_refused_by_name(runs, place, capsys):
    wide = _run(place / "wide", "maml", 9, [[0, 1]], family="size = 7")
    _refused(capsys, f"{wide}: family has size = 7, where {runs[0]} has size = 5", *runs, wide)
    mode = _run(place / "mode", "rl2", 9, [[0, 1]], evaluate="explore = false")
    said = f"{mode}: its meta-test measured the policy's mode, that of {runs[0]} sampled actions"
    _refused(capsys, said, *runs, mode)
    _refused(capsys, f"{runs[0]}: has the settings and the seed of {runs[0]}", *runs, runs[0])
    _refused(
        capsys,
        '--metric: "los" is not in the metrics of every run; did you mean loss?',
        *runs,
        "--metric",
        "los",
    )
    _refused(
        capsys,
        "--output: here.doc ends in .doc; allowed: .png, .pdf, .svg",
        *runs,
        "--output",
        "here.doc",
    )
    _refused(capsys, "nowhere: is not a run directory", *runs, "nowhere")
    (place / "rl2" / "evaluation.json").write_text('{"axis": 3}')
    _refused(capsys, "evaluation.json: is damaged; write it again: metajax evaluate", *runs)
    assert not list(place.glob("*.png"))
