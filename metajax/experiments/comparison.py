"""``metajax plot RUN RUN ...``: several runs in one picture, a line for each method."""

from __future__ import annotations

import argparse
import json
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from metajax.core.axes import AXES, score_label
from metajax.core.options import OptionError, suggest
from metajax.experiments import statistics
from metajax.experiments.table_results import over_seeds
from metajax.run import records
from metajax.run.console import say
from metajax.run.curves import smooth
from metajax.run.directory import RunDirectory
from metajax.run.groups import Run, grouped, read, said
from metajax.run.numbers import flat

if TYPE_CHECKING:
    from metajax.evaluation import Evaluation

_FORMATS = (".png", ".pdf", ".svg")
_MOST_POINTS = 500
"""Most points of a training curve, each with an interval of its own."""


def check(options: argparse.Namespace) -> None:
    """Raises OptionError for a mistake in the arguments, without loading jax."""
    path = pathlib.Path(options.output or "")
    if path.suffix and path.suffix not in _FORMATS:
        allowed = ", ".join(_FORMATS)
        raise OptionError("--output", f"{path} ends in {path.suffix}; allowed: {allowed}")
    first, *others = [
        (name, RunDirectory(name).read_config().to_dict()) for name in options.run_dirs
    ]
    for other in others:
        _check_families(first, other)


def plot_command(options: argparse.Namespace) -> int:
    """Draws the picture; returns the exit code.

    Raises:
      OptionError: For runs without anything to draw, or that cannot be compared.
    """
    runs = [_read(name) for name in options.run_dirs]
    groups = grouped(runs)
    measured = [one for one in runs if one.measured is not None]
    for one in measured[1:]:
        _check_measured(measured[0], one)
    for label, members in groups.items():
        short, *_, long = sorted((len(one.metrics), one.name) for one in [*members, *members])
        if 0 < short[0] < long[0]:
            say(f"{label}: training is drawn up to iteration {short[0]}, where {short[1]} ends")
    path = pathlib.Path(options.output or "comparison.png")
    metric = _metric(groups, options.metric)
    draw(path, groups, metric, options.by or "env-steps")
    about = [
        {"label": label, "runs": [one.name for one in members], "seeds": _seeds_of(members)}
        for label, members in groups.items()
    ]
    if options.json:
        print(json.dumps({"groups": about, "files": [str(path)]}))
        return 0
    for one in about:
        print(f"{one['label']}: {_seeds(one['seeds'])}")
    print(f"wrote {path}")
    return 0


def draw(path: pathlib.Path, groups: dict[str, list[Run]], metric: str, by: str) -> None:
    """Draws training on the left, and on the right a panel for each axis of meta-tests.

    Args:
      path: Picture to write.
      groups: Runs by label.
      metric: Column of the training curve; "" for none.
      by: What it counts, "env-steps" or "iterations".
    """
    from matplotlib.ticker import MaxNLocator

    from metajax.run import plots

    tested = {label: each for label, one in groups.items() if (each := _tested(one))}
    axes_of = {label: each[0].axis for label, each in tested.items()}
    names = [*([""] if metric else []), *dict.fromkeys(axes_of.values())]
    with plots.panels(path, len(names), (4.8, 3.4)) as (whole, every):
        for name, axes in zip(names, every, strict=True):
            for number, (label, members) in enumerate(groups.items()):
                style: dict[str, Any] = {"color": plots.colour(number)}
                if not name:
                    plots.band(axes, *_training(members, metric, by), **style)
                elif axes_of.get(label) == name:
                    lines = zip(*over_seeds(tested[label]), strict=True)
                    at = tested[label][0].positions
                    plots.band(axes, at, lines, "o-", markersize=4, **style)
            if not name:
                axes.set_title("training")
                axes.set_xlabel("env steps" if by == "env-steps" else "meta-iteration")
                axes.set_ylabel(_metric_label(groups, metric))
                axes.xaxis.set_major_formatter(plots.short_number)
            else:
                axes.set_title("held-out tasks")
                axes.set_xlabel(AXES[name].label)
                axes.xaxis.set_major_locator(MaxNLocator(integer=True))
                axes.set_ylabel(score_label(_score(groups)))
        counts = (_seeds(_seeds_of(members)) for members in groups.values())
        styles = {
            f"{label} ({count})": {"color": plots.colour(number)}
            for number, (label, count) in enumerate(zip(groups, counts, strict=True))
        }
        title = "mean and 95% interval over seeds, of held-out tasks over seeds and tasks"
        plots.legend(whole, styles, title=title)


def _check_families(first: tuple[str, Any], other: tuple[str, Any]) -> None:
    """Raises OptionError where two runs, by name and sections, are not of the same families."""
    for section in ("family", "evaluate.family"):
        was, now = ({**one["family"], **one.get(section, {})} for _, one in (first, other))
        if differing := [name for name in {**was, **now} if was.get(name) != now.get(name)]:
            problem = f"{section} has {_of(now, differing)}, where {first[0]} has"
            advice = "returns compare in one family alone: draw pictures of their own"
            raise OptionError(other[0], f"{problem} {_of(was, differing)}; {advice}")


def _of(settings: dict[str, Any], names: Sequence[str]) -> str:
    return said({name: settings.get(name) for name in names})


def _check_measured(first: Run, other: Run) -> None:
    """Raises OptionError where two meta-tests measure something else."""
    _check_families(*((one.name, one.config.to_dict()) for one in (first, other)))
    how = {True: "sampled actions", False: "the policy's mode"}
    for name, words in (("score", {}), ("explore", how)):
        was, now = (getattr(_tested([one])[0], name) for one in (first, other))
        if was != now:
            problem = f"its meta-test measured {words.get(now, now)}, that of {first.name}"
            advice = "measure one of them anew, or draw pictures of their own"
            raise OptionError(other.name, f"{problem} {words.get(was, was)}; {advice}")


def _read(path: str) -> Run:
    run = read(RunDirectory(path))
    if run.measured is None and run.metrics:
        say(f"{run.name} has no meta-test and is drawn in training alone")
    elif run.measured is None:
        raise OptionError(run.name, "has neither metrics nor a meta-test; let it train first")
    return run


def _tested(runs: Sequence[Run]) -> list[Evaluation]:
    return [one.measured.evaluation for one in runs if one.measured is not None]


def _seeds_of(runs: Sequence[Run]) -> list[int]:
    return [one.config.train.seed for one in runs]


def _metric(groups: dict[str, list[Run]], given: str | None) -> str:
    """The column of the training curve; "" where nothing is given and a run has no returns.

    Raises:
      OptionError: For a metric that a run does not have.
    """
    firsts = [flat(one.metrics[0]) for each in groups.values() for one in each if one.metrics]
    numbers = [
        {key for key, value in first.items() if isinstance(value, int | float)}
        - {"iteration", "env_steps"}
        for first in firsts
    ]
    allowed = sorted(set.intersection(*numbers)) if numbers else []
    has_returns = bool(numbers) and all("returns_0" in one for one in numbers)
    allowed += ["returns"] if has_returns else []
    if given is not None and given not in allowed:
        hint = f"{suggest(given, allowed)}allowed: {', '.join(allowed) or 'none'}"
        raise OptionError("--metric", f'"{given}" is not in the metrics of every run; {hint}')
    if not (given or has_returns or any(map(_tested, groups.values()))):
        problem = f"is missing, as there are neither returns nor meta-tests; allowed: {allowed}"
        raise OptionError("--metric", problem)
    return given or ("returns" if has_returns else "")


def _metric_label(groups: dict[str, list[Run]], metric: str) -> str:
    if metric != "returns":
        return metric.replace("_", " ")
    return f"last {score_label(_score(groups))} of a trial"


def _score(groups: dict[str, list[Run]]) -> str:
    """What the meta-tests measured."""
    return next((each[0].score for each in map(_tested, groups.values()) if each), "return")


def _training(members: Sequence[Run], metric: str, by: str) -> tuple[Any, Any]:
    """The counts of a training curve, and its mean with the ends of its 95% interval."""
    trained = [one for one in members if one.metrics]
    length = min((len(one.metrics) for one in trained), default=0)
    if not length:
        return [], ([], [], [])
    column = metric
    if metric == "returns":
        names = (key for key in flat(trained[0].metrics[0]) if key.startswith("returns_"))
        column = max(names, key=_number)
    at = np.unique(np.linspace(0, length - 1, _MOST_POINTS).astype(int))
    counted = "env_steps" if by == "env-steps" else "iteration"
    values, counts = [], []
    for one in trained:
        with records.shaped(one.directory.metrics):
            rows = one.metrics[:length]
            values.append(np.array([flat(row).get(column, np.nan) for row in rows], float))
            counts.append(np.array([rows[index][counted] for index in at], float))
    shown = smooth(np.array(values))[:, at]
    means = zip(*(statistics.mean(each) for each in shown.T), strict=True)
    return np.mean(counts, axis=0), means


def _number(column: str) -> int:
    return int(column.rpartition("_")[2])


def _seeds(seeds: Sequence[int]) -> str:
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    return f"{len(seeds)} seeds"
