"""``metajax plot RUN RUN ...``: several runs in one picture, a line for each method."""

from __future__ import annotations

import argparse
import json
import pathlib
import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from metajax.core.axes import AXES, score_label
from metajax.core.options import OptionError, suggest
from metajax.experiments import statistics
from metajax.experiments.table_results import estimate
from metajax.run.config import LAYOUT, toml_value
from metajax.run.console import command, say
from metajax.run.directory import RunDirectory

_FORMATS = (".png", ".pdf", ".svg")
_MOST_POINTS = 500
"""Most points of a training curve, each with an interval of its own."""


class Member(NamedTuple):
    """What a run holds.

    Attributes:
      run: its directory.
      seed: its seed.
      settings: all that its numbers depend on but the seed, by section.
      rows: its metrics, as in ``load_metrics``.
      record: its meta-test; None where it has none.
    """

    run: RunDirectory
    seed: int
    settings: dict[str, dict[str, Any]]
    rows: list[dict[str, Any]]
    record: dict[str, Any] | None


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
    groups = grouped([_read(name) for name in options.run_dirs])
    for label, members in groups.items():
        short, *_, long = sorted((len(one.rows), str(one.run.path)) for one in [*members, *members])
        if 0 < short[0] < long[0]:
            say(f"{label}: training is drawn up to iteration {short[0]}, where {short[1]} ends")
    path = pathlib.Path(options.output or "comparison.png")
    metric = _metric(groups, options.metric)
    draw(path, groups, metric, options.by or "env-steps")
    about = [
        {
            "label": label,
            "runs": [str(one.run.path) for one in members],
            "seeds": [one.seed for one in members],
        }
        for label, members in groups.items()
    ]
    if options.json:
        print(json.dumps({"groups": about, "files": [str(path)]}))
        return 0
    for one in about:
        print(f"{one['label']}: {_seeds(one['seeds'])}")
    print(f"wrote {path}")
    return 0


def grouped(members: Sequence[Member]) -> dict[str, list[Member]]:
    """Runs of the same settings but the seed, by label.

    The label is the algorithm, with the settings in which methods of one algorithm differ.

    Raises:
      OptionError: For a seed that is there twice, and for meta-tests that are not comparable.
    """
    groups: dict[str, list[Member]] = {}
    for one in members:
        group = groups.setdefault(json.dumps(one.settings, sort_keys=True), [])
        for other in group:
            if other.seed == one.seed:
                problem = (
                    f"has the settings and the seed of {other.run.path}; leave one of them out"
                )
                raise OptionError(str(one.run.path), problem)
        group.append(one)
    tested = [one for one in members if one.record is not None]
    for one in tested[1:]:
        _check_measured(tested[0], one)
    firsts = [group[0] for group in groups.values()]
    return dict(zip(_labels(firsts), groups.values(), strict=True))


def draw(path: pathlib.Path, groups: dict[str, list[Member]], metric: str, by: str) -> None:
    """Draws training on the left, and on the right a panel for each axis of meta-tests.

    Args:
      path: Picture to write.
      groups: Runs by label.
      metric: Column of the training curve; "" for none.
      by: What it counts, "env-steps" or "iterations".
    """
    from matplotlib.ticker import MaxNLocator

    from metajax.run import plots

    tested = {
        label: [one.record for one in members if one.record is not None]
        for label, members in groups.items()
    }
    axes_of = {label: each[0]["axis"] for label, each in tested.items() if each}
    names = [*([""] if metric else []), *dict.fromkeys(axes_of.values())]
    with plots.panels(path, len(names), (4.8, 3.4)) as (whole, every):
        for name, axes in zip(names, every, strict=True):
            for number, (label, members) in enumerate(groups.items()):
                style: dict[str, Any] = {"color": plots.colour(number)}
                if not name:
                    plots.band(axes, *_training(members, metric, by), **style)
                elif axes_of.get(label) == name:
                    values = estimate(tested[label])
                    steps = tested[label][0]["steps"] or range(len(values))
                    plots.band(axes, steps, zip(*values, strict=True), "o-", markersize=4, **style)
            if not name:
                axes.set_title("training")
                axes.set_xlabel("env steps" if by == "env-steps" else "meta-iteration")
                axes.set_ylabel(_metric_label(groups, metric))
                axes.xaxis.set_major_formatter(plots.short_number)
            else:
                score = next(each[0]["score"] for each in tested.values() if each)
                axes.set_title("held-out tasks")
                axes.set_xlabel(AXES[name].label)
                axes.xaxis.set_major_locator(MaxNLocator(integer=True))
                axes.set_ylabel(score_label(score))
        counts = (_seeds([one.seed for one in members]) for members in groups.values())
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
            problem = f"{section} has {_said(differing, now)}, where {first[0]} has"
            advice = "returns compare in one family alone: draw pictures of their own"
            raise OptionError(other[0], f"{problem} {_said(differing, was)}; {advice}")


def _check_measured(first: Member, other: Member) -> None:
    """Raises OptionError where two meta-tests measure something else."""
    records = {str(one.run.path): one.record or {} for one in (first, other)}
    _check_families(*((name, record["config"]) for name, record in records.items()))
    how = {True: "sampled actions", False: "the policy's mode"}
    for name, said in (("score", {}), ("explore", how)):
        was, now = (record[name] for record in records.values())
        if was != now:
            problem = f"its meta-test measured {said.get(now, now)}, that of {first.run.path}"
            advice = "measure one of them anew, or draw pictures of their own"
            raise OptionError(str(other.run.path), f"{problem} {said.get(was, was)}; {advice}")


def _read(path: str) -> Member:
    from metajax.run import meta_test
    from metajax.run.loading import metric_rows

    run = RunDirectory(path)
    config, rows, record = run.read_config(), metric_rows(path), None
    if run.evaluation.is_file():
        try:
            record = meta_test.read(run)
        except ValueError:
            problem = f"is damaged; write it again: {command('evaluate', run.path)}"
            raise OptionError(str(run.evaluation), problem) from None
    elif rows:
        say(f"{run.path} has no meta-test and is drawn in training alone")
    if not rows and record is None:
        raise OptionError(str(run.path), "has neither metrics nor a meta-test; let it train first")
    sections = config.to_dict()
    # What was measured last counts, as ``metajax evaluate`` may have changed it.
    measured = sections if record is None else record["config"]
    algorithm = {key: one for key, one in sections["algorithm"].items() if key not in LAYOUT}
    settings = {
        "algorithm": algorithm,
        "train": {"num-iterations": config.train.num_iterations},
        "evaluate": measured["evaluate"],
    }
    return Member(run, config.train.seed, settings, rows, record)


def _labels(firsts: Sequence[Member]) -> list[str]:
    """A label for each method, by its first run."""
    flat = [
        {key: one for section in each.settings.values() for key, one in section.items()}
        for each in firsts
    ]
    labels = []
    for one in flat:
        alike = [other for other in flat if other["name"] == one["name"]]
        differing = [key for key in one if any(other.get(key) != one[key] for other in alike)]
        said = f" ({_said(differing, one)})" if differing else ""
        labels.append(f"{one['name']}{said}")
    return labels


def _said(names: Sequence[str], settings: dict[str, Any]) -> str:
    """Some settings in a few words."""
    parts = [f"{name} = {toml_value(settings.get(name))}" for name in names]
    return textwrap.shorten(", ".join(parts), 100, placeholder=" ...")


def _metric(groups: dict[str, list[Member]], given: str | None) -> str:
    """The column of the training curve; "" where nothing is given and a run has no returns.

    Raises:
      OptionError: For a metric that a run does not have.
    """
    with_rows = [one for members in groups.values() for one in members if one.rows]
    about = {"run", "algorithm", "family", "seed", "iteration", "env_steps"}
    numbers = [
        {key for key, one in each.rows[0].items() if isinstance(one, int | float)} - about
        for each in with_rows
    ]
    allowed = sorted(set.intersection(*numbers)) if numbers else []
    has_returns = bool(numbers) and all("returns_0" in one for one in numbers)
    allowed += ["returns"] if has_returns else []
    if given is not None and given not in allowed:
        hint = f"{suggest(given, allowed)}allowed: {', '.join(allowed) or 'none'}"
        raise OptionError("--metric", f'"{given}" is not in the metrics of every run; {hint}')
    if not (given or has_returns or any(one.record for each in groups.values() for one in each)):
        problem = f"is missing, as there are neither returns nor meta-tests; allowed: {allowed}"
        raise OptionError("--metric", problem)
    return given or ("returns" if has_returns else "")


def _metric_label(groups: dict[str, list[Member]], metric: str) -> str:
    if metric != "returns":
        return metric.replace("_", " ")
    records = (one.record for members in groups.values() for one in members if one.record)
    score = next((record["score"] for record in records), "return")
    return f"last {score_label(score)} of a trial"


def _training(members: Sequence[Member], metric: str, by: str) -> tuple[Any, Any]:
    """The counts of a training curve, and its mean with the ends of its 95% interval."""
    curves = [one.rows for one in members if one.rows]
    length = min(map(len, curves), default=0)
    if not length:
        return [], ([], [], [])
    from metajax.run.curves import smooth

    column = metric
    if metric == "returns":
        column = max((key for key in curves[0][0] if key.startswith("returns_")), key=_number)
    at = np.unique(np.linspace(0, length - 1, _MOST_POINTS).astype(int))

    values = [[row.get(column, np.nan) for row in rows[:length]] for rows in curves]
    shown = smooth(np.array(values, float))[:, at]
    counted = "env_steps" if by == "env-steps" else "iteration"
    counts = np.mean([[rows[index][counted] for index in at] for rows in curves], axis=0)
    return counts, zip(*(statistics.mean(one) for one in shown.T), strict=True)


def _number(column: str) -> int:
    return int(column.rpartition("_")[2])


def _seeds(seeds: Sequence[int]) -> str:
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    return f"{len(seeds)} seeds"
