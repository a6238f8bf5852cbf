"""The meta-test of a run, its record ``evaluation.json`` and its pictures."""

from __future__ import annotations

import pathlib
from typing import Any, NamedTuple

import jax
import numpy as np

from metajax.core import files
from metajax.core.algorithm import MetaAlgorithm
from metajax.core.axes import AXES
from metajax.core.family import Family, TaskFamily, Tree
from metajax.core.options import OptionError, kebab
from metajax.evaluation import Evaluation, evaluate
from metajax.run import diagnosis, records
from metajax.run.config import Config, from_dict
from metajax.run.console import command
from metajax.run.directory import RunDirectory
from metajax.run.numbers import NotFinite, plain

# Separates held-out tasks from training tasks with the same seed.
_META_TEST = 0x7E57


def evaluation_key(config: Config) -> jax.Array:
    """The random key of the meta-test, independent of every training key."""
    return jax.random.fold_in(jax.random.key(config.evaluate.seed), _META_TEST)


def meta_test(
    config: Config,
    algorithm: MetaAlgorithm,
    held_out: Family,
    theta: Tree,
    *,
    explore: bool | None = None,
    may_diverge: bool = False,
) -> Evaluation:
    """The evaluation of ``theta`` on held-out tasks, with the settings in ``[evaluate]``.

    Args:
      config: Config of the run.
      algorithm, held_out: Result of ``config.build()``.
      theta: Meta-parameters.
      explore: Override of ``evaluate.explore``.
      may_diverge: Whether returns that are not finite are results like any other.

    Raises:
      OptionError: For settings that do not fit the algorithm.
      NotFinite: For returns that are not finite, unless they may be.
    """
    options = config.evaluate
    evaluation = evaluate(
        algorithm,
        evaluation_key(config),
        theta,
        held_out,
        num_tasks=options.num_tasks,
        num_adaptations=options.num_adaptations,
        num_streams=options.num_streams,
        explore=options.explore if explore is None else explore,
    )
    finite = np.isfinite(evaluation.returns)
    if not (finite.all() or may_diverge):
        first = evaluation.positions[finite.all(axis=0).argmin()]
        raise NotFinite(
            f"the {evaluation.score} of {(~finite.all(axis=1)).sum()} of {len(finite)} held-out "
            f"tasks is not a finite number, first at {first} {evaluation.axis}, as rewards, "
            f"observations or adapted weights are not. {diagnosis.reason(held_out)}"
        )
    return evaluation


def check_meta_test(config: Config, algorithm: MetaAlgorithm, held_out: Family) -> None:
    """Traces the meta-test of one task without running it.

    Raises OptionError for settings in ``[evaluate]`` that do not fit the algorithm.
    """
    options = config.evaluate

    def of_task(key):
        return algorithm.adapt(
            key,
            algorithm.deploy(algorithm.init(key)),
            held_out.sample(key),
            family=held_out,
            num_adaptations=options.num_adaptations,
            num_streams=options.num_streams,
            explore=options.explore,
        ).returns

    try:
        jax.eval_shape(of_task, jax.random.key(0))
    except OptionError as error:
        # Episodes of the held-out family may be too short for the horizon of the algorithm.
        section = "algorithm" if error.field == "horizon" else "evaluate"
        raise OptionError(f"{section}.{kebab(error.field)}", error.problem) from None
    except (ValueError, OverflowError) as error:
        first = str(error).strip().splitlines()[0]
        raise OptionError("evaluate", f"these sizes do not work together: {first}") from error


def from_random(config: Config, algorithm: MetaAlgorithm, held_out: Family) -> Evaluation:
    """The meta-test of untrained weights: the part of the curve not due to training.

    Unlike a trained one it may diverge.
    """
    key = jax.random.fold_in(evaluation_key(config), 2)
    # jit drops all parts of the initial state but those that are deployed.
    theta = jax.jit(lambda key: algorithm.deploy(algorithm.init(key)))(key)
    return meta_test(config, algorithm, held_out, theta, may_diverge=True)


def to_record(
    evaluation: Evaluation, baseline: Evaluation, config: Config, checkpoint: int
) -> dict[str, Any]:
    """An evaluation as JSON: means, 95% intervals, all returns, and their provenance.

    Args:
      evaluation: Evaluation of the trained weights.
      baseline: Evaluation of random weights, see ``from_random``.
      config: Config of the run.
      checkpoint: Iteration of the evaluated checkpoint.
    """
    from metajax.run import machine

    return {
        "family": config.held_out.name,
        "algorithm": config.algorithm.name,
        "checkpoint": checkpoint,
        "num_tasks": len(evaluation.returns),
        "axis": evaluation.axis,
        "score": evaluation.score,
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
    """Evaluation and baseline from the result of ``to_record``.

    What is of another shape raises one of several errors; see ``records.shaped``.
    """
    steps = None if record.get("steps") is None else np.asarray(record["steps"], np.int64)

    def read(values: dict[str, Any]) -> Evaluation:
        found = Evaluation(
            returns=np.asarray(values["returns"], np.float32),
            axis=record["axis"],
            explore=record["explore"],
            env_steps=values["env_steps"],
            steps=steps,
            score=record.get("score", "return"),
        )
        number = len(found.positions)
        if found.returns.shape[1:] != (number,) or not number or found.axis not in AXES:
            raise ValueError("returns of another shape")
        return found

    return read(record), read(record["from_random"])


def read(run: RunDirectory) -> dict[str, Any]:
    """The record of the meta-test of a run.

    Raises:
      OSError: If there is none.
      ValueError: If it is damaged.
    """
    record = files.parse_json(files.read(run.evaluation))
    with records.shaped(run.evaluation):
        from_record(record)
        checkpoint, config = int(record["checkpoint"]), dict(record["config"])
    return {**record, "checkpoint": checkpoint, "config": config}


class Recorded(NamedTuple):
    """The meta-test in ``evaluation.json``, and the same from random weights.

    Attributes:
      evaluation, baseline: Results of ``from_record``.
      checkpoint: Iteration of the checkpoint that was evaluated.
      config: Config of the run with the settings of this evaluation.
      environment: Where it was computed, see ``machine.environment``.
    """

    evaluation: Evaluation
    baseline: Evaluation
    checkpoint: int
    config: Config
    environment: dict[str, Any]


def recorded(run: RunDirectory, config: Config) -> Recorded:
    """The meta-test that a run has on disk.

    Raises OptionError if it is damaged.
    """
    try:
        record = read(run)
        with records.shaped(run.evaluation):
            evaluated, environment = record["config"], dict(record.get("environment") or {})
            held_out = {**evaluated["family"], **evaluated.get("evaluate.family", {})}
            del held_out["name"]
            sections = {"evaluate": evaluated["evaluate"], "evaluate.family": held_out}
            measured = from_dict({**config.to_dict(), **sections})
            return Recorded(*from_record(record), record["checkpoint"], measured, environment)
    except ValueError:
        again = command("evaluate", run.path)
        raise OptionError(str(run.evaluation), f"is damaged; write it again: {again}") from None


def draw(
    run: RunDirectory,
    config: Config,
    evaluation: Evaluation,
    baseline: Evaluation,
    algorithm: MetaAlgorithm,
    held_out: Family,
    theta: Tree,
) -> list[pathlib.Path]:
    """Draws the pictures of a run.

    Returns:
      Paths of the return over adaptations, the return over training, learned settings if
      there are any, and, for tasks in the plane, trajectories over adaptations or episodes
      (except in lifetimes, where chunks are parts of episodes).
    """
    from metajax.run import plots, trajectories
    from metajax.run.references import references

    paths = [run.picture("adaptation")]
    known = references(config, algorithm, held_out, evaluation_key(config))
    about = {"baseline": baseline, "references": known, "family": config.held_out.name}
    plots.adaptation_curve(paths[0], {config.algorithm.name: evaluation}, **about)
    if isinstance(held_out, TaskFamily) and held_out.spec.plane and evaluation.axis != "points":
        paths.append(run.picture("trajectories"))
        key = jax.random.fold_in(evaluation_key(config), 1)
        # In a continuing trial there are no adaptations, and the axis counts episodes.
        number = None if evaluation.axis == "episodes" else evaluation.num_adaptations
        trajectories.draw(paths[-1], algorithm, key, theta, held_out, number)
    metrics = [one for one in run.read_metrics() if one.get("returns")]

    def while_training(*names: str) -> dict[str, Any]:
        with records.shaped(run.metrics):
            every = {name: np.array([one[name] for one in metrics], float) for name in names}
        return {"iteration": [one["iteration"] for one in metrics], **every}

    if metrics:
        paths.append(run.picture("training"))
        trained = while_training("returns") | {"axis": evaluation.axis, "score": evaluation.score}
        plots.training_curves(paths[-1], {config.algorithm.name: [trained]})
    if metrics and algorithm.schedules:
        paths.append(run.picture("schedules"))
        learned = while_training(*algorithm.schedules)
        plots.schedules(paths[-1], {config.algorithm.name: [learned]})
    return paths
