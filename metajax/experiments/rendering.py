"""Tables of committed results, and their places in Markdown documents.

A place is what stands between two lines of a document:

    <!-- table: NAME -->
    ...
    <!-- end -->

It shows the full profile, with ``<!-- table: NAME quick -->`` the quick one.
"""

from __future__ import annotations

import math
import pathlib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from metajax.core.options import OptionError
from metajax.core.quantities import count, duration
from metajax.experiments import table_results, throughput
from metajax.experiments.statistics import Estimate
from metajax.experiments.table_definition import (
    AFTER_STEPS,
    DIRECTORY,
    RecordsTable,
    Table,
    ThroughputTable,
    load,
)
from metajax.experiments.table_results import Line
from metajax.run import records, tables
from metajax.run.machine import place
from metajax.run.tables import Grid

_PLACE = re.compile(
    r"(<!-- table: (\S+)(?: (\S+))? -->\n)(?:(?!<!-- table:).)*?<!-- end -->", re.DOTALL
)
_COSTS = ["seeds", "iterations", "env steps", "training time"]


def fill(document: str, root: pathlib.Path) -> str:
    """The text of a document with the present tables of a project in their places.

    Raises:
      ValueError: for a place that does not end, and as ``render``.
    """
    if left := re.search("<!-- table: (.*?) -->", _PLACE.sub("", document)):
        raise ValueError(f"table {left[1]}: no <!-- end --> follows")

    def table(place: re.Match[str]) -> str:
        shown = tables.markdown(render(place[2], place[3] or "full", root))
        return f"{place[1]}{shown}\n<!-- end -->"

    return _PLACE.sub(table, document)


def render(name: str, profile: str, root: pathlib.Path) -> Grid:
    """A table of the results that a project has committed.

    Raises:
      ValueError: naming the table, for what is unknown, inconsistent or missing entirely.
    """
    table, results = load(name, root / DIRECTORY), root / DIRECTORY.parent / "results"
    if not isinstance(table, Table):
        return of_records(table, results)
    if profile not in table.profiles:
        raise ValueError(f"table {name}: profile {profile}; allowed: {', '.join(table.profiles)}")
    found = table_results.known(table, results / f"{name}.jsonl")
    lines = table_results.lines(table, profile, found)
    if not any(value for line in lines if line.kind != "published" for value in line.values):
        raise ValueError(
            f"table {name}: {results} has no results of its {profile} profile; run "
            f"metajax table {name} --profile {profile}"
        )
    return grid(table, profile, lines)


def of_records(table: ThroughputTable | RecordsTable, results: pathlib.Path) -> Grid:
    """A table whose rows are records.

    Raises:
      OptionError: without records, or where they do not fit the table.
    """
    if isinstance(table, ThroughputTable):
        return throughput.grid(table, results)
    path, key = results / f"{table.records}.jsonl", next(iter(table.columns.values()))
    with records.shaped(path):
        latest = {one[key]: one for one in records.read(path)}
        if not latest:
            raise OptionError(f"table {table.name}", f"{path} has no records; {table.made_by}")
        rows = [[_plain(one[name]) for name in table.columns.values()] for one in latest.values()]
        used = sorted({place(one["environment"]) for one in latest.values()})
    return Grid([*table.columns], rows, f"On {'; '.join(used)}.")


def _plain(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def grid(table: Table, profile: str, lines: Sequence[Line]) -> Grid:
    """Lines of estimates as text. Tables without columns of their own show costs."""
    columns = table_results.columns(table, profile, len(lines[0].values))
    costs = _COSTS if table.is_vector else []
    counted = table.metric in AFTER_STEPS and any(map(_adapted_weights, lines))
    costs = ["adapted weights", *costs] if counted else costs
    if table.metric == "learning-curve":
        costs = [one.replace("env", "training env") for one in costs]
    headers = ["method", *(one.name for one in columns), *costs]
    better = (one.better or table.better for one in columns)
    bold = [table_results.best(lines, index, one) for index, one in enumerate(better)]
    default = [table.decimals if one.decimals is None else one.decimals for one in columns]
    rows = []
    for at, (heading, line) in enumerate(zip(table_results.headings(lines), lines, strict=True)):
        if heading is not None:
            rows.append([f"*{heading}*", *[""] * (len(headers) - 1)])
        of_curves = table.metric == "learning-curve" and any(line.records)
        shown = value_of_curves(line) if of_curves else _value
        decimals = [*line.decimals, *default[len(line.decimals) :]]
        values = [shown(*pair) for pair in zip(line.values, decimals, strict=True)]
        values = [f"**{one}**" if at in bold[i] else one for i, one in enumerate(values)]
        of_weights = [_adapted_weights(line)] if counted else []
        rows.append([line.label, *values, *of_weights, *(_cost(line) if costs else [])])
    return Grid(headers, rows, foot(table, profile, lines))


def value_of_curves(line: Line) -> Callable[[Estimate | None, int], str]:
    """Shows numbers of learning curves; steps beyond the lifetime as ``> lifetime``."""
    lifetime = next(each[0]["steps"][-1] for each in line.records if each)

    def shown(one: Estimate | None, decimals: int) -> str:
        if one is None:
            return "–"
        beyond = f"> {lifetime:,.0f}" if decimals == 0 else "inf"
        value, low, high = (f"{end:,.{decimals}f}" if math.isfinite(end) else beyond for end in one)
        # Nothing of the interval was reached.
        return f"{value} ({low} to {high})" if math.isfinite(one.low) else value

    return shown


def foot(table: Table, profile: str, lines: Sequence[Line]) -> str:
    """The footnote: what is averaged and, where no columns say so, the compute used."""
    measured = [line for line in lines if line.kind == "measured"]
    every = [one for line in measured for one in line.costs]
    if not every:
        return f"Nothing of it has been measured yet. Profile {profile}."
    tasks = _range(one.num_tasks for one in every)
    used = sorted(frozenset().union(*(one.places for one in every)))
    where = f" On {'; '.join(used)}." if used else ""
    if table.metric == "learning-curve":
        return f"{_foot_of_curves(table, measured)} {tasks} tasks. Profile {profile}.{where}"
    text = (
        f"Mean ± half of the 95% interval over seeds and evaluation tasks ({tasks}), of a single "
        "seed over tasks alone"
    )
    published = (one for line in lines if line.kind == "published" for one in line.values)
    if any(one is not None and one.half_width > 0 for one in published):
        text += "; of what is published as the paper gives it"
    if table.is_vector:
        return f"{text}.{where}"
    names = [one.name for one in table_results.columns(table, profile)]
    for line in measured:
        if any(one.iterations for one in line.costs):
            seeds = _range(one.seeds for one in line.costs)
            plural = "" if seeds == "1" else "s"
            text += f"; {line.label}: {seeds} seed{plural}, {_steps(line, names)} each"
    return f"{text}. Profile {profile}.{where}"


def _steps(line: Line, names: Sequence[str]) -> str:
    """Training steps of each column, in words."""
    pairs = zip(names, line.records, strict=True)
    of = {name: count(table_results.cost(each).env_steps) for name, each in pairs if each}
    shared = {steps: [name for name in of if of[name] == steps] for steps in of.values()}
    if len(shared) == 1:
        return f"{next(iter(shared))} training steps"
    return "training steps " + ", ".join(
        f"{steps} in {' and '.join(columns)}" for steps, columns in shared.items()
    )


def _foot_of_curves(table: Table, measured: Sequence[Line]) -> str:
    words = (
        "Interquartile means over seeds and unseen tasks, with the 95% interval from drawing "
        "both again. Area: the mean return over the lifetime. Steps: those in a task at which "
        f"the interquartile mean of the return reaches {table.threshold:g}; > stands for never."
    )
    if table.baseline is not None:
        words += f" Where {table.baseline} never does, its lifetime counts as its steps."
    first = [each[0] for line in measured for each in line.records if each]
    explore = {one["settings"]["evaluate"].get("explore", True) for one in first}
    names = {True: "of sampled actions", False: "of the policy's mode"}
    how = " or ".join(name for sampled, name in names.items() if sampled in explore)
    return f"{words} Returns are those {how}{', by row' if len(explore) > 1 else ''}."


def _value(one: Estimate | None, decimals: int) -> str:
    if one is None:
        return "–"
    if math.isnan(one.value):
        return "diverges"
    width = one.half_width
    value = f"{one.value:.{decimals}f}"
    return value if math.isnan(width) else f"{value} ± {width:.{decimals}f}"


def _cost(line: Line) -> list[str]:
    """Seeds, iterations, environment steps and time of training."""
    for one in line.costs:
        trained = [f"{one.iterations:,}", count(one.env_steps), duration(one.seconds)]
        return [str(one.seeds), *(trained if one.iterations else [""] * 3)]
    return [""] * 4


def _adapted_weights(line: Line) -> str:
    """Number of weights that change inside a task; nothing where that is not recorded."""
    known = [one.adapted_weights for one in line.costs if one.adapted_weights is not None]
    return f"{known[0]:,}" if known else ""


def _range(numbers: Iterable[float]) -> str:
    ends = sorted(set(numbers))
    shown = [count(one) for one in (ends[0], ends[-1])]
    return shown[0] if shown[0] == shown[1] else f"{shown[0]} to {shown[1]}"
