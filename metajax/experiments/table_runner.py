"""Runs the cells of a table that are missing, one record each."""

from __future__ import annotations

import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from metajax.core.algorithm import MetaAlgorithm
from metajax.core.family import Spec
from metajax.core.options import OptionError
from metajax.evaluation import optimal_returns
from metajax.experiments import metrics, selection, tables, tuning
from metajax.experiments.table_cells import Cell, digest
from metajax.experiments.table_definition import VECTORS
from metajax.run import checkpoints, loop, records
from metajax.run.console import out_of_memory
from metajax.run.directory import InUse, RunDirectory
from metajax.run.meta_test import check_meta_test, evaluation_key, meta_test
from metajax.training import initial_state

# Keeps the trials on which an option is chosen apart from those it is measured on.
_SEPARATE = 0x5E9A
# At most, in a record.
_SCHEDULE_POINTS = 100
# Metrics that compare with the best policy that knows the task.
_AGAINST_OPTIMUM = ("regret", "normalized")


class Interrupted(Exception):
    """Training was asked to stop and has saved; ``exit_code`` as of the signal."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(f"interrupted ({exit_code})")
        self.exit_code = exit_code


def run_cells(
    cells: Sequence[Cell],
    profile: str,
    results: pathlib.Path,
    runs: pathlib.Path,
    *,
    resume: bool = False,
    progress: Callable[[str], None] = lambda text: None,
) -> list[str]:
    """Trains and measures each cell and appends its record.

    Args:
      cells: that have no record yet.
      profile: whose they are, for the records.
      results: the file of records.
      runs: where methods that are trained keep their checkpoints.
      resume: continue runs that were interrupted.
      progress: gets a line of text a cell, and one before it is trained.

    Returns:
      what went wrong with single cells, a line each: training met a value that is not a
      number, memory was too small, or another process is training the same.

    Raises:
      OptionError: before anything is run, if a cell has a half-trained run and
        ``resume`` is false, is of sizes that do not fit, or cannot be measured.
      CheckpointError: when a checkpoint cannot be written.
      Interrupted: when a signal ended training; what is done is saved.
    """
    for cell in cells:
        run = run_directory(cell, runs)
        left = cell.row.is_trained and not resume and _is_unfinished(cell, run)
        if left and not run.is_claimed():
            raise OptionError(
                f"{cell.name}, seed {cell.seed}",
                f"{run.path} holds an unfinished run; continue it with --resume, or remove it to "
                "train anew",
            )
    for cell in {cell.name: cell for cell in cells}.values():  # seeds have the same sizes
        _check_cell(cell)
    start = time.monotonic()
    failures = []
    for number, cell in enumerate(cells, start=1):
        before = time.monotonic()
        name = f"{cell.name}, seed {cell.seed}"
        place = f"[{number}/{len(cells)}] {name}"
        if cell.row.is_trained:
            progress(f"{place}: training in {run_directory(cell, runs).path}")
        try:
            record = measure(cell, runs, progress)
        except (loop.NotFinite, InUse, jax.errors.JaxRuntimeError, MemoryError) as error:
            failures.append(f"{name}: {_failure(error)}")
            progress(f"{place} failed: {_failure(error)}")
            continue
        records.append(results, {**record, "profile": profile})
        now = time.monotonic()
        left = (now - start) / number * (len(cells) - number)
        soon = f"; about {tables.duration(left)} left" if left else ""
        value = ", ".join(f"{one:.4g}" for one in np.atleast_1d(record["mean"]))
        progress(f"{place}: {value} in {tables.duration(now - before)}{soon}")
    return failures


def _failure(error: Exception) -> str:
    if isinstance(error, InUse):
        return "another process is training it"
    if isinstance(error, loop.NotFinite):
        return str(error)
    return out_of_memory(error, "fewer tasks")


def _is_unfinished(cell: Cell, run: RunDirectory) -> bool:
    kept = checkpoints.iterations(run.checkpoints)
    return run.is_run() and kept[-1:] != [cell.config.train.num_iterations]


def run_directory(cell: Cell, runs: pathlib.Path) -> RunDirectory:
    """Where a cell that is trained keeps its checkpoints: one place for each training.

    Cells of any table that differ in their measurement only share it.
    """
    if not cell.row.is_trained:
        return RunDirectory(runs)
    name = f"{cell.config.algorithm.name}-{cell.config.family.name}"
    return RunDirectory(runs / f"{name}-seed-{cell.seed}-{cell.training_digest[:8]}")


def measure(
    cell: Cell, runs: pathlib.Path, progress: Callable[[str], None] = lambda text: None
) -> dict[str, Any]:
    """One cell, trained first where its row says so.

    Returns:
      ``table``, ``row``, ``label``, ``column``, ``metric``, ``seed``; ``settings`` (all
      the number depends on, every default written out) and their ``digest``; ``mean``,
      ``standard_error`` (over tasks) and ``interval`` (95%), each a number or a list;
      ``num_tasks``; ``iterations``, ``env_steps``, ``seconds`` of training;
      ``evaluation_seconds``; ``environment``; of a tuned row also ``tuned``; of a
      learning curve also ``steps`` and ``returns`` of every task; where settings are
      learned also ``schedules``, with ``iteration`` a column of each.
    """
    trained = {"iterations": 0, "env_steps": 0, "seconds": 0.0}
    theta = None
    if cell.row.is_trained:
        outcome = _train(cell, runs, progress)
        theta = outcome.state.theta
        trained = {
            "iterations": outcome.iteration,
            "env_steps": outcome.env_steps,
            "seconds": round(outcome.seconds, 2),
            **_schedules(cell, runs),
        }
    start = time.monotonic()
    if cell.row.reference:
        measured = _summary(_reference(cell))
    elif cell.row.tune:
        measured = _tuned(cell)
    else:
        measured = _measured(cell, theta)
    settings = cell.settings
    return {
        "table": cell.table.name,
        "row": cell.row.name,
        "label": cell.row.label,
        "column": cell.column.name,
        "metric": cell.metric,
        "seed": cell.seed,
        **measured,
        "num_tasks": cell.config.evaluate.num_tasks,
        **trained,
        "evaluation_seconds": round(time.monotonic() - start, 2),
        "settings": settings,
        "digest": digest(settings),
        "environment": records.environment(),
    }


def _train(cell: Cell, runs: pathlib.Path, progress: Callable[[str], None]) -> loop.Outcome:
    algorithm, _ = cell.config.build()
    run = run_directory(cell, runs)
    checkpoint = None
    run.claim()
    try:
        if run.is_run():
            kept = checkpoints.iterations(run.checkpoints)
            checkpoint = checkpoints.latest_sound(run.checkpoints)
            if kept and checkpoint != kept[-1]:
                start = checkpoint or 0
                progress(f"checkpoint {kept[-1]} is damaged; going on from iteration {start}")
            loop.check_continuation(run.read_config(), cell.config, checkpoint or 0)
        run.write_config(cell.config)
        outcome = loop.train_run(run, cell.config, algorithm, checkpoint=checkpoint)
    finally:
        run.release()
    if outcome.exit_code:
        raise Interrupted(outcome.exit_code)
    return outcome


def _schedules(cell: Cell, runs: pathlib.Path) -> dict[str, Any]:
    """How settings went that were learned, at some points from the first to the last."""
    names = cell.config.build()[0].schedules
    metrics = run_directory(cell, runs).read_metrics()
    if not names or not metrics:
        return {}
    shown = np.unique(np.linspace(0, len(metrics) - 1, _SCHEDULE_POINTS).astype(int))
    columns = ("iteration", *names)
    return {"schedules": {name: [metrics[i][name] for i in shown.tolist()] for name in columns}}


def _check_cell(cell: Cell) -> None:
    """Raises OptionError where a cell cannot be trained, or measured as the table says."""
    where = f"{cell.table.name}.rows.{cell.row.name}"
    if cell.row.reference:
        _check_reference(cell, where)
        return
    try:
        algorithm, held_out = cell.measured.build()
    except OptionError as error:
        raise OptionError(f"{where}.{error.field}", error.problem) from None
    _check_metric(cell, where, algorithm.axis, held_out.spec)
    _check_finetune(cell, where, algorithm)
    try:
        if cell.row.is_trained:
            loop.check_sizes(cell.config.build()[0])
        check_meta_test(cell.measured, algorithm, held_out)
    except OptionError as error:
        raise OptionError(f"{where}.{error.field}", error.problem) from None


def _check_reference(cell: Cell, where: str) -> None:
    spec, optimal = cell.config.held_out.options.build().spec, cell.row.reference != "random-policy"
    per_task = optimal and spec.optimal_return is not None
    exact = (spec.oracle_return if optimal else spec.random_return) is not None
    if cell.metric == "learning-curve":
        raise OptionError(f"{where}.reference", "has no learning curve; remove the row")
    # Regret and ratios are of tasks, an expectation over tasks is not enough for them.
    if not (per_task or (exact and cell.metric not in _AGAINST_OPTIMUM)):
        raise OptionError(
            f"{where}.reference",
            f'family "{spec.name}" does not say what the {cell.row.reference} returns',
        )


def _check_metric(cell: Cell, where: str, axis: str, spec: Spec) -> None:
    metric, name = cell.metric, cell.measured.algorithm.name
    if metric == "learning-curve" and axis != "points":
        problem = f'"{name}" has none; allowed: algorithms whose trials are lifetimes'
        raise OptionError(f"{where}.learning-curve", problem)
    if metric not in VECTORS and axis == "points":
        problem = f'"{metric}" is of whole trials, and "{name}" has lifetimes'
        raise OptionError(f"{where}.metric", f"{problem}; allowed: learning-curve")
    if metric in _AGAINST_OPTIMUM and spec.optimal_return is None:
        problem = f'"{metric}" needs a family whose optimal return is known'
        raise OptionError(f"{where}.metric", problem)
    if cell.row.tune and axis != "episodes":
        problem = "only methods whose trials are continuing can be tuned"
        raise OptionError(f"{where}.tune", problem)


def _check_finetune(cell: Cell, where: str, algorithm: MetaAlgorithm) -> None:
    if cell.measured.algorithm == cell.config.algorithm:
        return

    def shapes(one):
        theta = jax.eval_shape(one.init, jax.random.key(0)).theta
        return jax.tree.map(lambda leaf: (leaf.shape, str(leaf.dtype)), theta)

    if shapes(cell.config.build()[0]) != shapes(algorithm):
        raise OptionError(
            f"{where}.finetune",
            f"the theta of {cell.config.algorithm.name} does not fit "
            f"{cell.measured.algorithm.name}; allowed: options that give it the same shapes",
        )


def _measured(cell: Cell, theta: Any) -> dict[str, Any]:
    """The metric over the tasks of the evaluation; theta None stands for initial weights."""
    if theta is None:
        theta = initial_state(cell.config.build()[0], loop.run_key(cell.config)).theta
    algorithm, held_out = cell.measured.build()
    evaluation = meta_test(cell.measured, algorithm, held_out, theta)
    streams = _streams(cell) if evaluation.axis == "adaptations" else 1
    optimum = _optimum(cell, held_out)
    values = metrics.reduce(cell.metric, evaluation.returns, streams=streams, optimum=optimum)
    measured = _summary(values)
    if cell.metric == "learning-curve":
        measured |= {"steps": evaluation.positions.tolist(), "returns": values.round(3).tolist()}
    return measured


def _streams(cell: Cell) -> int:
    """Episodes side by side before each adaptation."""
    chosen = cell.config.evaluate.num_streams
    return chosen or getattr(cell.measured.algorithm.options, "num_streams", 1)


def _optimum(cell: Cell, family: Any, key: jax.Array | None = None) -> np.ndarray | None:
    if cell.metric not in _AGAINST_OPTIMUM:
        return None
    key = evaluation_key(cell.config) if key is None else key
    return optimal_returns(key, family, cell.config.evaluate.num_tasks)


def _reference(cell: Cell) -> np.ndarray:
    """What a policy that knows everything, or nothing, expects; exact where it is known."""
    _check_reference(cell, f"{cell.table.name}.rows.{cell.row.name}")
    family = cell.config.held_out.options.build()
    spec, config = family.spec, cell.config
    exact = spec.oracle_return if cell.row.reference == "optimal-policy" else spec.random_return
    if exact is not None and cell.metric not in _AGAINST_OPTIMUM:
        per_episode = np.full(1, exact)
    else:
        per_episode = optimal_returns(evaluation_key(config), family, config.evaluate.num_tasks)
    assert per_episode is not None
    number = spec.episodes_per_trial
    if cell.metric == "after-steps":
        number = (config.evaluate.num_adaptations or 0) + 1
    returns = np.repeat(per_episode[:, None], number, axis=1)
    return metrics.reduce(cell.metric, returns, optimum=per_episode)


def _tuned(cell: Cell) -> Mapping[str, Any]:
    """The whole grid on the evaluation trials and on separate ones, and what is chosen."""
    ((option, values),) = cell.row.tune.items()
    held_out = cell.config.held_out.options.build()
    totals = tuning.grid_totals(cell.config, option, values)
    key = evaluation_key(cell.config)

    def number(value):
        options = tuning.options_with(cell.config, option, value)
        return getattr(options, "num_episodes", None) or held_out.spec.episodes_per_trial

    def grid(key):
        optimum = _optimum(cell, held_out, key)
        summaries = [
            _summary(
                metrics.reduce(
                    cell.metric, total[:, None], num_episodes=number(value), optimum=optimum
                )
            )
            for value, total in zip(values, totals(key), strict=True)
        ]
        return {name: [one[name] for one in summaries] for name in ("mean", "standard_error")}

    here, separate = grid(key), grid(jax.random.fold_in(key, _SEPARATE))
    tuned = {"option": option, "values": list(values)}
    tuned |= {"on_evaluation": here, "on_separate": separate}
    return selection.chosen({"tuned": tuned}, cell.table.better)


def _summary(values: np.ndarray) -> dict[str, Any]:
    """Mean, standard error and 95% interval over tasks; a lone value, exact, has none."""
    mean = values.mean(axis=0)
    error = metrics.standard_error(values)
    return {
        "mean": mean.tolist(),
        "standard_error": error.tolist(),
        "interval": selection.interval(mean, error),
    }
