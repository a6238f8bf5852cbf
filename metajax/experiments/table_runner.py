"""Runs the cells of a table that are missing, one record each."""

from __future__ import annotations

import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from metajax import inner, outer
from metajax.composition import compose
from metajax.core.algorithm import MetaAlgorithm
from metajax.core.family import DataSpec, Spec
from metajax.core.layout import Layout
from metajax.core.options import OptionError
from metajax.core.quantities import duration
from metajax.data.few_shot import few_shot
from metajax.evaluation import optimal_returns
from metajax.experiments import metrics, tuning
from metajax.experiments.table_cells import Cell, naming
from metajax.experiments.table_definition import AFTER_STEPS, VECTORS
from metajax.run import checkpoints, loop, machine, numbers, records
from metajax.run.config import digest
from metajax.run.console import out_of_memory
from metajax.run.directory import InUse, Lost, RunDirectory
from metajax.run.meta_test import check_meta_test, evaluation_key, meta_test
from metajax.training import initial_state

# Keeps the trials on which an option is chosen apart from those it is measured on.
_SEPARATE = 0x5E9A
# Most points in a record of what changes while training.
_TRAINING_POINTS = 100
# Metrics that compare with the best policy that knows the task.
_AGAINST_OPTIMUM = ("regret", "normalized")
_OF_TASKS = (*_AGAINST_OPTIMUM, "success")

Progress = Callable[[str], None]


class Interrupted(Exception):
    """Training was asked to stop and has saved; the argument is the exit code of the signal."""


def run_cells(
    cells: Sequence[Cell],
    profile: str,
    results: pathlib.Path,
    runs: pathlib.Path,
    *,
    resume: bool = False,
    progress: Progress = lambda text: None,
) -> list[str]:
    """Trains and measures each cell and appends its record.

    Args:
      cells: cells without a record.
      profile: name of their profile, for the records.
      results: file of records.
      runs: directory of runs of methods that are trained.
      resume: continue runs that were interrupted.
      progress: receives a line of text a cell, and one before it is trained.

    Returns:
      What went wrong with single cells, a line each: training met a value that is not a
      number, memory was too small, or another process is training the same.

    Raises:
      OptionError: before anything is run, if a cell has a half-trained run and ``resume`` is
        false, has sizes that do not fit, or cannot be measured.
      CheckpointError: when a checkpoint cannot be written.
      Interrupted: when a signal ended training; what is done is saved.
    """
    for cell in () if resume else cells:
        _check_finished(cell, runs)
    for cell in {cell.name: cell for cell in cells}.values():  # seeds have the same sizes
        _check(cell)
    start, failures = time.monotonic(), []
    for number, cell in enumerate(cells, start=1):
        before, name = time.monotonic(), f"{cell.name}, seed {cell.seed}"
        place = f"[{number}/{len(cells)}] {name}"
        try:
            if cell.row.is_trained:
                progress(f"{place}: training in {run_directory(cell, runs).path}")
            record = measure(cell, runs, progress)
        except (loop.NotFinite, InUse, Lost, jax.errors.JaxRuntimeError, MemoryError) as error:
            problem = "another process is training it" if isinstance(error, InUse) else str(error)
            if not isinstance(error, InUse | Lost | loop.NotFinite):
                problem = out_of_memory(error, "fewer tasks")
            failures.append(f"{name}: {problem}")
            progress(f"{place} failed: {problem}")
            continue
        records.append(results, {**record, "profile": profile})
        now = time.monotonic()
        left = (now - start) / number * (len(cells) - number)
        soon = f"; about {duration(left)} left" if left else ""
        value = ", ".join(f"{one:.4g}" for one in np.atleast_1d(record["mean"]))
        progress(f"{place}: {value} in {duration(now - before)}{soon}")
    return failures


def run_directory(cell: Cell, runs: pathlib.Path) -> RunDirectory:
    """The directory of a training, which cells share that differ in their measurement only."""
    name = f"{cell.config.algorithm.name}-{cell.config.family.name}-seed-{cell.seed}"
    return RunDirectory(runs / f"{name}-{cell.training_digest[:8]}")


def measure(
    cell: Cell, runs: pathlib.Path, progress: Progress = lambda text: None
) -> dict[str, Any]:
    """One cell, trained first where its row says so.

    Returns:
      ``table``, ``row``, ``label``, ``column``, ``metric``, ``seed``; ``settings`` (all the
      number depends on, with defaults) and their ``digest``; ``mean``, ``standard_error``
      (over tasks) and ``interval`` (95%), each a number or a list; ``num_tasks``;
      ``iterations``, ``env_steps``, ``seconds`` of training; ``evaluation_seconds``;
      ``environment``; of a tuned row also ``tuned``; of a learner whose weights change inside
      a task ``adapted_weights``, their number; of a learning curve ``steps`` and ``returns`` of
      every task; of learned settings ``schedules`` over ``iteration``; of a table with
      training curves ``training``, the ``returns`` of a trial over ``iteration``.
    """
    trained, theta = {"iterations": 0, "env_steps": 0, "seconds": 0.0}, None
    if cell.row.is_trained:
        outcome = _train(cell, runs, progress)
        theta = cell.config.build()[0].deploy(outcome.state)
        trained = {"iterations": outcome.iteration, "env_steps": outcome.env_steps}
        trained |= {"seconds": round(outcome.seconds, 2), **_while_training(cell, runs)}
    start = time.monotonic()
    if cell.row.reference:
        measured = metrics.summary(_reference(cell))
    else:
        measured = _tuned(cell) if cell.row.tune else _measured(cell, theta)
    about = {"table": cell.table.name, "row": cell.row.name, "label": cell.row.label}
    about |= {"column": cell.column.name, "metric": cell.metric, "seed": cell.seed}
    return {
        **about,
        **measured,
        "num_tasks": cell.config.evaluate.num_tasks,
        **trained,
        "evaluation_seconds": round(time.monotonic() - start, 2),
        "settings": (settings := numbers.plain(cell.settings)),
        "digest": digest(settings),
        "environment": machine.environment(),
    }


def _check_finished(cell: Cell, runs: pathlib.Path) -> None:
    """Raises OptionError where a run was left half-trained, and no process goes on with it."""
    if not cell.row.is_trained:
        return
    run, whole = run_directory(cell, runs), [cell.config.train.num_iterations]
    unfinished = run.is_run() and checkpoints.iterations(run.checkpoints)[-1:] != whole
    if unfinished and not run.is_claimed():
        problem = f"{run.path} holds an unfinished run; continue it with --resume, or remove it to"
        raise OptionError(f"{cell.name}, seed {cell.seed}", f"{problem} train anew")


def _train(cell: Cell, runs: pathlib.Path, progress: Progress) -> loop.Outcome:
    run, checkpoint = run_directory(cell, runs), None
    run.claim()
    try:
        if run.is_run():
            kept = checkpoints.iterations(run.checkpoints)
            checkpoint = checkpoints.latest_sound(run.checkpoints, run.id)
            if kept and checkpoint != kept[-1]:
                start = checkpoint or 0
                progress(f"checkpoint {kept[-1]} is damaged; going on from iteration {start}")
            loop.resume(run, cell.config, checkpoint)
        else:
            run.check_free(resume=False, overwrite=False)
        run.write_config(cell.config)
        outcome = loop.train_run(run, cell.config, cell.config.build()[0], checkpoint=checkpoint)
    finally:
        run.release()
    if outcome.exit_code:
        raise Interrupted(outcome.exit_code)
    return outcome


def _while_training(cell: Cell, runs: pathlib.Path) -> dict[str, Any]:
    """``schedules`` and ``training`` of ``measure``, at some iterations from first to last."""
    rows, algorithm = run_directory(cell, runs).read_metrics(), cell.config.build()[0]
    shown = np.unique(np.linspace(0, len(rows) - 1, _TRAINING_POINTS).astype(int)).tolist()

    def kept(*names):
        return {name: [rows[i][name] for i in shown] for name in ("iteration", *names)}

    found: dict[str, Any] = {}
    if rows and algorithm.schedules:
        found["schedules"] = kept(*algorithm.schedules)
    if rows and cell.table.training_curves and rows[0].get("returns"):
        about = {"axis": algorithm.axis, "score": algorithm.family.spec.score}
        found["training"] = about | kept("returns")
    return found


def _check(cell: Cell) -> None:
    """Raises OptionError where a cell cannot be trained, or measured as the table says."""
    with naming(f"{cell.table.name}.rows.{cell.row.name}"):
        if cell.row.reference:
            _reference(cell)
            return
        algorithm, held_out = cell.measured.build()
        _check_metric(cell, algorithm, held_out.spec)
        if cell.measured.algorithm != cell.config.algorithm:
            _check_finetune(cell, algorithm)
        if cell.row.is_trained:
            loop.check_sizes(cell.config.build()[0])
        check_meta_test(cell.measured, algorithm, held_out)


def _check_metric(cell: Cell, algorithm: MetaAlgorithm, spec: Spec | DataSpec) -> None:
    metric, name, axis = cell.metric, cell.measured.algorithm.name, algorithm.axis
    if metric == "learning-curve" and axis != "points":
        problem = f'"{name}" has none; allowed: algorithms whose trials are lifetimes'
        raise OptionError("learning-curve", problem)
    if metric not in VECTORS and axis == "points":
        problem = f'"{metric}" is of whole trials, and "{name}" has lifetimes'
        raise OptionError("metric", f"{problem}; allowed: learning-curve")
    if metric in _AGAINST_OPTIMUM and getattr(spec, "optimal_return", None) is None:
        raise OptionError("metric", f'"{metric}" needs a family whose optimal return is known')
    if metric.startswith("error-") and spec.score != "negative squared error":
        problem = f'"{metric}" is of labelled examples, and {spec.name} has returns'
        raise OptionError("metric", f"{problem}; allowed: {metric.removeprefix('error-')}")
    last = cell.measured.evaluate.num_adaptations
    last = algorithm.problem.num_adaptations if last is None else last
    if max(cell.table.points, default=0) > last:
        problem = f"{max(cell.table.points)} is not possible"
        raise OptionError("points", f"{problem}; allowed: at most num-adaptations, {last}")


def _check_finetune(cell: Cell, algorithm: MetaAlgorithm) -> None:
    def shapes(one):
        theta = jax.eval_shape(lambda key: one.deploy(one.init(key)), jax.random.key(0))
        return jax.tree.map(lambda leaf: (leaf.shape, str(leaf.dtype)), theta)

    if shapes(cell.config.build()[0]) != shapes(algorithm):
        raise OptionError(
            "finetune",
            f"the theta of {cell.config.algorithm.name} does not fit "
            f"{cell.measured.algorithm.name}; allowed: options that give it the same shapes",
        )


def _measured(cell: Cell, theta: Any) -> dict[str, Any]:
    """The metric over the tasks of the evaluation; theta None stands for initial weights."""
    if theta is None:
        untrained = cell.config.build()[0]
        theta = untrained.deploy(initial_state(untrained, loop.run_key(cell.config)))
    algorithm, held_out = cell.measured.build()
    evaluation = meta_test(cell.measured, algorithm, held_out, theta)
    streams = _streams(cell, cell.measured.algorithm.options, evaluation.axis)
    optimum = _optimum(cell, held_out, evaluation_key(cell.config))
    values = metrics.reduce(
        cell.metric,
        evaluation.returns,
        streams=streams,
        optimum=optimum,
        threshold=cell.table.threshold,
    )
    measured = metrics.summary(values)
    if (adapted := _adapted_weights(algorithm)) is not None:
        measured["adapted_weights"] = adapted
    if cell.metric == "learning-curve":
        measured |= {"steps": evaluation.positions.tolist(), "returns": values.round(3).tolist()}
    return measured


def _streams(cell: Cell, options: Any, axis: str) -> int:
    """Episodes side by side before each adaptation, of which a return is the mean."""
    if axis != "adaptations":
        return 1
    return cell.config.evaluate.num_streams or getattr(options, "num_streams", 1)


def _adapted_weights(algorithm: MetaAlgorithm) -> int | None:
    """Number of weights that change inside a task; None for a learner without any."""

    def begin(key):
        return algorithm.learner.begin(key, algorithm.deploy(algorithm.init(key)))

    fast = getattr(jax.eval_shape(begin, jax.random.key(0)), "fast", None)
    return None if fast is None else sum(leaf.size for leaf in jax.tree.leaves(fast))


def _optimum(cell: Cell, family: Any, key: jax.Array) -> np.ndarray | None:
    num_tasks = cell.config.evaluate.num_tasks
    return optimal_returns(key, family, num_tasks) if cell.metric in _AGAINST_OPTIMUM else None


def _reference(cell: Cell) -> np.ndarray:
    """The expectation of a policy that knows everything, or nothing; exact where it is known.

    Raises:
      OptionError: where the family does not say it.
    """
    family, chosen = cell.config.held_out.options.build(), cell.config.evaluate
    spec, optimal = family.spec, cell.row.reference == "optimal-policy"
    exact, per_episode = getattr(spec, "oracle_return" if optimal else "random_return", None), None
    if cell.metric == "learning-curve":
        raise OptionError("reference", "has no learning curve; remove the row")
    if cell.row.reference == "optimal-predictor":
        found = _optimal_scores(cell, family)
        return metrics.reduce(cell.metric, found, threshold=cell.table.threshold)
    # Regret, ratios and successes are of tasks: an expectation over tasks is not enough.
    if exact is not None and cell.metric not in _OF_TASKS:
        per_episode = np.full(1, exact)
    elif optimal:
        per_episode = optimal_returns(evaluation_key(cell.config), family, chosen.num_tasks)
    if per_episode is None:
        problem = f'family "{spec.name}" does not say what the {cell.row.reference} returns'
        raise OptionError("reference", problem)
    number = spec.episodes_per_trial
    if cell.metric in AFTER_STEPS:
        number = (chosen.num_adaptations or 0) + 1
    returns = np.repeat(per_episode[:, None], number, axis=1)
    known: Any = {"optimum": per_episode, "threshold": cell.table.threshold}
    return metrics.reduce(cell.metric, returns, **known)


def _optimal_scores(cell: Cell, family: Any) -> np.ndarray:
    """Scores of the best predictor of labelled examples, as an evaluation returns them."""
    number = cell.config.evaluate.num_streams
    if getattr(family, "bayes", None) is None or number is None:
        raise OptionError(
            "reference",
            "needs labelled examples whose best predictor is known, and evaluate.num-streams",
        )
    problem = few_shot(family, inner.bayes(family, number), num_streams=number, num_query=number)
    algorithm = compose(problem, outer.untrained(problem, Layout.padded(1)))
    return meta_test(cell.config, algorithm, family, ()).returns


def _tuned(cell: Cell) -> Mapping[str, Any]:
    """The whole grid on the evaluation trials and on separate ones, and what is chosen."""
    ((option, values),) = cell.row.tune.items()
    algorithm, held_out = cell.config.build()
    returns_of_values = tuning.grid_returns(cell.config, option, values)

    def grid(key):
        optimum, found = _optimum(cell, held_out, key), []
        for value, returns in zip(values, returns_of_values(key), strict=True):
            options = tuning.options_with(cell.config, option, value)
            streams = _streams(cell, options, algorithm.axis)
            reduced = metrics.reduce(cell.metric, returns, streams=streams, optimum=optimum)
            found.append(metrics.summary(reduced))
        return {name: [one[name] for one in found] for name in ("mean", "standard_error")}

    key = evaluation_key(cell.config)
    tuned = {"option": option, "values": list(values), "on_evaluation": grid(key)}
    tuned["on_separate"] = grid(jax.random.fold_in(key, _SEPARATE))
    return tuning.selected({"tuned": tuned}, cell.better)
