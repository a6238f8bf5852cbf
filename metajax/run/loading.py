"""A run directory from Python."""

from __future__ import annotations

import pathlib
from typing import NamedTuple

from metajax.core.algorithm import MetaAlgorithm, MetaState
from metajax.core.family import Family
from metajax.run import checkpoints, loop
from metajax.run.config import Config
from metajax.run.directory import RunDirectory


class LoadedRun(NamedTuple):
    """What a run directory holds, as objects.

    Attributes:
      algorithm: the one that was trained, on its family.
      family: the held-out family that the run is measured on.
      state: the training state; ``state.theta`` are the meta-parameters.
      iteration: meta-iterations that it was trained for.
      config: all settings of the run.
    """

    algorithm: MetaAlgorithm
    family: Family
    state: MetaState
    iteration: int
    config: Config


def load_run(path: str | pathlib.Path, checkpoint: int | None = None) -> LoadedRun:
    """What ``metajax train`` has left in a run directory, to be used from Python.

    Names of your own have to be registered before, as by importing their module.

    Args:
      path: the run directory.
      checkpoint: the iteration; by default the latest that was kept.

    Raises:
      OptionError: where there is no run, or its config cannot be used.
      CheckpointError: if the checkpoint is missing or damaged.
    """
    run = RunDirectory(path)
    config = run.read_config()
    kept = checkpoints.iterations(run.checkpoints)
    if checkpoint is None:
        if not kept:
            raise checkpoints.CheckpointError(f"{path} has no checkpoint; let it train further")
        checkpoint = kept[-1]
    algorithm, family = config.build()
    state = loop.restore_state(run, algorithm, checkpoint)
    return LoadedRun(algorithm, family, state, checkpoint, config)
