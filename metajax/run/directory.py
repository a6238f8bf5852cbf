"""Run directories: layout, lock, config and metrics on disk."""

from __future__ import annotations

import json
import os
import pathlib
import secrets
from collections.abc import Iterable
from typing import Any

from metajax.core import files
from metajax.core.options import OptionError
from metajax.run.config import Config, parse

_PICTURES = ("adaptation", "trajectories", "training", "schedules")


class InUse(OptionError):
    """A run directory locked by another process."""


class RunDirectory:
    """The directory of one run: ``config.toml``, ``metrics.jsonl``, ``checkpoints/``, results.

    This module does not import jax. The directory is locked between ``claim`` and
    ``release``; the operating system releases the lock if the process dies.
    """

    def __init__(self, path: str | pathlib.Path) -> None:
        self.path = pathlib.Path(path)
        self.config = self.path / "config.toml"
        self.metrics = self.path / "metrics.jsonl"
        self.checkpoints = self.path / "checkpoints"
        self.tensorboard = self.path / "tensorboard"
        self.wandb = self.path / "wandb"
        self.wandb_id = self.path / "wandb-id"
        self.lock = self.path / "lock"
        self._lock: int | None = None
        self._report_to(self.path)

    def _report_to(self, path: pathlib.Path) -> None:
        self.evaluation = path / "evaluation.json"
        self.pictures = {name: path / f"{name}.png" for name in _PICTURES}

    def reporting_to(self, path: str | pathlib.Path) -> RunDirectory:
        """The same run with evaluation and pictures in another directory, which is created.

        Raises OSError if the directory cannot be created.
        """
        other = RunDirectory(self.path)
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
        return any(name != "lock" and not name.endswith(files.UNFINISHED) for name in here)

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
            text = self.config.read_text(encoding="utf-8")
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
        for path in self._unfinished():
            files.delete(path)

    def release(self) -> None:
        """Releases the lock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def clear(self) -> None:
        """Removes the files of a run, and no others."""
        results = (self.metrics, self.evaluation, self.wandb_id, *self.pictures.values())
        directories = (self.checkpoints, self.tensorboard, self.wandb)
        for path in (*directories, *results, *self._unfinished(), self.config):
            files.delete(path)

    def write_config(self, config: Config) -> None:
        """Writes ``config.toml`` atomically."""
        files.replace(self.config, config.to_toml())

    def cut_metrics(self, iteration: int) -> dict[str, Any]:
        """Drops the records after ``iteration``; returns the last one kept, or ``{}``."""
        kept, last = [], {}
        for line in self._metric_lines():
            try:
                record = json.loads(line)
            except ValueError:
                break
            if record["iteration"] > iteration:
                break
            kept.append(line)
            last = record
        if self.metrics.exists():
            files.replace(self.metrics, "".join(f"{line}\n" for line in kept))
        return last

    def append_metrics(self, records: Iterable[dict[str, Any]]) -> None:
        """Appends one line per record and waits until they are on disk."""
        lines = "".join(f"{json.dumps(record, allow_nan=False)}\n" for record in records)
        files.append(self.metrics, lines.encode())

    def read_metrics(self) -> list[dict[str, Any]]:
        """The records in ``metrics.jsonl``, up to the first incomplete line."""
        records = []
        for line in self._metric_lines():
            try:
                records.append(json.loads(line))
            except ValueError:
                break
        return records

    def wandb_run(self) -> str:
        """The id of the run at Weights & Biases, drawn once and stored in the directory."""
        if not self.wandb_id.is_file():
            files.replace(self.wandb_id, f"{secrets.token_hex(8)}\n")
        return self.wandb_id.read_text(encoding="utf-8").strip()

    def write_evaluation(self, record: dict[str, Any]) -> None:
        """Writes ``evaluation.json`` atomically."""
        files.replace(self.evaluation, json.dumps(record, indent=1) + "\n")

    def _metric_lines(self) -> list[str]:
        if not self.metrics.exists():
            return []
        return self.metrics.read_text(encoding="utf-8", errors="replace").splitlines()

    def _unfinished(self) -> list[pathlib.Path]:
        """What a killed process has left of the files of a run."""
        names = [self.config, self.metrics, self.evaluation, self.wandb_id, *self.pictures.values()]
        found = (one.parent.glob(f"{one.name}*{files.UNFINISHED}") for one in names)
        return [path for paths in found for path in paths]

    def _check_links(self) -> None:
        """Raises OptionError where writing would be led to another place.

        Files that are replaced as a whole are not among them: a link makes way as well.
        """
        for path in (self.lock, self.metrics, self.checkpoints, self.tensorboard, self.wandb):
            if path.is_symlink():
                problem = f"{path.name} is a link; put what it leads to in its place"
                raise OptionError(f"--run-dir {self.path}", f"{problem}: runs write nowhere else")
