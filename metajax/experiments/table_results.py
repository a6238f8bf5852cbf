"""Lines of a table: what papers state and what records hold, as estimates."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

from metajax.experiments import learning_curves, selection, statistics, table_curves, tables
from metajax.experiments.statistics import Estimate
from metajax.experiments.table_cells import Cell, cells
from metajax.experiments.table_definition import Column, Row, Table, chosen
from metajax.run.records import place

Records = Sequence[Mapping[str, Any]]


class Cost(NamedTuple):
    """What the results of a line took; of its seeds the mean of steps, the median of seconds.

    Attributes:
      seeds: that were run.
      num_tasks: of the evaluation.
      iterations, env_steps, seconds: of training; 0 where nothing is trained.
      places: what they were computed on.
    """

    seeds: int
    num_tasks: int
    iterations: int
    env_steps: float
    seconds: float
    places: frozenset[str] = frozenset()


class Line(NamedTuple):
    """One line of a table.

    Attributes:
      label: of the method.
      kind: "published"; "measured"; "reference" for what no method can beat or
        nobody needs to run; "selected" for the best of several values on the very
        trials that are shown.
      values: an estimate for each column, None where there is nothing.
      costs: of each column; empty unless measured.
      block: heading above the line.
      decimals: of each value of a published line, as the paper has them.
      lifetime: of a learning curve, its last step.
      explore: of a learning curve, whether the policy that was measured sampled its actions.
      row: the name of its row, which no other row has.
      noise: of each value, see ``seed_noise``; where it is empty that of the estimates.
    """

    label: str
    kind: str
    values: list[Estimate | None]
    costs: list[Cost | None]
    block: str | None = None
    decimals: tuple[int, ...] = ()
    lifetime: float = math.nan
    explore: bool | None = None
    row: str = ""
    noise: tuple[float, ...] = ()


def columns(table: Table, profile: str) -> list[Column]:
    """The columns that a profile runs."""
    names = table.profiles[profile].columns
    return [one for one in table.columns if names is None or chosen(names, one.name)]


def lines(table: Table, profile: str, records: Records) -> list[Line]:
    """All lines of a table: of each row what is published, then what was measured."""
    found = _found(table, profile)
    baseline = _of_row(table, found, table.baseline, records)
    result = []
    for row in table.rows:
        if row.published:
            result.append(_published(table, row, profile))
        if not any(name == row.name for name, _ in found):
            continue
        of_columns = [
            _recorded(found.get((row.name, column.name), ()), records)
            for column in columns(table, profile)
        ]
        tuned = " (tuned on separate trials)" if row.tune else ""
        kind = "reference" if row.reference else "measured"
        if table.metric == "learning-curve":
            others = baseline if row.name != table.baseline else []
            result.append(_curves_line(table, row, of_columns[0], others))
            continue
        if row.tune:
            published = [[one["tuned"]["as_published"] for one in each] for each in of_columns]
            label = f"{row.label} (tuned on these trials)"
            result.append(_line(table, row, label, "selected", published, of_columns))
        result.append(_line(table, row, f"{row.label}{tuned}", kind, of_columns, of_columns))
    width = max((len(line.values) for line in result), default=0)
    empty = [None] * width
    return [
        line._replace(values=[*line.values, *empty][:width], costs=[*line.costs, *empty][:width])
        for line in result
    ]


def headings(lines: Sequence[Line]) -> list[str | None]:
    """The heading above each line: its block's, where that begins."""
    result, block = [], None
    for line in lines:
        begins = line.block is not None and line.block != block
        block = line.block if begins else block
        result.append(block if begins else None)
    return result


def curves(table: Table, profile: str, records: Records) -> dict[str, learning_curves.Curves]:
    """The learning curves of the rows that have been measured, by label.

    Of rows with the same label, as those of different blocks may have, the name tells them apart.
    """
    found, labels = _found(table, profile), _labels(table)
    of_rows = {labels[row.name]: _of_row(table, found, row.name, records) for row in table.rows}
    return {label: learning_curves.read(each) for label, each in of_rows.items() if each}


def schedules(table: Table, profile: str, records: Records) -> dict[str, list[dict[str, Any]]]:
    """How settings went that rows learned, by label (see ``curves``) and, if many, column."""
    learned: dict[str, list[dict[str, Any]]] = {}
    found, labels = _found(table, profile), _labels(table)
    for row in table.rows:
        for column in columns(table, profile):
            label = labels[row.name]
            label = f"{label}, {column.name}" if len(table.columns) > 1 else label
            of_cell = _recorded(found.get((row.name, column.name), ()), records)
            seeds = [one["schedules"] for one in of_cell if "schedules" in one]
            learned |= {label: seeds} if seeds else {}
    return learned


def headers(table: Table, profile: str, number: int) -> list[str]:
    """Headings of ``number`` columns of values."""
    if table.metric == "learning-curve":
        return table_curves.headers(table)
    if not table.is_vector:
        return [one.name for one in columns(table, profile)]
    if table.metric == "per-episode":
        return [f"episode {index + 1}" for index in range(number)]
    return [f"{index} step{'' if index == 1 else 's'}" for index in range(number)]


def best(table: Table, lines: Sequence[Line], column: int) -> set[int]:
    """Indices of the lines that are best in a column, within noise.

    Those whose distance from the best is at most ``sqrt(a^2 + b^2)``, a and b the
    ``noise`` of the two, and that no other line is better than which is
    not among them: a wide interval alone makes nothing good. Only measured lines count: a
    value that was selected on the trials that are shown is too good, a published one is of
    other trials. Nothing is best that stands alone.
    """
    sign = 1 if table.better == "higher" else -1
    if table.metric == "learning-curve":
        sign = -1 if column in table_curves.LOWER_IS_BETTER else 1
    found = {
        index: line.values[column] for index, line in enumerate(lines) if line.kind == "measured"
    }
    known = {index: one for index, one in found.items() if one is not None}
    values = {index: one for index, one in known.items() if math.isfinite(one.value)}
    if len(known) < 2 or not values:
        return set()

    def noise(index):
        given = lines[index].noise
        return given[column] if given else _noise(values[index])

    ranked = sorted(values, key=lambda index: -sign * values[index].value)
    top = ranked[0]
    far = (
        place
        for place, one in enumerate(ranked)
        if sign * (values[top].value - values[one].value) > math.hypot(noise(top), noise(one))
    )
    return {*ranked[: next(far, len(ranked))]}


def estimate(records: Records) -> list[Estimate]:
    """Each number of some records, with an interval over seeds and tasks.

    Seeds are measured in the same tasks, so that the spread of their means does not tell how
    other tasks would move them all. The half width is ``sqrt(a^2 + b^2)``, a of Student's
    interval over seeds and b the mean of those over tasks. Chance inside of trials is in both,
    and in b not divided by the number of seeds S: where there is nothing else, the interval is
    up to ``sqrt(S + 1)`` times too wide. A single seed has b alone.

    Args:
      records: one a seed, each with ``mean`` and, unless it is exact, ``interval`` over tasks
        (numbers or lists).
    """
    numbers = zip(*(_listed(one["mean"]) for one in records), strict=True)
    widths = zip(*(_half_widths(one) for one in records), strict=True)
    found = []
    for values, of_tasks in zip(numbers, widths, strict=True):
        of_seeds = statistics.mean(values)
        width = sum(of_tasks) / len(of_tasks)
        if len(values) > 1:
            width = math.hypot(of_seeds.half_width, 0.0 if math.isnan(width) else width)
        found.append(Estimate(of_seeds.value, of_seeds.value - width, of_seeds.value + width))
    return found


def seed_noise(records: Records) -> tuple[float, ...]:
    """Half widths that tell rows apart which are measured in the same tasks.

    Over seeds alone, as what tasks have to do with it is the same in all rows; of a single
    seed over tasks. 0 where there is nothing of either.
    """
    if len(records) > 1:
        means = zip(*(_listed(one["mean"]) for one in records), strict=True)
        return tuple(statistics.mean(values).half_width for values in means)
    return tuple(0.0 if math.isnan(one) else one for one in _half_widths(records[0]))


def foot(table: Table, profile: str, lines: Sequence[Line]) -> str:
    """What the numbers are means of and, unless columns say so, what they took."""
    counted = [
        (line.label, [one for one in line.costs if one is not None])
        for line in lines
        if line.kind == "measured" and any(line.costs)
    ]
    if not counted:
        return f"Nothing of it has been measured yet. Profile {profile}."
    tasks = _range(one.num_tasks for _, costs in counted for one in costs)
    text = (
        f"Mean ± half of the 95% interval over seeds and evaluation tasks ({tasks}), of a single "
        "seed over tasks alone"
    )
    published = (one for line in lines if line.kind == "published" for one in line.values)
    if any(one is not None and one.half_width > 0 for one in published):
        text += "; of what is published as the paper gives it"
    used = sorted(frozenset().union(*(one.places for _, costs in counted for one in costs)))
    where = f" On {'; '.join(used)}." if used else ""
    if table.metric == "learning-curve":
        how = {line.explore for line in lines if line.explore is not None}
        return f"{table_curves.foot(table, how)} {tasks} tasks. Profile {profile}.{where}"
    if table.is_vector:
        return f"{text}.{where}"
    parts = [text]
    for label, costs in counted:
        if any(one.iterations for one in costs):
            seeds = _range(one.seeds for one in costs)
            steps = _range(one.env_steps for one in costs)
            plural = "" if seeds == "1" else "s"
            parts.append(f"{label}: {seeds} seed{plural}, {steps} training steps each")
    return f"{'; '.join(parts)}. Profile {profile}.{where}"


def _labels(table: Table) -> dict[str, str]:
    """A label for each row by its name, none twice."""
    shown = [row.label for row in table.rows]
    return {
        row.name: f"{row.label} ({row.name})" if shown.count(row.label) > 1 else row.label
        for row in table.rows
    }


def _published(table: Table, row: Row, profile: str) -> Line:
    shown, metrics = row.published, [table.metric] * len(row.published)
    if not table.is_vector:
        pairs = dict(zip((one.name for one in table.columns), row.published, strict=True))
        shown = tuple(pairs[one.name] for one in columns(table, profile))
        metrics = [one.metric or table.metric for one in columns(table, profile)]
    values: list[Estimate | None] = []
    # Columns of one metric have as many decimals as the number of them that has most: the
    # zeros at the end of a number are not in the file.
    decimals = dict.fromkeys(metrics, 0)
    for metric, one in zip(metrics, shown, strict=True):
        value, width = one if isinstance(one, tuple) else (one, math.nan)
        values.append(None if value is None else Estimate(value, value - width, value + width))
        given = [] if value is None else [value] if math.isnan(width) else [value, width]
        decimals[metric] = max(decimals[metric], *map(_decimals, given), 0)
    label = f"{row.label}, {row.source or table.source} (published)"
    of_values = tuple(decimals[metric] for metric in metrics)
    return Line(label, "published", values, [], row.block, of_values, row=row.name)


def _found(table: Table, profile: str) -> dict[tuple[str, str], list[Cell]]:
    """The cells of a profile by row and column."""
    found: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells(table, profile):
        found.setdefault((cell.row.name, cell.column.name), []).append(cell)
    return found


def _of_row(
    table: Table, found: Mapping[tuple[str, str], list[Cell]], name: str | None, records: Records
) -> list[Mapping[str, Any]]:
    """The records of a row of a table without columns of its own."""
    return _recorded(found.get((name or "", table.columns[0].name), ()), records)


def _curves_line(table: Table, row: Row, records: Records, baseline: Records) -> Line:
    width = len(table_curves.headers(table))
    if not records:
        empty = [None] * width
        return Line(row.label, "measured", [*empty], [*empty], row.block, row=row.name)
    values = table_curves.estimates(table, records, baseline)
    costs: list[Cost | None] = [_cost(records)] * width
    lifetime = learning_curves.read(records).lifetime
    explore = records[0]["settings"]["evaluate"].get("explore", True)
    line = Line(row.label, "measured", values, costs, row.block, row=row.name)
    return line._replace(lifetime=lifetime, explore=explore)


def _recorded(wanted: Iterable[Cell], records: Records) -> list[Mapping[str, Any]]:
    """The latest record of each cell that has one, of a tuned row with the best value's."""
    found = []
    for cell in wanted:
        of_cell = [one for one in records if cell.is_of(one)]
        found += [selection.chosen(one, cell.table.better) for one in of_cell[-1:]]
    return found


def _line(
    table: Table,
    row: Row,
    label: str,
    kind: str,
    numbers: Sequence[Records],
    of_columns: Sequence[Records],
) -> Line:
    values: list[Estimate | None] = []
    costs: list[Cost | None] = []
    noise: tuple[float, ...] = ()
    for each, records in zip(numbers, of_columns, strict=True):
        estimates: Sequence[Estimate | None] = estimate(each) if each else [None]
        values += estimates
        noise += seed_noise(each) if each else (math.nan,)
        costs += [_cost(records) if records else None] * len(estimates)
    return Line(label, kind, values, costs, row.block, row=row.name, noise=noise)


def _cost(records: Records) -> Cost:
    def mean(name: str) -> float:
        return sum(one.get(name) or 0 for one in records) / len(records)

    first = records[0]
    return Cost(
        seeds=len(records),
        num_tasks=first.get("num_tasks") or 0,
        iterations=first.get("iterations") or 0,
        env_steps=mean("env_steps"),
        # A machine that was busy with something else for one of the seeds tells nothing.
        seconds=median(one.get("seconds") or 0 for one in records),
        places=frozenset(place(one["environment"]) for one in records if one.get("environment")),
    )


def _listed(value: Any) -> list[float]:
    listed = value if isinstance(value, list) else [value]
    return [math.nan if one is None else float(one) for one in listed]


def _half_widths(record: Mapping[str, Any]) -> list[float]:
    """Of the interval over tasks of each number; NaN where there is none."""
    means, ends = _listed(record["mean"]), record.get("interval")
    if ends is None:
        return [math.nan] * len(means)
    return [(high - low) / 2 for low, high in zip(*map(_listed, ends), strict=True)]


def _noise(one: Estimate) -> float:
    """Half of the interval, or where it has no upper end its lower half; 0 where there is none."""
    width = one.half_width if math.isfinite(one.high) else one.value - one.low
    return 0.0 if math.isnan(width) else width


def _decimals(number: float) -> int:
    return len(repr(float(number)).partition(".")[2])


def _range(numbers: Iterable[float]) -> str:
    ends = sorted(set(numbers))
    shown = [tables.count(one) for one in (ends[0], ends[-1])]
    return shown[0] if shown[0] == shown[1] else f"{shown[0]} to {shown[1]}"
