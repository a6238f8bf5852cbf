"""Run directories: layout, lock, config and metrics on disk."""

from __future__ import annotations

import json
import math
import os
import pathlib
import secrets
import shutil
from collections.abc import Iterable
from typing import IO, Any

from metajax.core.options import OptionError
from metajax.run import files
from metajax.run.config import Config, parse

_UNFINISHED = ".unfinished"
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
        self._lock: IO[str] | None = None
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
        return any(name != "lock" and not name.endswith(_UNFINISHED) for name in here)

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
          OSError: If the directory cannot be created or locked.
        """
        import fcntl

        self.path.mkdir(parents=True, exist_ok=True)
        lock = open(self.path / "lock", "w")  # noqa: SIM115, held until release
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise InUse(
                f"--run-dir {self.path}", "another process is training here; choose another"
            ) from None
        self._lock = lock

    def release(self) -> None:
        """Releases the lock."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def clear(self) -> None:
        """Removes the files of a run, and no others."""
        for directory in (self.checkpoints, self.tensorboard, self.wandb):
            shutil.rmtree(directory, ignore_errors=True)
        files = (self.metrics, self.evaluation, self.wandb_id, *self.pictures.values())
        for path in (*files, self.config):
            path.unlink(missing_ok=True)

    def write_config(self, config: Config) -> None:
        """Writes ``config.toml`` atomically."""
        _replace(self.config, config.to_toml())

    def cut_metrics(self, iteration: int) -> dict[str, Any]:
        """Drops the records after ``iteration``; returns the last one kept, or ``{}``."""
        kept, last = [], {}
        for line in self._metric_lines():
            try:
                record = _as_record(line)
            except ValueError:
                break
            if record["iteration"] > iteration:
                break
            kept.append(line)
            last = record
        if self.metrics.exists():
            _replace(self.metrics, "".join(f"{line}\n" for line in kept))
        return last

    def append_metrics(self, records: Iterable[dict[str, Any]]) -> None:
        """Appends one line per record and waits until they are on disk."""
        lines = "".join(f"{json.dumps(record, allow_nan=False)}\n" for record in records)
        with open(self.metrics, "a", encoding="utf-8") as file:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())

    def read_metrics(self) -> list[dict[str, Any]]:
        """The records in ``metrics.jsonl``, up to the first incomplete line."""
        records = []
        for line in self._metric_lines():
            try:
                records.append(_as_record(line))
            except ValueError:
                break
        return records

    def wandb_run(self) -> str:
        """The id of the run at Weights & Biases, drawn once and stored in the directory."""
        if not self.wandb_id.is_file():
            _replace(self.wandb_id, f"{secrets.token_hex(8)}\n")
        return self.wandb_id.read_text(encoding="utf-8").strip()

    def write_evaluation(self, record: dict[str, Any]) -> None:
        """Writes ``evaluation.json`` atomically."""
        _replace(self.evaluation, json.dumps(record, indent=1) + "\n")

    def _metric_lines(self) -> list[str]:
        if not self.metrics.exists():
            return []
        return files.read(self.metrics).decode(errors="replace").splitlines()


def _as_record(line: str) -> dict[str, Any]:
    """The record of a line of metrics; raises ValueError for anything else."""
    record = files.parse_json(line)
    if not isinstance(record, dict) or not isinstance(record.get("iteration"), int):
        raise ValueError("not a record")
    for value in (record.get("env_steps", 0), record.get("seconds", 0)):
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError("not a record")
    return record


def _replace(path: pathlib.Path, text: str) -> None:
    temporary = path.with_name(path.name + _UNFINISHED)
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
