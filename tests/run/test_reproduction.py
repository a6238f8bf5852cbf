"""A run trained once more: what is compared, how closely, and what is said of it."""

from __future__ import annotations

import dataclasses
import json
import shutil
import types

import numpy as np
import pytest

from metajax.run import agreement, checkpoints, commands, loop
from metajax.run.directory import RunDirectory

HERE = {"device": "AMD EPYC", "backend": "cpu", "num_devices": 2, "revision": "a", "dirty": False}
HERE["versions"] = {"jax": "0.8.1", "numpy": "2.0"}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Where the run that all tests begin with is kept, once it is trained."""
    return tmp_path_factory.mktemp("kept") / "run"


@pytest.fixture
def trained(command, workplace, monkeypatch, kept):
    """The directory of a run of twelve iterations on a machine of its own."""
    _on(monkeypatch)
    if not kept.exists():
        assert command("train", "fake.toml", "--run-dir", kept).code == 0
    return shutil.copytree(kept, workplace / "run")


def _on(monkeypatch, **parts):
    machine = types.SimpleNamespace(environment=lambda: {**HERE, **parts}, place=str)
    for module in (loop, commands):
        monkeypatch.setattr(module, "machine", machine)


def _edit(run, iteration, **values):
    """Changes a line of metrics."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    lines[iteration - 1] |= values
    (run / "metrics.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in lines))


def _contents(run):
    return {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


def test_the_same_machine_reproduces_bit_for_bit(command, trained):
    before = _contents(trained)
    result = command("reproduce", "run")
    assert result.code == 0, result.err
    assert "reproducing iterations 1 to 12 of run in runs/run-reproduced" in result.err
    assert "the machine and its versions agree" in result.err
    assert "required: equal bit for bit" in result.err
    assert result.out.splitlines() == [
        "metrics: 12 of 12 lines are equal bit for bit",
        "theta: 1 of 1 arrays are equal bit for bit",
        "reproduced",
    ]
    assert _contents(trained) == before
    again = command("reproduce", "run")
    assert (again.code, "holds a run already; continue it with --resume" in again.err) == (2, True)
    # One that is finished is compared alone.
    assert command("reproduce", "run", "--resume").out == result.out
    assert command("reproduce", "run", "--overwrite", "--json", "--run-dir", "other").code == 0


def test_a_prefix_has_no_theta(command, trained):
    result = command("reproduce", "run", "--iterations", "5", "--json")
    found = json.loads(result.out)
    assert (result.code, found["iterations"], found["tolerance"]) == (0, 5, 0)
    assert (found["metrics"]["number"], found["metrics"]["same"]) == (5, 5)
    assert "theta" not in found
    assert len(RunDirectory("runs/run-reproduced").read_metrics()) == 5


def test_one_that_is_interrupted_goes_on(command, trained, monkeypatch):
    train_run = loop.train_run

    def interrupted(run, config, algorithm, *, checkpoint):
        half = dataclasses.replace(
            config, train=dataclasses.replace(config.train, num_iterations=4)
        )
        done = train_run(run, half, algorithm, checkpoint=checkpoint)
        return dataclasses.replace(done, exit_code=143)

    monkeypatch.setattr(loop, "train_run", interrupted)
    result = command("reproduce", "run")
    rest = "reproduce run --iterations 12 --run-dir runs/run-reproduced --resume"
    assert (result.code, result.err.endswith(f"continue with: metajax {rest}\n")) == (143, True)
    monkeypatch.setattr(loop, "train_run", train_run)
    again = command(*rest.split())
    assert (again.code, "12 of 12 lines are equal bit for bit" in again.out) == (0, True)
    assert "theta: 1 of 1 arrays are equal" in again.out


def test_a_number_that_differs_is_named(command, trained):
    _edit(trained, 7, loss=3.0)
    result = command("reproduce", "run")
    assert result.code == 1
    (line,) = [one for one in result.out.splitlines() if one.startswith("metrics")]
    assert "metrics: 11 of 12 lines are equal bit for bit; the largest difference is" in line
    assert "first beyond: iteration 7, loss: 3.0 then, " in line
    assert result.out.endswith("not reproduced\n")


@pytest.mark.parametrize(
    ("values", "word"),
    [({"loss": None}, "loss: not recorded then"), ({"more": [1, 2]}, "more: [1, 2] then"),
     ({"returns": [1.0]}, "returns: [1.0] then")],
)  # fmt: skip
def test_values_of_another_shape_differ(command, trained, values, word):
    _edit(trained, 2, **values)
    result = command("reproduce", "run", "--iterations", "3")
    assert (result.code, word in result.out) == (1, True)


def test_what_is_shown_of_a_foreign_run_is_printable(command, trained):
    _edit(trained, 2, **{"\x1b[2Jname": 1.0})
    result = command("reproduce", "run", "--iterations", "3")
    assert (result.code, r"\x1b[2Jname: 1.0 then, not recorded now" in result.out) == (1, True)
    assert "\x1b" not in result.out


def test_words_in_place_of_numbers_are_said_as_one(command, trained):
    _edit(trained, 2, loss="much")
    result = command("reproduce", "run", "--iterations", "3")
    assert (result.code, "holds something of another shape" in result.err) == (1, True)


def test_a_missing_line_is_not_reproduced(command, trained):
    lines = (trained / "metrics.jsonl").read_text().splitlines(keepends=True)
    (trained / "metrics.jsonl").write_text("".join([*lines[:3], *lines[4:]]))
    result = command("reproduce", "run")
    assert (result.code, "first beyond: iteration 4, which is missing" in result.out) == (1, True)


def test_another_machine_is_named_and_rounding_allowed(command, trained, monkeypatch):
    _on(monkeypatch, device="Apple M4", num_devices=8, versions={"jax": "0.9", "numpy": "2.0"})
    last = RunDirectory(trained).read_metrics()[11]
    _edit(trained, 12, loss=last["loss"] + 1e-4)
    result = command("reproduce", "run")
    assert result.code == 0, result.out
    said = result.err.splitlines()
    assert said[1:4] == [
        "  device: AMD EPYC then, Apple M4 now",
        "  num devices: 2 then, 8 now",
        "  jax: 0.8.1 then, 0.9 now",
    ]
    assert said[4] == "required: differences up to 0.01 of the largest magnitude"
    assert "11 of 12 lines are equal bit for bit, 12 within 0.01; the largest" in result.out
    strict = command("reproduce", "run", "--tolerance", "0", "--overwrite")
    assert (strict.code, "required: equal bit for bit" in strict.err) == (1, True)


@pytest.mark.parametrize(
    ("parts", "line"),
    [
        ({"dirty": True}, "source: with changes that no revision has now"),
        ({"revision": None}, "revision: a then, not recorded now"),
        ({"backend": "gpu"}, "this device adds in any order"),
    ],
)
def test_what_else_may_round_otherwise(command, trained, monkeypatch, parts, line):
    _on(monkeypatch, **parts)
    result = command("reproduce", "run", "--iterations", "2")
    assert (result.code, f"  {line}\nrequired: differences up to 0.01" in result.err) == (0, True)


def test_every_machine_of_a_run_is_kept(command, trained, monkeypatch):
    _on(monkeypatch, num_devices=1)
    more = ("--resume", "--set", "train.num-iterations=16")
    assert command("train", "--run-dir", "run", *more).code == 0
    about = checkpoints.about(trained / "checkpoints", 16)
    assert [one["num_devices"] for one in about["environments"]] == [2, 1]
    assert "num devices: 2 then, 1 now" in command("reproduce", "run").err


def test_a_run_that_does_not_say_where_it_was_trained(command, trained, monkeypatch):
    monkeypatch.setattr(checkpoints, "about", lambda *_: {})
    result = command("reproduce", "run")
    assert (result.code, "the machine of the run is not recorded" in result.err) == (0, True)


def test_a_damaged_checkpoint_leaves_the_one_before(command, trained):
    (trained / "checkpoints" / "00000012" / "manifest.json").write_text("{")
    result = command("reproduce", "run")
    assert (result.code, "reproducing iterations 1 to 8 of run" in result.err) == (0, True)
    assert "theta: 1 of 1 arrays are equal" in result.out


def test_a_config_that_was_edited_is_refused(command, trained):
    text = (trained / "config.toml").read_text()
    (trained / "config.toml").write_text(text.replace("rate = 0.1", "rate = 0.2"))
    result = command("reproduce", "run")
    assert result.code == 2
    assert "algorithm.rate: 0.2 differs from 0.1, with which the run was trained" in result.err
    assert not (trained.parent / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere",), "nowhere: is not a run directory"),
        (("run", "--run-dir", "run"), "--run-dir: run is in the run itself"),
        (("run", "--run-dir", "run", "--overwrite"), "--run-dir: run is in the run itself"),
        (("run", "--run-dir", "run/again"), "--run-dir: run/again is in the run itself"),
        (("run", "--run-dir", "."), "--run-dir .: is in use and holds no run"),
        (("run", "--iterations", "13"), "--iterations: 13 is not possible; allowed: 1 to 12"),
        (("run", "--iterations", "0"), "0 is not possible; allowed: at least 1"),
        (("run", "--tolerance", "2"), "2 is not possible; allowed: 0 to 1"),
        (("run", "--tolerence", "0"), "did you mean --tolerance?"),
    ],
)
def test_mistakes(command, trained, arguments, message):
    before = _contents(trained)
    result = command("reproduce", *arguments)
    assert (result.code, message in result.err) == (2, True), result.err
    assert _contents(trained) == before
    assert not (trained.parent / "runs").exists()


def test_a_run_without_anything(command, workplace):
    (workplace / "empty").mkdir()
    (workplace / "empty" / "config.toml").write_text((workplace / "fake.toml").read_text())
    result = command("reproduce", "empty")
    assert (result.code, "empty: has neither metrics nor checkpoints" in result.err) == (2, True)


def test_magnitudes_are_those_of_a_metric_in_the_whole_run():
    then = [{"iteration": 1, "a": -10.0}, {"iteration": 2, "a": 0.0}]
    now = [{"iteration": 1, "a": -10.0}, {"iteration": 2, "a": 0.05}]
    found = agreement.of_metrics(then, now, 2, 0.01)
    assert (found.same, found.within, found.largest) == (1, 2, pytest.approx(0.005))
    assert found.agrees
    assert not agreement.of_metrics(then, now, 2, 0.001).agrees
    nothing = [{"iteration": 1, "a": 0.0}], [{"iteration": 1, "a": 1e-9}]
    assert agreement.of_metrics(*nothing, 1, 0.01).largest == np.inf


def test_a_zero_of_another_sign_is_another_number():
    found = agreement.of_arrays({"w": np.zeros(1)}, {"w": -np.zeros(1)}, 0.0)
    assert (found.same, found.agrees) == (0, False)
    signs = {"w": np.array([0.0, 1.0])}, {"w": np.array([-0.0, 1.0])}
    assert agreement.of_arrays(*signs, 0.01).agrees
