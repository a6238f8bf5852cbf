"""Loading of run directories from Python."""

from __future__ import annotations

import pathlib
from typing import NamedTuple

import optax

from metajax.core.algorithm import MetaAlgorithm, MetaState
from metajax.core.family import Family
from metajax.core.options import OptionError
from metajax.run import checkpoints, loop
from metajax.run.config import Config
from metajax.run.directory import RunDirectory


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
