"""The meta-test of a trained run: a table, ``evaluation.json`` and pictures."""

from __future__ import annotations

import math
import pathlib
from typing import Any

import jax
import numpy as np

from metajax.config import Config
from metajax.evaluation import Evaluation, evaluate
from metajax.run.directory import RunDirectory
from metajax.types import MetaAlgorithm, TaskFamily, Tree

# Keeps held-out tasks apart from the training tasks of an equal seed.
_META_TEST = 0x7E57


def evaluation_key(config: Config) -> jax.Array:
    """The key of the held-out tasks; independent of every training key."""
    return jax.random.fold_in(jax.random.key(config.evaluate.seed), _META_TEST)


def meta_test(
    config: Config, algorithm: MetaAlgorithm, held_out: TaskFamily, theta: Tree
) -> Evaluation:
    """Adapts ``theta`` to held-out tasks as the config's ``[evaluate]`` says.

    Raises:
      OptionError: for settings that do not fit the algorithm.
    """
    options = config.evaluate
    return evaluate(
        algorithm,
        evaluation_key(config),
        theta,
        held_out,
        num_tasks=options.num_tasks,
        num_adaptations=options.num_adaptations,
        num_streams=options.num_streams,
        explore=options.explore,
    )


def to_record(evaluation: Evaluation, config: Config, checkpoint: int) -> dict[str, Any]:
    """An evaluation for JSON: means, 95% intervals, all returns and where they come from."""
    from metajax.report import records

    return {
        "family": config.held_out.name,
        "algorithm": config.algorithm.name,
        "checkpoint": checkpoint,
        "num_tasks": len(evaluation.returns),
        "axis": evaluation.axis,
        "explore": evaluation.explore,
        "mean": _numbers(evaluation.mean()),
        "interval": _numbers(evaluation.interval()),
        "env_steps": evaluation.env_steps,
        "config": config.to_dict(),
        "config_digest": config.digest(),
        "environment": records.environment(),
        "returns": _numbers(evaluation.returns),
    }


def from_record(record: dict[str, Any]) -> Evaluation:
    """The evaluation that ``to_record`` wrote."""
    return Evaluation(
        returns=np.asarray(record["returns"], np.float32),
        axis=record["axis"],
        explore=record["explore"],
        env_steps=record["env_steps"],
    )


def draw(
    run: RunDirectory,
    config: Config,
    evaluation: Evaluation,
    algorithm: MetaAlgorithm,
    held_out: TaskFamily,
    theta: Tree,
) -> list[pathlib.Path]:
    """Writes the run's pictures.

    Returns:
      Their paths: the return over adaptations, the return over training and, for
      tasks in the plane, trajectories before and after.
    """
    from metajax.report import plots

    paths = [run.path / "adaptation.png"]
    plots.adaptation_curve(paths[0], evaluation)
    if held_out.spec.plane is not None:
        paths.append(run.path / "trajectories.png")
        key = jax.random.fold_in(evaluation_key(config), 1)
        plots.trajectories(paths[-1], algorithm, key, theta, held_out, evaluation.num_adaptations)
    metrics = [one for one in run.read_metrics() if one.get("returns")]
    if metrics:
        paths.append(run.path / "training.png")
        plots.learning_curves(paths[-1], {config.algorithm.name: [metrics]})
    return paths


def _numbers(array: np.ndarray) -> Any:
    def clean(one: Any) -> Any:
        if isinstance(one, list):
            return [clean(item) for item in one]
        return one if math.isfinite(one) else None

    return clean(array.tolist())
