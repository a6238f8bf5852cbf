"""Optional logging backends: TensorBoard and Weights & Biases."""

from __future__ import annotations

import importlib.util
import secrets
from collections.abc import Iterable
from typing import Any, Protocol

from metajax.core.options import OptionError
from metajax.run.config import Config, TrainOptions
from metajax.run.directory import RunDirectory

_MODULES = {"tensorboard": "tensorboardX", "wandb": "wandb"}


class Logger(Protocol):
    """A consumer of the records of ``metrics.jsonl``, called as they are written."""

    def write(self, records: Iterable[dict[str, Any]]) -> None: ...

    def close(self) -> None: ...


def check_installed(options: TrainOptions) -> None:
    """Raises ``OptionError`` if a requested backend is not installed."""
    for name, module in _MODULES.items():
        if getattr(options, name) and importlib.util.find_spec(module) is None:
            raise OptionError(
                f"train.{name}",
                f"needs the package {module}, which is not installed; "
                f"make install EXTRAS={name}, or set it to false",
            )


def open_loggers(run: RunDirectory, config: Config, start: int) -> list[Logger]:
    """The backends requested by the config; ``start`` is the number of iterations done."""
    loggers: list[Logger] = []
    if config.train.tensorboard:
        loggers.append(_TensorBoard(run, start))
    if config.train.wandb:
        loggers.append(_WandB(run, config))
    return loggers


class _TensorBoard:
    def __init__(self, run: RunDirectory, start: int) -> None:
        from tensorboardX import SummaryWriter

        purge = start + 1 if start else None
        suffix = f".{secrets.token_hex(4)}"  # a name at which no link can wait
        directory = str(run.tensorboard)
        self._writer = SummaryWriter(directory, purge_step=purge, filename_suffix=suffix)

    def write(self, records: Iterable[dict[str, Any]]) -> None:
        for record in records:
            for name, value in scalars(record).items():
                self._writer.add_scalar(name, value, record["iteration"])
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class _WandB:
    def __init__(self, run: RunDirectory, config: Config) -> None:
        import wandb  # pyright: ignore[reportMissingImports]

        self._run = wandb.init(
            project=config.train.wandb_project,
            name=run.path.resolve().name,
            id=run.wandb_run(),
            resume="allow",
            dir=str(run.path),
            config=config.to_dict(),
        )

    def write(self, records: Iterable[dict[str, Any]]) -> None:
        for record in records:
            self._run.log(scalars(record), step=record["iteration"])

    def close(self) -> None:
        self._run.finish()


def scalars(record: dict[str, Any]) -> dict[str, float]:
    """The numbers of a record, with lists flattened: ``returns/0``, ``returns/1``."""
    flat: dict[str, float] = {}
    for name, value in record.items():
        if isinstance(value, list):
            flat.update({f"{name}/{i}": one for i, one in enumerate(value)})
        elif name != "iteration":
            flat[name] = value
    return {name: value for name, value in flat.items() if isinstance(value, int | float)}
