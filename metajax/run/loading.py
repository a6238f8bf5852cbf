"""Loading of run directories from Python."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import optax

from metajax.core.algorithm import MetaAlgorithm, MetaState
from metajax.core.family import Family
from metajax.core.frames import pandas
from metajax.core.options import OptionError
from metajax.run import checkpoints, loop
from metajax.run.config import Config
from metajax.run.directory import RunDirectory
from metajax.run.numbers import flat

if TYPE_CHECKING:
    from pandas import DataFrame


class LoadedRun(NamedTuple):
    """The contents of a run directory.

    Attributes:
      algorithm: The trained algorithm, on its training family.
      family: The held-out family.
      state: The training state; ``state.theta`` are the meta-parameters.
      iteration: Meta-iterations behind ``state``.
      config: All settings of the run.
    """

    algorithm: MetaAlgorithm
    family: Family
    state: MetaState
    iteration: int
    config: Config

    def __repr__(self) -> str:
        name, family = self.config.algorithm.name, self.config.family.name
        seed = self.config.train.seed
        return f"LoadedRun({name} on {family}, seed {seed}, iteration {self.iteration})"

    @property
    def optimizer(self) -> optax.GradientTransformationExtraArgs:
        """The trained optimiser, an optax transformation for parameters of any shapes.

        That of ``lstm-meta-learner`` needs the loss: ``update(gradients, state, params,
        value=loss)``. The others ignore it.

        Raises:
          OptionError: For a run of an algorithm that is no optimiser.
        """
        make = getattr(self.config.algorithm.options, "optimizer_of", None)
        if make is None:
            name = self.config.algorithm.name
            problem = f'"{name}" is no optimiser; allowed: runs of learned optimisers, such as'
            raise OptionError("algorithm", f'{problem} "lstm-optimizer"')
        theta = self.algorithm.deploy(self.state)
        return optax.with_extra_args_support(make(theta))


def load_run(path: str | pathlib.Path, checkpoint: int | None = None) -> LoadedRun:
    """The algorithm, family, state and config of a run trained by ``metajax train``.

    Families and algorithms of your own must be registered first, by importing their module.

    Args:
      path: Run directory.
      checkpoint: Iteration of the checkpoint. Default: the latest one.

    Raises:
      OptionError: If there is no run, its config is invalid, or not that of the checkpoint.
      CheckpointError: If the checkpoint is missing, damaged or of another run.
    """
    run = RunDirectory(path)
    config = run.read_config()
    kept = checkpoints.iterations(run.checkpoints)
    if checkpoint is None:
        if not kept:
            raise checkpoints.CheckpointError(f"{path} has no checkpoint; let it train further")
        checkpoint = kept[-1]
    algorithm, family = config.build()
    state = loop.restore_state(run, algorithm, checkpoint, config)
    return LoadedRun(algorithm, family, state, checkpoint, config)


def load_metrics(
    paths: str | pathlib.Path | Iterable[str | pathlib.Path],
) -> DataFrame:
    """The metrics of runs, one row for each meta-iteration of each run; needs pandas.

    Args:
      paths: Run directories, or one of them.

    Returns:
      A frame with the columns ``run`` (its path), ``algorithm``, ``family``, ``seed``,
      ``iteration`` and the metrics. Those with several numbers have a column for each:
      ``returns_0`` is the return before adaptation, or of the first episode.

    Raises:
      OptionError: If there is no run, or pandas is missing.
    """
    every = [paths] if isinstance(paths, str | pathlib.Path) else paths
    return pandas().DataFrame([row for path in every for row in metric_rows(path)])


def metric_rows(path: str | pathlib.Path) -> list[dict[str, Any]]:
    """The rows of one run in ``load_metrics``, by column."""
    run = RunDirectory(path)
    config = run.read_config()
    about = {
        "run": str(path),
        "algorithm": config.algorithm.name,
        "family": config.family.name,
        "seed": config.train.seed,
    }
    # The "run" of a record is an id; that of a row is where the run lies.
    return [{**about, **flat(record), "run": str(path)} for record in run.read_metrics()]
