"""Runs the cells of a table that are missing, one record each."""

from __future__ import annotations

import pathlib
import re
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from metajax.evaluation import optimal_returns
from metajax.options import OptionError
from metajax.report import metrics, records, tables, tuning
from metajax.report.table_cells import Cell, digest
from metajax.run import checkpoints, loop
from metajax.run.directory import RunDirectory
from metajax.run.meta_test import evaluation_key, meta_test
from metajax.training import initial_state

# Keeps the trials on which an option is chosen apart from those it is measured on.
_SEPARATE = 0x5E9A


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
) -> None:
    """Trains and measures each cell and appends its record.

    Args:
      cells: that have no record yet.
      profile: whose they are, for the records.
      results: the file of records.
      runs: where methods that are trained keep their checkpoints.
      resume: continue runs that were interrupted.
      progress: gets a line of text a cell.

    Raises:
      OptionError: before anything is run, if a cell has a half-trained run and
        ``resume`` is false, or is of sizes that do not fit.
      Interrupted: when a signal ended training; what is done is saved.
    """
    for cell in cells:
        run = run_directory(cell, runs)
        if cell.row.is_trained and run.is_run() and not resume:
            raise OptionError(
                f"{cell.name}, seed {cell.seed}",
                f"{run.path} holds an unfinished run; continue it with --resume, or remove it to "
                "train anew",
            )
        _check_measurement(cell)
    start = time.monotonic()
    for number, cell in enumerate(cells, start=1):
        before = time.monotonic()
        record = measure(cell, runs)
        records.append(results, {**record, "profile": profile})
        now = time.monotonic()
        left = (now - start) / number * (len(cells) - number)
        soon = f"; about {tables.duration(left)} left" if left else ""
        value = ", ".join(f"{one:.4g}" for one in np.atleast_1d(record["mean"]))
        progress(
            f"[{number}/{len(cells)}] {cell.name}, seed {cell.seed}: {value} "
            f"in {tables.duration(now - before)}{soon}"
        )


def run_directory(cell: Cell, runs: pathlib.Path) -> RunDirectory:
    """Where a cell that is trained keeps its checkpoints; other settings, another place."""
    if not cell.row.is_trained:
        return RunDirectory(runs)
    name = re.sub(r"[^A-Za-z0-9.=-]+", "-", cell.name)
    return RunDirectory(runs / f"{name}-seed-{cell.seed}-{cell.training_digest[:8]}")


def measure(cell: Cell, runs: pathlib.Path) -> dict[str, Any]:
    """One cell, trained first where its row says so.

    Returns:
      ``table``, ``row``, ``label``, ``column``, ``metric``, ``seed``; ``settings`` (all
      the number depends on, every default written out) and their ``digest``; ``mean``,
      ``standard_error`` (over tasks) and ``interval`` (95%), each a number or a list;
      ``num_tasks``; ``iterations``, ``env_steps``, ``seconds`` of training;
      ``evaluation_seconds``; ``environment``; of a tuned row also ``tuned``; of a
      learning curve also ``steps`` and ``returns`` of every task.
    """
    trained = {"iterations": 0, "env_steps": 0, "seconds": 0.0}
    theta = None
    if cell.row.is_trained:
        outcome = _train(cell, runs)
        theta = outcome.state.theta
        trained = {
            "iterations": outcome.iteration,
            "env_steps": outcome.env_steps,
            "seconds": round(outcome.seconds, 2),
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


def _train(cell: Cell, runs: pathlib.Path) -> loop.Outcome:
    algorithm, _ = cell.config.build()
    run = run_directory(cell, runs)
    checkpoint = None
    if run.is_run():
        kept = checkpoints.iterations(run.checkpoints)
        checkpoint = kept[-1] if kept else None
        loop.check_continuation(run.read_config(), cell.config, checkpoint or 0)
    loop.check_sizes(algorithm)
    run.claim()
    try:
        run.write_config(cell.config)
        outcome = loop.train_run(run, cell.config, algorithm, checkpoint=checkpoint)
    finally:
        run.release()
    if outcome.exit_code:
        raise Interrupted(outcome.exit_code)
    return outcome


def _check_measurement(cell: Cell) -> None:
    """Raises OptionError where theta cannot be measured as the table says."""
    if cell.row.reference:
        return
    where = f"{cell.table.name}.rows.{cell.row.name}"
    algorithm, _ = cell.measured.build()
    if cell.metric == "learning-curve" and algorithm.axis != "points":
        name = cell.measured.algorithm.name
        problem = f'"{name}" has none; allowed: algorithms whose trials are lifetimes'
        raise OptionError(f"{where}.learning-curve", problem)
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
    if cell.metric not in ("regret", "normalized"):
        return None
    key = evaluation_key(cell.config) if key is None else key
    return optimal_returns(key, family, cell.config.evaluate.num_tasks)


def _reference(cell: Cell) -> np.ndarray:
    """What a policy that knows everything, or nothing, expects; exact where it is known."""
    family = cell.config.held_out.options.build()
    spec, config = family.spec, cell.config
    exact = spec.oracle_return if cell.row.reference == "optimal-policy" else spec.random_return
    per_episode = None
    # Regret and ratios are of tasks, an expectation over tasks is not enough for them.
    if exact is not None and cell.metric not in ("regret", "normalized"):
        per_episode = np.full(1, exact)
    elif cell.row.reference == "optimal-policy":
        per_episode = optimal_returns(evaluation_key(config), family, config.evaluate.num_tasks)
    if per_episode is None:
        raise OptionError(
            f"{cell.table.name}.rows.{cell.row.name}.reference",
            f'family "{spec.name}" does not say what the {cell.row.reference} returns',
        )
    number = spec.episodes_per_trial
    if cell.metric == "after-steps":
        number = (config.evaluate.num_adaptations or 0) + 1
    returns = np.repeat(per_episode[:, None], number, axis=1)
    return metrics.reduce(cell.metric, returns, optimum=per_episode)


def _tuned(cell: Cell) -> dict[str, Any]:
    """The whole grid on the evaluation trials and on separate ones, and what was chosen.

    The number that counts is that of the value chosen on separate trials. What papers
    report, the best value of the grid on the evaluation trials, stands beside it as
    ``tuned.as_published``.
    """
    ((option, values),) = cell.row.tune.items()
    algorithm, held_out = cell.config.build()
    if algorithm.axis != "episodes":
        where = f"{cell.table.name}.rows.{cell.row.name}.tune"
        raise OptionError(where, "only methods whose trials are continuing can be tuned")
    totals = tuning.grid_totals(cell.config, option, values)
    number = held_out.spec.episodes_per_trial
    key = evaluation_key(cell.config)

    def grid(key):
        optimum = _optimum(cell, held_out, key)
        reduced = [
            metrics.reduce(cell.metric, row[:, None], num_episodes=number, optimum=optimum)
            for row in totals(key)
        ]
        return [_summary(one) for one in reduced]

    here, separate = grid(key), grid(jax.random.fold_in(key, _SEPARATE))
    best, chosen = (_best([one["mean"] for one in each], cell) for each in (here, separate))
    shown = ("mean", "standard_error")
    return {
        **here[chosen],
        "tuned": {
            "option": option,
            "values": list(values),
            "on_evaluation": {name: [one[name] for one in here] for name in shown},
            "on_separate": {name: [one[name] for one in separate] for name in shown},
            "value": values[chosen],
            "as_published": {"value": values[best], **here[best]},
        },
    }


def _best(means: Sequence[float], cell: Cell) -> int:
    sign = 1 if cell.table.better == "higher" else -1
    return int(np.argmax(sign * np.asarray(means)))


def _summary(values: np.ndarray) -> dict[str, Any]:
    """Mean, standard error and 95% interval over tasks; a lone value, exact, has none."""
    mean = values.mean(axis=0)
    error = metrics.standard_error(values)
    return {
        "mean": mean.tolist(),
        "standard_error": error.tolist(),
        "interval": [(mean - 1.96 * error).tolist(), (mean + 1.96 * error).tolist()],
    }
