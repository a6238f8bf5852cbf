"""The meta-test of a trained run: a table, ``evaluation.json`` and pictures."""

from __future__ import annotations

import pathlib
from typing import Any

import jax
import numpy as np

from metajax.core.options import OptionError, kebab
from metajax.core.types import MetaAlgorithm, TaskFamily, Tree
from metajax.evaluation import Evaluation, evaluate
from metajax.run.config import Config
from metajax.run.directory import RunDirectory
from metajax.run.numbers import plain

# Keeps held-out tasks apart from the training tasks of an equal seed.
_META_TEST = 0x7E57


def evaluation_key(config: Config) -> jax.Array:
    """The key of the held-out tasks; independent of every training key."""
    return jax.random.fold_in(jax.random.key(config.evaluate.seed), _META_TEST)


def meta_test(
    config: Config,
    algorithm: MetaAlgorithm,
    held_out: TaskFamily,
    theta: Tree,
    *,
    explore: bool | None = None,
) -> Evaluation:
    """Adapts ``theta`` to held-out tasks as the config's ``[evaluate]`` says.

    Args:
      config: of the run.
      algorithm, held_out: ``config.build()``'s.
      theta: meta-parameters.
      explore: in place of the config's.

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
        explore=options.explore if explore is None else explore,
    )


def check_meta_test(config: Config, algorithm: MetaAlgorithm, held_out: TaskFamily) -> None:
    """Traces the meta-test of one task without running it.

    Raises:
      OptionError: for settings of ``[evaluate]`` that do not fit the algorithm.
    """
    options = config.evaluate

    def of_task(key):
        return algorithm.adapt(
            key,
            algorithm.init(key).theta,
            held_out.sample(key),
            family=held_out,
            num_adaptations=options.num_adaptations,
            num_streams=options.num_streams,
            explore=options.explore,
        ).returns

    try:
        jax.eval_shape(of_task, jax.random.key(0))
    except OptionError as error:
        # A held-out family may be too short for what the algorithm was given.
        section = "algorithm" if error.field == "horizon" else "evaluate"
        raise OptionError(f"{section}.{kebab(error.field)}", error.problem) from None
    except (ValueError, OverflowError) as error:
        first = str(error).strip().splitlines()[0]
        raise OptionError("evaluate", f"these sizes do not work together: {first}") from error


def from_random(config: Config, algorithm: MetaAlgorithm, held_out: TaskFamily) -> Evaluation:
    """The same meta-test of weights that were never trained.

    What adaptation gains from there says how much of a curve is due to training.
    """
    key = jax.random.fold_in(evaluation_key(config), 2)
    # Compiled, so that of all that a training begins with theta alone is made.
    theta = jax.jit(lambda key: algorithm.init(key).theta)(key)
    return meta_test(config, algorithm, held_out, theta)


def to_record(
    evaluation: Evaluation, baseline: Evaluation, config: Config, checkpoint: int
) -> dict[str, Any]:
    """An evaluation for JSON: means, 95% intervals, all returns and where they come from.

    Args:
      evaluation: of the trained weights.
      baseline: of random ones, see ``from_random``.
      config: of the run.
      checkpoint: the iteration that was measured.
    """
    from metajax.run import machine

    return {
        "family": config.held_out.name,
        "algorithm": config.algorithm.name,
        "checkpoint": checkpoint,
        "num_tasks": len(evaluation.returns),
        "axis": evaluation.axis,
        "steps": None if evaluation.steps is None else evaluation.steps.tolist(),
        "explore": evaluation.explore,
        "mean": plain(evaluation.mean()),
        "interval": plain(evaluation.interval()),
        "env_steps": evaluation.env_steps,
        "from_random": {
            "mean": plain(baseline.mean()),
            "interval": plain(baseline.interval()),
            "returns": plain(baseline.returns),
            "env_steps": baseline.env_steps,
        },
        "config": config.to_dict(),
        "config_digest": config.digest(),
        "environment": machine.environment(),
        "returns": plain(evaluation.returns),
    }


def from_record(record: dict[str, Any]) -> tuple[Evaluation, Evaluation]:
    """The evaluation and the baseline that ``to_record`` wrote."""

    steps = None if record.get("steps") is None else np.asarray(record["steps"], np.int64)

    def read(values: dict[str, Any]) -> Evaluation:
        return Evaluation(
            returns=np.asarray(values["returns"], np.float32),
            axis=record["axis"],
            explore=record["explore"],
            env_steps=values["env_steps"],
            steps=steps,
        )

    return read(record), read(record["from_random"])


def draw(
    run: RunDirectory,
    config: Config,
    evaluation: Evaluation,
    baseline: Evaluation,
    algorithm: MetaAlgorithm,
    held_out: TaskFamily,
    theta: Tree,
) -> list[pathlib.Path]:
    """Writes the run's pictures.

    Returns:
      Their paths: the return over adaptations, the return over training, the settings
      that are learned if any are, and, for tasks in the plane, trajectories from the first
      to the last adaptation or episode (not of lifetimes, whose chunks are pieces of
      episodes).
    """
    from metajax.run import plots, trajectories

    paths = [run.pictures["adaptation"]]
    plots.adaptation_curve(
        paths[0], {config.algorithm.name: evaluation, "random initialisation": baseline}
    )
    if held_out.spec.plane is not None and evaluation.axis != "points":
        paths.append(run.pictures["trajectories"])
        key = jax.random.fold_in(evaluation_key(config), 1)
        # A continuing trial has no adaptations; its axis counts episodes.
        number = None if evaluation.axis == "episodes" else evaluation.num_adaptations
        trajectories.draw(paths[-1], algorithm, key, theta, held_out, number)
    metrics = [one for one in run.read_metrics() if one.get("returns")]
    if metrics:
        paths.append(run.pictures["training"])
        plots.learning_curves(paths[-1], {config.algorithm.name: [metrics]}, evaluation.axis)
    if metrics and algorithm.schedules:
        paths.append(run.pictures["schedules"])
        columns = ("iteration", *algorithm.schedules)
        learned = {name: [one[name] for one in metrics] for name in columns}
        plots.schedules(paths[-1], {config.algorithm.name: [learned]})
    return paths
