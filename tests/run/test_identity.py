"""One directory, one run: what another run, or a hand, has put there is not taken for its own."""

from __future__ import annotations

import hashlib
import json
import pathlib
import shutil

import pytest

import metajax
from metajax.run import checkpoints, loop, meta_test
from metajax.run.directory import Lost, RunDirectory

TRAIN = ("train", "fake.toml", "--run-dir", "run")
RESUME = ("train", "--run-dir", "run", "--resume")

_FINISHED: list = []


@pytest.fixture
def finished(command, workplace, tmp_path_factory):
    """A finished run of twelve iterations: trained once, copied for each test."""
    if not _FINISHED:
        path = tmp_path_factory.mktemp("finished") / "run"
        assert command("train", "fake.toml", "--run-dir", path).code == 0
        _FINISHED.append(path)
    return pathlib.Path(shutil.copytree(_FINISHED[0], workplace / "finished"))


def _contents(path):
    files = (one for one in path.rglob("*") if one.is_file() and one.name != "lock")
    return {str(one.relative_to(path)): one.read_bytes() for one in files}


def _at_block(monkeypatch, number, do):
    """Calls ``do`` before the work after the ``number``-th block from now on."""
    original, calls = loop._Blocks.__call__, []

    def block(*arguments):
        calls.append(arguments)
        if len(calls) == number:
            do()
        return original(*arguments)

    monkeypatch.setattr(loop._Blocks, "__call__", block)


@pytest.mark.parametrize("by_another", [True, False])
def test_a_run_whose_directory_is_replaced_stops(
    finished, command, workplace, monkeypatch, by_another
):
    def replace():
        shutil.rmtree(workplace / "run")
        if by_another:
            shutil.copytree(finished, workplace / "run")

    _at_block(monkeypatch, 2, replace)
    result = command(*TRAIN)
    assert result.code == 1
    assert "run was removed, or another run has taken its place" in result.err
    assert "Traceback" not in result.err
    if by_another:
        assert _contents(workplace / "run") == _contents(finished)
    else:
        assert not (workplace / "run").exists()


def test_nothing_of_a_run_is_written_into_another(finished):
    run = RunDirectory(finished)
    (finished / "run-id").write_text("0123\n")
    before = _contents(finished)
    for write in (
        lambda: run.append_metrics([{"iteration": 13}]),
        lambda: run.write_evaluation({}),
        lambda: run.picture("training"),
    ):
        with pytest.raises(Lost):
            write()
    assert _contents(finished) == before


def test_an_evaluation_stays_out_of_the_run_that_came_meanwhile(
    finished, command, workplace, monkeypatch
):
    original = meta_test.from_random

    def slow(*arguments):
        shutil.rmtree(finished)
        shutil.copytree(_FINISHED[0], finished)
        (finished / "run-id").write_text("0123\n")
        return original(*arguments)

    monkeypatch.setattr(meta_test, "from_random", slow)
    result = command("evaluate", finished, "--num-tasks", 3)
    assert result.code == 1
    assert "another run has taken its place" in result.err
    assert (finished / "evaluation.json").read_bytes() == (
        _FINISHED[0] / "evaluation.json"
    ).read_bytes()


def test_a_run_that_came_between_look_and_claim_is_not_replaced(
    finished, command, workplace, monkeypatch
):
    original = loop.check_sizes

    def slow(algorithm):
        shutil.copytree(finished, workplace / "run")
        original(algorithm)

    monkeypatch.setattr(loop, "check_sizes", slow)
    result = command(*TRAIN)
    assert result.code == 2
    assert "holds a run already" in result.err
    assert _contents(workplace / "run") == _contents(finished)


def test_what_another_run_left_is_not_continued(finished, command, workplace):
    assert command(*TRAIN, "--set", "train.num-iterations=8").code == 0
    run = workplace / "run"
    shutil.copytree(finished / "checkpoints" / "00000012", run / "checkpoints" / "00000012")
    foreign = (finished / "metrics.jsonl").read_text().splitlines(keepends=True)
    own = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join([*own[:3], foreign[3], *own[3:]]))
    result = command(*RESUME)
    assert result.code == 1
    assert "checkpoint 12" in result.err
    assert "another run" in result.err
    assert "--checkpoint 8" in result.err
    result = command(*RESUME, "--checkpoint", 8, "--set", "train.num-iterations=12")
    assert result.code == 0
    assert "line 4 is set aside in metrics.jsonl.damaged" in result.err
    lines = [json.loads(one) for one in (run / "metrics.jsonl").read_text().splitlines()]
    assert [one["iteration"] for one in lines] == list(range(1, 13))
    assert {one["run"] for one in lines} == {(run / "run-id").read_text().strip()}
    theta, other = (metajax.load_run(one).state.theta["w"] for one in (run, finished))
    assert theta.tobytes() == other.tobytes()


def _as_older_versions(path):
    """Takes away all that says whose a directory is."""
    (path / "run-id").unlink()
    lines = [json.loads(one) for one in (path / "metrics.jsonl").read_text().splitlines()]
    for one in lines:
        del one["run"]
    (path / "metrics.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in lines))
    for one in checkpoints.iterations(path / "checkpoints"):
        manifest = path / "checkpoints" / f"{one:08d}" / "manifest.json"
        files = json.loads(manifest.read_text())["files"]
        text = json.dumps([one, sorted(files.items())])
        digest = hashlib.sha256(text.encode()).hexdigest()
        manifest.write_text(json.dumps({"iteration": one, "files": files, "digest": digest}))


def test_a_run_of_an_older_version_goes_on(finished, command):
    _as_older_versions(finished)
    assert metajax.load_run(finished).iteration == 12
    assert command("evaluate", finished).code == 0
    more = ("--resume", "--set", "train.num-iterations=14")
    result = command("train", "--run-dir", finished, *more)
    assert result.code == 0, result.err
    lines = (finished / "metrics.jsonl").read_text().splitlines()
    assert ["run" in json.loads(one) for one in lines] == [False] * 12 + [True] * 2
    assert command("train", "--run-dir", finished, "--resume").code == 0


def test_a_run_copied_without_its_id_goes_on(finished, command):
    (finished / "run-id").unlink()
    assert command("train", "--run-dir", finished, "--resume").code == 0
    assert (finished / "run-id").read_text() == (_FINISHED[0] / "run-id").read_text()


def _edit(path, old, new):
    text = (path / "config.toml").read_text()
    assert old in text
    (path / "config.toml").write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("seed = 0\nblock", "seed = 5\nblock", "train.seed: 5 differs from 0"),
        ("rate = 0.1", "rate = 0.2", "algorithm.rate: 0.2 differs from 0.1"),
        ("scale = 1.0", "scale = 2.0", "family.scale: 2.0 differs from 1.0"),
    ],
)
def test_an_edited_config_is_not_gone_on_with(finished, command, workplace, old, new, said):
    _edit(finished, old, new)
    before = _contents(finished)
    for arguments in (("train", "--run-dir", finished, "--resume"), ("evaluate", finished)):
        result = command(*arguments)
        assert result.code == 2
        assert said in result.err
        assert "with which the run was trained" in result.err
        assert len(result.err) < 500
    with pytest.raises(metajax.OptionError, match="with which the run was trained"):
        metajax.load_run(finished)
    assert _contents(finished) == before
    # The checkpoint knows: the config that it was trained with is taken.
    true = ("train", "fake.toml", "--run-dir", finished, "--resume")
    assert command(*true).code == 0
    assert (finished / "config.toml").read_bytes() == (_FINISHED[0] / "config.toml").read_bytes()


def test_all_that_differs_is_named(finished, command):
    _edit(finished, "rate = 0.1", "rate = 0.2")
    _edit(finished, "seed = 0\nblock", "seed = 5\nblock")
    result = command("train", "--run-dir", finished, "--resume")
    assert "algorithm.rate: 0.2 differs from 0.1" in result.err
    assert "(and train.seed)" in result.err


def test_an_edit_that_changes_no_training_is_taken(finished, command):
    _edit(finished, "num-iterations = 12", "num-iterations = 13")
    assert command("train", "--run-dir", finished, "--resume").code == 0
    assert checkpoints.iterations(finished / "checkpoints")[-1] == 13
