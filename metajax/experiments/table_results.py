"""Lines of a table: what papers state and what records hold, as estimates."""

from __future__ import annotations

import dataclasses
import math
import pathlib
from collections.abc import Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from metajax.experiments import learning_curves, statistics, tuning
from metajax.experiments.statistics import Estimate
from metajax.experiments.table_cells import cells
from metajax.experiments.table_definition import AFTER_STEPS, Column, Row, Table, chosen
from metajax.run import records as results
from metajax.run.machine import place

if TYPE_CHECKING:
    from metajax.evaluation import Evaluation

Record = Mapping[str, Any]
Records = Sequence[Record]


class Cost(NamedTuple):
    """What the results of a column took: the mean of steps over seeds, the median of seconds."""

    seeds: int
    num_tasks: int
    iterations: int
    env_steps: float
    seconds: float
    places: frozenset[str] = frozenset()
    adapted_weights: int | None = None


class Line(NamedTuple):
    """One line of a table.

    Attributes:
      label: name of the method for readers.
      kind: "published"; "measured"; "reference" for what no method can beat, nobody needs
        to run, or sees the task; "selected" for the best of several values on the very trials
        that are shown.
      values: estimate of each column, None where there is nothing.
      noise: noise of each value, see ``seed_noise``. Default: that of the estimates.
      decimals: decimals of each published value, as the paper has them.
      records: records behind each column that is measured, one a seed.
      row, block: name of the row, and its heading.
    """

    label: str
    kind: str
    values: list[Estimate | None]
    noise: tuple[float, ...] = ()
    decimals: tuple[int, ...] = ()
    records: Sequence[Records] = ()
    row: str = ""
    block: str | None = None

    @property
    def costs(self) -> list[Cost]:
        """The cost of each column that was measured."""
        return [cost(each) for each in self.records if each]


def known(table: Table, file: str | pathlib.Path) -> list[dict[str, Any]]:
    """The records of a table in its file, behind those of the tables that it extends.

    Raises as ``records.read`` does.
    """
    return [one for path in (*table.shared, file) for one in results.read(path)]


def cost(records: Records) -> Cost:
    """What the results of some records, one a seed, took."""
    first = records[0]
    return Cost(
        len(records),
        first.get("num_tasks") or 0,
        first.get("iterations") or 0,
        sum(one.get("env_steps") or 0 for one in records) / len(records),
        # A machine that was busy with something else for one of the seeds tells nothing.
        median(one.get("seconds") or 0 for one in records),
        frozenset(place(one["environment"]) for one in records if one.get("environment")),
        first.get("adapted_weights"),
    )


def columns(table: Table, profile: str, number: int = 1) -> list[Column]:
    """The columns of a profile; of a table without columns of its own ``number`` of them."""
    if not table.is_vector:
        names = table.profiles[profile].columns
        return [one for one in table.columns if chosen(names, one.name)]
    shown: list[dict[str, Any]] = [{"name": f"episode {index + 1}"} for index in range(number)]
    if table.metric in AFTER_STEPS:
        points = table.points or range(number)
        shown = [{"name": f"{index} step{'' if index == 1 else 's'}"} for index in points]
    elif table.metric == "learning-curve":
        shown = [
            {"name": "area under the curve", "better": "higher"},
            {"name": f"env steps to {table.threshold:g}", "better": "lower", "decimals": 0},
            {"name": "final return", "better": "higher"},
        ]
        ratio = {"name": f"steps, of those of {table.baseline}", "better": "lower", "decimals": 2}
        shown += [ratio] if table.baseline else []
    return [dataclasses.replace(table.columns[0], **one) for one in shown]


def lines(table: Table, profile: str, records: Records) -> list[Line]:
    """All lines of a table: of each row what is published, then what was measured."""
    found, result = _recorded(table, profile, records), []
    names = [one.name for one in (table.columns if table.is_vector else columns(table, profile))]
    baseline = found.get((str(table.baseline), names[0]), [])
    for row in table.rows:
        about: dict[str, Any] = {"row": row.name, "block": row.block}
        if row.published:
            result.append(_published(table, row, profile)._replace(**about))
        if not any(name == row.name for name, _ in found):
            continue
        about["records"] = of_columns = [found.get((row.name, name), []) for name in names]
        if table.metric == "learning-curve":
            others = [] if row.name == table.baseline else baseline
            values = _of_curves(table, of_columns[0], others)
            result.append(Line(row.label, "measured", values, **about))
            continue
        label, kind = row.label, "measured" if row.competes else "reference"
        if row.tune:
            on_these = [[one["tuned"]["as_published"] for one in each] for each in of_columns]
            result.append(_line(f"{label} (tuned on these trials)", "selected", on_these, about))
            label += " (tuned on separate trials)"
        line = _line(label, kind, of_columns, about)
        if table.points and of_columns[0]:
            values, noise = (
                [each[at] for at in table.points] for each in (line.values, line.noise)
            )
            line = line._replace(values=values, noise=tuple(noise))
        result.append(line)
    padding = [None] * max((len(line.values) for line in result), default=0)
    return [line._replace(values=[*line.values, *padding][: len(padding)]) for line in result]


def headings(lines: Sequence[Line]) -> list[str | None]:
    """The heading above each line: its block's, where that begins."""
    result, block = [], None
    for line in lines:
        begins = line.block not in (None, block)
        block = line.block if begins else block
        result.append(block if begins else None)
    return result


def by_label(table: Table, profile: str, records: Records) -> dict[str, Records]:
    """The records of rows that have been measured, by label and, if many, column.

    Names tell apart the rows of one label.
    """
    shown, found = [row.label for row in table.rows], {}
    labels = {
        row.name: f"{row.label} ({row.name})" if shown.count(row.label) > 1 else row.label
        for row in table.rows
    }
    for (row, column), each in _recorded(table, profile, records).items():
        label = f"{labels[row]}, {column}" if len(table.columns) > 1 else labels[row]
        found |= {label: each} if each else {}
    return found


def best(lines: Sequence[Line], column: int, better: str) -> set[int]:
    """Indices of the lines that are best in a column, within noise.

    Those whose distance from the best is at most ``sqrt(a^2 + b^2)``, a and b the noise of the
    two, and that no line outside of them is better than: a wide interval alone makes nothing
    good. Only measured lines count: a value that was selected on the trials that are shown is
    too good, a published one is of other trials. A line that stands alone is not best.
    """
    sign = 1 if better == "higher" else -1
    measured = {at: line.values[column] for at, line in enumerate(lines) if line.kind == "measured"}
    known = {at: one for at, one in measured.items() if one is not None}
    ranked = [at for at, one in known.items() if math.isfinite(one.value)]
    ranked.sort(key=lambda at: -sign * known[at].value)

    def noise(at):
        return lines[at].noise[column] if lines[at].noise else _noise(known[at])

    within: set[int] = set()
    for at in ranked if len(known) > 1 else ():
        distance = sign * (known[ranked[0]].value - known[at].value)
        if distance > math.hypot(noise(ranked[0]), noise(at)):
            break
        within.add(at)
    return within


def estimate(records: Records) -> list[Estimate]:
    """Each number of some records, with an interval over seeds and tasks.

    Seeds are measured in the same tasks, so that the spread of their means does not tell how
    other tasks would move them all. The half width is ``sqrt(a^2 + b^2)``, a of Student's
    interval over seeds and b the mean of those over tasks. Chance inside of trials is in both,
    and in b not divided by the number of seeds S: where there is nothing else, the interval is
    up to ``sqrt(S + 1)`` times too wide. A single seed has b alone.
    """
    found = []
    for values, of_tasks in zip(*_numbers(records), strict=True):
        of_seeds, width = statistics.mean(values), float(np.mean(of_tasks))
        if len(values) > 1:
            width = math.hypot(of_seeds.half_width, 0.0 if math.isnan(width) else width)
        found.append(Estimate(of_seeds.value, of_seeds.value - width, of_seeds.value + width))
    return found


def over_seeds(evaluations: Sequence[Evaluation]) -> list[Estimate]:
    """``estimate`` of the meta-tests of several seeds."""
    return estimate(
        [{"mean": one.mean(), "interval": one.interval().tolist()} for one in evaluations]
    )


def seed_noise(records: Records) -> tuple[float, ...]:
    """Half widths that tell rows apart which are measured in the same tasks.

    Over seeds alone, as tasks move all rows alike; of a single seed over tasks. 0 where there
    is nothing of either.
    """
    means, widths = _numbers(records)
    if len(records) > 1:
        return tuple(statistics.mean(values).half_width for values in means)
    return tuple(np.nan_to_num(widths[:, 0]).tolist())


def _line(label: str, kind: str, numbers: Sequence[Records], about: dict[str, Any]) -> Line:
    values: list[Estimate | None] = []
    noise: tuple[float, ...] = ()
    for each in numbers:
        values += estimate(each) if each else [None]
        noise += seed_noise(each) if each else (math.nan,)
    return Line(label, kind, values, noise, **about)


def _published(table: Table, row: Row, profile: str) -> Line:
    shown, numbers = columns(table, profile, len(row.published)), row.published
    if not table.is_vector:
        stated = dict(zip((one.name for one in table.columns), row.published, strict=True))
        numbers = tuple(stated[one.name] for one in shown)
    values: list[Estimate | None] = []
    # Columns of one metric have as many decimals as the number of them that has most: the
    # zeros at the end of a number are not in the file.
    metrics = [one.metric or table.metric for one in shown]
    decimals = dict.fromkeys(metrics, 0)
    for metric, one in zip(metrics, numbers, strict=True):
        value, width = one if isinstance(one, tuple) else (one, math.nan)
        values.append(None if value is None else Estimate(value, value - width, value + width))
        given = [number for number in (value, width) if number is not None and number == number]
        digits = [len(repr(number).partition(".")[2]) for number in given]
        decimals[metric] = max(decimals[metric], *digits, 0)
    label = f"{row.label}, {row.source or table.source} (published)"
    return Line(label, "published", values, decimals=tuple(decimals[one] for one in metrics))


def _of_curves(table: Table, records: Records, baseline: Records) -> list[Estimate | None]:
    number = len(columns(table, "full"))
    if not records:
        return [None] * number
    assert table.threshold is not None
    other = learning_curves.read(baseline) if baseline else None
    found = learning_curves.summary(learning_curves.read(records), table.threshold, other)
    return list(found[:number])


def _recorded(table: Table, profile: str, records: Records) -> dict[tuple[str, str], list[Record]]:
    """By row and column the latest record of each cell, of tuned rows with the best value's."""
    found: dict[tuple[str, str], list[Record]] = {}
    for cell in cells(table, profile):
        latest = [one for one in records if cell.is_of(one)][-1:]
        of_column = found.setdefault((cell.row.name, cell.column.name), [])
        of_column += [tuning.selected(one, cell.better) for one in latest]
    return found


def _numbers(records: Records) -> tuple[np.ndarray, np.ndarray]:
    """``[M, num_seeds]``, means and half widths of intervals over tasks, NaN for none."""
    means = np.array([np.atleast_1d(one["mean"]) for one in records], np.float64).T
    ends = [np.array(one.get("interval") or (None, None), np.float64) for one in records]
    widths = [np.broadcast_to((high - low) / 2, len(means)) for low, high in ends]
    return means, np.array(widths).T


def _noise(one: Estimate) -> float:
    """Half of the interval, or where it has no upper end its lower half; 0 where there is none."""
    width = one.half_width if math.isfinite(one.high) else one.value - one.low
    return 0.0 if math.isnan(width) else width
