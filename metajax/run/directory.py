"""Run directories: layout, lock, config and metrics on disk."""

from __future__ import annotations

import copy
import itertools
import json
import math
import os
import pathlib
import secrets
from collections.abc import Callable, Iterable
from typing import Any

from metajax.core import files
from metajax.core.options import OptionError
from metajax.run import records
from metajax.run.config import Config, parse

_PICTURES = ("adaptation", "trajectories", "training", "schedules")


class InUse(OptionError):
    """A run directory locked by another process."""


class Lost(Exception):
    """A run directory that is gone, or has become another run's, while its run went on."""


class RunDirectory:
    """The directory of one run: ``config.toml``, ``metrics.jsonl``, ``checkpoints/``, results.

    This module does not import jax. The directory is locked between ``claim`` and
    ``release``; the operating system releases the lock if the process dies.

    Attributes:
      id: Digits that no other run has, in ``run-id``, all checkpoints and all metrics; None
        before the start, and in runs of versions that drew none.
    """

    def __init__(self, path: str | pathlib.Path) -> None:
        self.path = pathlib.Path(path)
        self.config = self.path / "config.toml"
        self.metrics = self.path / "metrics.jsonl"
        self.checkpoints = self.path / "checkpoints"
        self.tensorboard = self.path / "tensorboard"
        self.wandb = self.path / "wandb"
        self.wandb_id = self.path / "wandb-id"  # of versions without ids of runs
        self.policy = self.path / "policy.zip"
        self.report = self.path / "report.html"
        self.run_id = self.path / "run-id"
        self.lock = self.path / "lock"
        self._lock: int | None = None
        self._report_to(self.path)
        self.id = self._read_id()

    def _report_to(self, path: pathlib.Path) -> None:
        self.evaluation = path / "evaluation.json"
        self.pictures = {name: path / f"{name}.png" for name in _PICTURES}

    def reporting_to(self, path: str | pathlib.Path) -> RunDirectory:
        """The same run with evaluation and pictures in another directory, which is created.

        Raises OSError if the directory cannot be created.
        """
        other = copy.copy(self)
        other._report_to(pathlib.Path(path))
        pathlib.Path(path).mkdir(parents=True, exist_ok=True)
        return other

    def is_run(self) -> bool:
        """Whether a run has been started here."""
        return self.config.is_file()

    def is_used(self) -> bool:
        """Whether the directory holds more than the remains of a failed start."""
        if not self.path.is_dir():
            return self.path.exists()
        here = [one.name for one in self.path.iterdir()]
        started = {self.lock.name, self.run_id.name}
        return any(one not in started and not one.endswith(files.UNFINISHED) for one in here)

    def check_free(self, resume: bool, overwrite: bool) -> None:
        """Checks that training may write to the directory; writes nothing.

        Raises:
          OptionError: If the directory is in use and neither ``resume`` nor ``overwrite`` is
            given, holds no run to resume, or holds something else than a run.
        """
        if resume and overwrite:
            raise OptionError("--resume", "cannot be given together with --overwrite")
        where = f"--run-dir {self.path}"
        if resume and not self.is_run():
            raise OptionError(where, "holds no run to resume; leave out --resume to start one")
        if self.is_used() and not resume:
            if not self.is_run():
                problem = "is in use and holds no run; choose an empty or new directory"
                raise OptionError(where, problem)
            if not overwrite:
                raise OptionError(
                    where,
                    "holds a run already; continue it with --resume, replace it with "
                    "--overwrite, or choose another directory",
                )

    def read_config(self, overrides: Iterable[str] = ()) -> Config:
        """The config of the run, with overrides ``"section.option=value"``.

        Raises:
          OptionError: If there is no run, or its config is invalid.
        """
        try:
            text = files.read(self.config).decode()
        except (OSError, UnicodeDecodeError):
            problem = "is not a run directory: it has no readable config.toml"
            raise OptionError(str(self.path), problem) from None
        return parse(text, overrides, source=str(self.config))

    def is_claimed(self) -> bool:
        """Whether a process holds the lock of the directory."""
        if not self.path.is_dir():
            return False
        try:
            self.claim()
        except InUse:
            return True
        self.release()
        return False

    def claim(self) -> None:
        """Creates and locks the directory.

        Raises:
          InUse: If another process holds the lock.
          OptionError: If a part of the run is a link.
          OSError: If the directory cannot be created or locked.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        self._check_links()
        try:
            self._lock = files.lock(self.lock, wait=False)
        except BlockingIOError:
            raise InUse(
                f"--run-dir {self.path}", "another process is training here; choose another"
            ) from None
        self.id = self._read_id()
        for path in self._unfinished():
            files.delete(path)

    def check(self) -> None:
        """Checks that the directory is still this run's; before everything that is written.

        Raises:
          Lost: If it is gone, or another run has taken its place.
          OptionError: If a part of the run is a link.
        """
        held = self._lock is None or files.is_at(self._lock, self.lock)
        if not held or self._read_id() != self.id:
            raise Lost(
                f"{self.path} was removed, or another run has taken its place, in the meantime; "
                "nothing more of this one is written"
            )
        self._check_links()

    def release(self) -> None:
        """Releases the lock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def clear(self) -> None:
        """Removes the files of a run, and no others."""
        results = (self.metrics, records.aside(self.metrics), self.evaluation, self.policy)
        results += (self.report,)
        results += tuple(self.pictures.values())
        directories = (self.checkpoints, self.tensorboard, self.wandb)
        begun = (self.wandb_id, self.run_id, self.config)
        for path in (*directories, *results, *self._unfinished(), *begun):
            files.delete(path)
        self.id = None

    def write_config(self, config: Config) -> None:
        """Writes ``config.toml`` atomically, and at the start of a run its id."""
        if self._read_id() is None:
            self.id = self.id or secrets.token_hex(8)
            files.replace(self.run_id, f"{self.id}\n")
        self.check()
        files.replace(self.config, config.to_toml())

    def cut_metrics(
        self, iteration: int, report: Callable[[str], object] = lambda text: None
    ) -> dict[str, Any]:
        """Drops the records after ``iteration``; returns the last one kept, or ``{}``.

        Damaged lines before it are set aside, see ``records.set_aside``.

        Args:
          iteration: The last iteration to keep.
          report: Receives a line of text where lines are set aside.
        """
        lines = self._metric_lines()
        kept = [at for at, (_, one) in enumerate(lines) if one and one["iteration"] <= iteration]
        last = (lines[kept[-1]][1] if kept else None) or {}
        end = kept[-1] + 1 if kept else 0
        if last.get("iteration", 0) < iteration:  # the missing ones must have been next
            end += len([*itertools.takewhile(lambda line: line[1] is None, lines[end:])])
        if damaged := sorted({*range(end)} - {*kept}):
            report(records.set_aside(self.metrics, {at + 1: lines[at][0] for at in damaged}))
        if self.metrics.exists():
            with files.replacing(self.metrics) as file:
                file.writelines(lines[at][0] + b"\n" for at in kept)
        return last

    def append_metrics(self, new: Iterable[dict[str, Any]]) -> None:
        """Appends one line per record, with the id of the run, and waits until they are on disk.

        Raises as ``check`` does.
        """
        self.check()
        marked = ({**record, "run": self.id} for record in new)
        lines = "".join(f"{json.dumps(record, allow_nan=False)}\n" for record in marked)
        files.append(self.metrics, lines.encode())

    def read_metrics(self) -> list[dict[str, Any]]:
        """The records in ``metrics.jsonl``, without damaged lines."""
        return [one for _, one in self._metric_lines() if one is not None]

    def num_damaged(self) -> int:
        """Lines that ``read_metrics`` leaves out."""
        return sum(one is None for _, one in self._metric_lines())

    def wandb_run(self) -> str:
        """The id of the run at Weights & Biases."""
        return _first_word(self.wandb_id) or self.id or ""

    def picture(self, name: str) -> pathlib.Path:
        """The path of a picture, to be drawn at once. Raises as ``check`` does."""
        self.check()
        return self.pictures[name]

    def write_evaluation(self, record: dict[str, Any]) -> None:
        """Writes ``evaluation.json`` atomically. Raises as ``check`` does."""
        self.check()
        files.replace(self.evaluation, json.dumps(record, indent=1) + "\n")

    def _metric_lines(self) -> list[tuple[bytes, dict[str, Any] | None]]:
        """All lines with their records, None for what is damaged or of another run."""
        found: list[tuple[bytes, dict[str, Any] | None]] = []
        reached = set()
        content = files.read(self.metrics) if self.metrics.exists() else b""
        for line in filter(None, content.split(b"\n")):
            record = records.parse(line)[0] or {}
            iteration, run = record.get("iteration"), record.get("run")
            is_own = run is None or self.id in (None, run)
            counts = (record.get(name, 0) for name in ("env_steps", "seconds"))
            has_counts = all(isinstance(one, int | float) and math.isfinite(one) for one in counts)
            is_new = type(iteration) is int and iteration not in reached
            is_sound = is_new and is_own and has_counts
            if is_sound:
                reached.add(iteration)
            found.append((line, record if is_sound else None))
        return found

    def _unfinished(self) -> list[pathlib.Path]:
        """What a killed process has left of the files of a run."""
        names = [self.config, self.run_id, self.metrics, self.evaluation, self.policy, self.report]
        names += self.pictures.values()
        found = (one.parent.glob(f"{one.name}*{files.UNFINISHED}") for one in names)
        return [path for paths in found for path in paths]

    def _read_id(self) -> str | None:
        return _first_word(self.run_id)

    def _check_links(self) -> None:
        """Raises OptionError where writing would be led to another place.

        Files that are replaced as a whole are not among them: a link makes way as well.
        """
        appended = (self.lock, self.metrics, records.aside(self.metrics))
        for path in (*appended, self.checkpoints, self.tensorboard, self.wandb):
            if path.is_symlink():
                problem = f"{path.name} is a link; put what it leads to in its place"
                raise OptionError(f"--run-dir {self.path}", f"{problem}: runs write nowhere else")


def _first_word(path: pathlib.Path) -> str | None:
    """The first word of a file; None without such a file."""
    try:
        words = path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError):
        return None
    return words[0] if words else None
