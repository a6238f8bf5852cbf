"""Writing of files: links lead nowhere, and nothing is left half-written."""

from __future__ import annotations

import os
import pathlib

import numpy as np
import pytest

from metajax.core import files
from metajax.core.options import OptionError
from metajax.run import checkpoints, plots, records
from metajax.run.config import parse
from metajax.run.directory import RunDirectory

CONFIG = '[family]\nname = "fake"\n[algorithm]\nname = "fake"\n'


def _use(path: pathlib.Path, part: str = "") -> None:
    """What training and measuring write into a directory; pictures and arrays, if it is those."""
    run = RunDirectory(path)
    run.claim()
    try:
        run.write_config(parse(CONFIG))
        checkpoints.clean(run.checkpoints)
        for later in checkpoints.iterations(run.checkpoints):
            checkpoints.remove(run.checkpoints, later)
        run.cut_metrics(0)
        run.append_metrics([{"iteration": 1}])
        if part.startswith("checkpoints"):
            checkpoints.save(run.checkpoints, 4, {"w": np.zeros(2, np.float32)}, keep=1)
        run.write_evaluation({})
        if part.endswith("png"):
            with plots.figure(run.pictures["adaptation"], (1, 1)):
                pass
    finally:
        run.release()


def _contents(path: pathlib.Path) -> dict[str, bytes | None]:
    return {
        str(one.relative_to(path)): one.read_bytes() if one.is_file() else None
        for one in sorted(path.rglob("*"))
    }


@pytest.fixture
def outside(tmp_path) -> pathlib.Path:
    """What belongs to somebody else: a file without an end of line, and another run."""
    path = tmp_path / "outside"
    for name in ("00000008", "unfinished-8", "unfinished-removal-8"):
        (path / "run" / name).mkdir(parents=True)
        (path / "run" / name / "manifest.json").write_text("{}")
    (path / "profile").write_text("umask 022\nexport A=1")
    return path


FILES = (
    *("config.toml", "config.toml.unfinished", "metrics.jsonl", "metrics.jsonl.unfinished"),
    *("metrics.jsonl.damaged", "evaluation.json", "evaluation.json.unfinished", "lock"),
    *("run-id", "wandb-id", "adaptation.png", ".adaptation.7.png"),
    *("checkpoints/unfinished-4", "checkpoints/00000004", "checkpoints/notes"),
)
DIRECTORIES = (
    *("checkpoints", "tensorboard", "wandb", "checkpoints/00000004", "checkpoints/00000008"),
    *("checkpoints/unfinished-4", "checkpoints/unfinished-removal-4", "evaluation.json"),
)


@pytest.mark.parametrize(
    ("name", "target"),
    [
        *((name, "profile") for name in FILES),
        *((name, "run") for name in DIRECTORIES),
        *((name, "nothing") for name in ("lock", "metrics.jsonl", "config.toml.unfinished")),
    ],
)
def test_a_link_leads_nowhere(tmp_path, outside, name, target):
    """Training succeeds or refuses; what a planted link points to stays as it was."""
    before = _contents(outside)
    link = tmp_path / "run" / name
    link.parent.mkdir(parents=True)
    link.symlink_to(outside / target)
    refusal = ""
    try:
        _use(tmp_path / "run", name)
    except OptionError as error:
        refusal = str(error)
    assert refusal == "" or f"{name} is a link" in refusal
    assert _contents(outside) == before


@pytest.mark.parametrize("target", ["profile", "nothing"])
def test_a_linked_file_of_results_is_refused(tmp_path, outside, target):
    before = _contents(outside)
    (tmp_path / "results.jsonl").symlink_to(outside / target)
    with pytest.raises(OSError, match="a link leads elsewhere"):
        records.append(tmp_path / "results.jsonl", {"seed": 0})
    assert _contents(outside) == before


def test_a_named_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "lock")
    with pytest.raises(OSError, match="no regular file"):
        RunDirectory(tmp_path).claim()


def test_what_cannot_be_written_is_named_as_it_was_given(tmp_path):
    for path in (tmp_path, tmp_path / "no" / "file"):
        with pytest.raises(OSError, match=f"'{path}'$"):
            files.replace(path, "text")


def test_a_linked_run_directory_is_the_users_choice(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "disk")
    _use(tmp_path / "run", "checkpoints")
    assert checkpoints.iterations(tmp_path / "disk" / "checkpoints") == [4]
    assert not list((tmp_path / "disk").glob("*.unfinished"))
