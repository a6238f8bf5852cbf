"""A run directory: what it holds, who may write to it, and its metrics."""

from __future__ import annotations

import json
import os
import pathlib
import secrets
import shutil
from collections.abc import Iterable
from typing import IO, Any

from metajax.core.options import OptionError
from metajax.run.config import Config, parse

_UNFINISHED = ".unfinished"
_PICTURES = ("adaptation", "trajectories", "training", "schedules")


class InUse(OptionError):
    """A run directory that another process is training in."""


class RunDirectory:
    """``config.toml``, ``metrics.jsonl``, ``checkpoints/`` and results of one run.

    Importing and checking it needs no jax. The directory is locked from
    ``claim`` to ``release``; the lock ends with the process however that ends.
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
        """The same run, whose evaluation and pictures go to another directory, which is made.

        Raises:
          OSError: if it cannot be created.
        """
        other = RunDirectory(self.path)
        other._report_to(pathlib.Path(path))
        pathlib.Path(path).mkdir(parents=True, exist_ok=True)
        return other

    def is_run(self) -> bool:
        """Whether a run has been started here."""
        return self.config.is_file()

    def is_used(self) -> bool:
        """Whether anything is here but what a start that failed has left."""
        if not self.path.is_dir():
            return self.path.exists()
        here = [one.name for one in self.path.iterdir()]
        return any(name != "lock" and not name.endswith(_UNFINISHED) for name in here)

    def check_free(self, resume: bool, overwrite: bool) -> None:
        """Refuses a directory that must not be written to; writes nothing.

        Raises:
          OptionError: used without ``resume`` or ``overwrite``; nothing to resume;
            to be overwritten, but with something else than a run inside.
        """
        if resume and overwrite:
            raise OptionError("--resume", "cannot be given together with --overwrite")
        where = f"--run-dir {self.path}"
        if resume and not self.is_run():
            raise OptionError(where, "holds no run to resume; leave out --resume to start one")
        if self.is_used() and not resume:
            if not self.is_run():
                raise OptionError(
                    where, "is in use and holds no run; choose an empty or new directory"
                )
            if not overwrite:
                raise OptionError(
                    where,
                    "holds a run already; continue it with --resume, replace it with "
                    "--overwrite, or choose another directory",
                )

    def read_config(self, overrides: Iterable[str] = ()) -> Config:
        """The config of the run here, with ``"section.option=value"`` changed.

        Raises:
          OptionError: where there is no run, or its config cannot be used.
        """
        try:
            text = self.config.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            raise OptionError(
                str(self.path), "is not a run directory: it has no readable config.toml"
            ) from None
        return parse(text, overrides, source=str(self.config))

    def is_claimed(self) -> bool:
        """Whether a process is training here."""
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
          InUse: if another process is training here.
          OSError: if it cannot be created or locked.
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
        """Ends the lock."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def clear(self) -> None:
        """Removes the run that was here, and nothing that a run did not write."""
        for directory in (self.checkpoints, self.tensorboard, self.wandb):
            shutil.rmtree(directory, ignore_errors=True)
        files = (self.metrics, self.evaluation, self.wandb_id, *self.pictures.values())
        for path in (*files, self.config):
            path.unlink(missing_ok=True)

    def write_config(self, config: Config) -> None:
        """Writes ``config.toml``, all of it or not at all."""
        _replace(self.config, config.to_toml())

    def cut_metrics(self, iteration: int) -> dict[str, Any]:
        """Drops the lines after ``iteration``; returns the last one kept, or ``{}``."""
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
            _replace(self.metrics, "".join(f"{line}\n" for line in kept))
        return last

    def append_metrics(self, records: Iterable[dict[str, Any]]) -> None:
        """Adds one line for each record and waits until they are on disk."""
        lines = "".join(f"{json.dumps(record, allow_nan=False)}\n" for record in records)
        with open(self.metrics, "a", encoding="utf-8") as file:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())

    def read_metrics(self) -> list[dict[str, Any]]:
        """All complete lines of ``metrics.jsonl``."""
        records = []
        for line in self._metric_lines():
            try:
                records.append(json.loads(line))
            except ValueError:
                break
        return records

    def wandb_run(self) -> str:
        """The id of this run at Weights & Biases, drawn once and kept as long as the run is."""
        if not self.wandb_id.is_file():
            _replace(self.wandb_id, f"{secrets.token_hex(8)}\n")
        return self.wandb_id.read_text(encoding="utf-8").strip()

    def write_evaluation(self, record: dict[str, Any]) -> None:
        """Writes ``evaluation.json``, all of it or not at all."""
        _replace(self.evaluation, json.dumps(record, indent=1) + "\n")

    def _metric_lines(self) -> list[str]:
        if not self.metrics.exists():
            return []
        return self.metrics.read_text(encoding="utf-8", errors="replace").splitlines()


def _replace(path: pathlib.Path, text: str) -> None:
    temporary = path.with_name(path.name + _UNFINISHED)
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
