"""Tables as Markdown, LaTeX and text, and their places in Markdown documents.

A place is what stands between two lines of a document::

    <!-- table: NAME -->
    ...
    <!-- end -->

It shows the full profile, with ``<!-- table: NAME quick -->`` the quick one.
"""

from __future__ import annotations

import math
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from metajax.core.options import OptionError
from metajax.experiments import table_curves, table_results, tables
from metajax.experiments.statistics import Estimate
from metajax.experiments.table_cells import read_records
from metajax.experiments.table_definition import Table, ThroughputTable, load
from metajax.experiments.table_results import Cost, Line
from metajax.run import records
from metajax.run.config import LAYOUT

_PLACE = re.compile(r"(<!-- table: (\S+)(?: (\S+))? -->\n)(.*?)(<!-- end -->)", re.DOTALL)
_OPEN = re.compile(r"<!-- table: ([^>]*?) -->")


class Grid(NamedTuple):
    """A table as text: ``**bold**`` cells are the best, ``*slanted*`` ones are headings.

    Attributes:
      headers: of the columns.
      rows: cells, as many as headers.
      foot: a sentence below, or nothing.
    """

    headers: list[str]
    rows: list[list[str]]
    foot: str = ""


def fill(text: str, table: Callable[[str, str], str]) -> str:
    """A document with the present tables in their places.

    Args:
      text: of the document.
      table: the Markdown of a table by its name and profile.

    Raises:
      ValueError: for a place that does not end.
    """
    places = [" ".join(match.group(2, 3)) if match[3] else match[2] for match in _finds(text)]
    for name in _OPEN.findall(text):
        if name not in places:
            raise ValueError(f"table {name}: no <!-- end --> follows")
    return _PLACE.sub(
        lambda match: f"{match[1]}{table(match[2], match[3] or 'full')}\n{match[5]}", text
    )


def _finds(text: str) -> list[re.Match[str]]:
    return list(_PLACE.finditer(text))


def render(
    name: str, directory: pathlib.Path, results: pathlib.Path, profile: str = "full"
) -> Grid:
    """A table of committed results.

    Args:
      name: of the table.
      directory: of the definitions.
      results: directory of the result files.
      profile: "quick" or "full".

    Raises:
      ValueError: naming the table, for what is unknown, inconsistent or missing entirely.
    """
    table = load(name, directory)
    if isinstance(table, ThroughputTable):
        return throughput_grid(table, results)
    if profile not in table.profiles:
        raise ValueError(f"table {name}: profile {profile}; allowed: {', '.join(table.profiles)}")
    lines = table_results.lines(table, profile, read_records(table, results))
    if not any(value for line in lines if line.kind != "published" for value in line.values):
        raise ValueError(
            f"table {name}: {results} has no results of its {profile} profile; run "
            f"metajax table {name} --profile {profile}"
        )
    return grid(table, profile, lines)


def grid(table: Table, profile: str, lines: Sequence[Line]) -> Grid:
    """Lines of estimates as text. Tables without columns of their own show costs."""
    number = len(lines[0].values)
    costs = ["seeds", "iterations", "env steps", "training time"] if table.is_vector else []
    if table.metric == "learning-curve":
        costs[2] = "training env steps"
    headers = ["method", *table_results.headers(table, profile, number), *costs]
    bold = [table_results.best(table, lines, column) for column in range(number)]
    decimals = [table.decimals] * number
    if not table.is_vector:
        shown = table_results.columns(table, profile)
        decimals = [table.decimals if one.decimals is None else one.decimals for one in shown]
    rows = []
    for index, (heading, line) in enumerate(zip(table_results.headings(lines), lines, strict=True)):
        if heading is not None:
            rows.append([f"*{heading}*", *[""] * (len(headers) - 1)])
        values = []
        for column, one in enumerate(line.values):
            shown = (line.decimals or decimals)[column]
            if table.metric == "learning-curve" and line.kind == "measured":
                values.append(table_curves.text(one, column, shown, line.lifetime))
            else:
                values.append(_value(one, shown))
        values = [f"**{one}**" if index in bold[i] else one for i, one in enumerate(values)]
        rows.append([line.label, *values, *(_cost(line.costs) if costs else [])])
    return Grid(headers, rows, table_results.foot(table, profile, lines))


_RATIO = "times its yardstick"
# Settings that stand in a row's label where its records differ in them.
_TOLD_APART = {"family": "{}", "lifetime": "lifetimes of {:,} transitions"}


def throughput_grid(table: ThroughputTable, results: pathlib.Path) -> Grid:
    """Speed and memory, one record of ``metajax bench`` a row.

    A record that was measured beside a yardstick says how many times as fast it was. Of
    several records of one setting on one machine the last counts.

    Raises:
      OptionError: without records, or where those of a row are of several settings.
    """
    latest, settings = {}, {}
    for row in table.rows:
        found = records.read(results / f"{row.results}.jsonl")
        if not found:
            path = results / f"{row.results}.jsonl"
            raise OptionError(f"table {table.name}", f"{path} has no records")
        for record in found:
            setting = record["setting"]
            fraction, ratio = record["fraction_of_matmul_ceiling"], record.get("ratio")
            label = row.label
            for name in _TOLD_APART:
                if len({one["setting"].get(name) for one in found}) > 1:
                    label = f"{label}, {_TOLD_APART[name].format(setting[name])}"
            place = records.place(record.get("environment") or {})
            key = label, setting["num-tasks"], place
            _check_same(settings.get(key, {}), setting, f"{row.results}.jsonl: {label}")
            settings[key] = setting
            latest[key] = [
                label,
                f"{setting['num-tasks']:,}",
                f"{record['env_steps_per_second']:,.0f}",
                "" if ratio is None else f"{ratio:.2f}",
                "" if fraction is None else f"{100 * fraction:.0f}%",
                f"{record['compile_seconds']:.1f} s",
                f"{record['peak_memory_bytes'] / 2**20:,.0f} MiB",
                place,
            ]
    speed = ["env steps/s", _RATIO, "of matrix-product rate"]
    headers = ["setting", "tasks", *speed, "compilation", "peak memory", "on"]
    cells = list(latest.values())
    at = headers.index(_RATIO)
    if not any(cell[at] for cell in cells):
        headers, *cells = ([*row[:at], *row[at + 1 :]] for row in (headers, *cells))
    return Grid(headers, cells)


def _check_same(one: Mapping[str, Any], other: Mapping[str, Any], where: str) -> None:
    """Refuses a row of records that differ in more than their layout."""
    for name in one.keys() & other.keys() - {*LAYOUT}:
        if one[name] != other[name]:
            raise OptionError(
                where,
                f"has records with {name} {one[name]} and {other[name]}; allowed: one setting in a "
                "row; write the others to another file",
            )


def markdown(grid: Grid) -> str:
    """A Markdown table and its foot."""
    foot = f"\n\n{grid.foot}" if grid.foot else ""
    return tables.markdown(grid.headers, grid.rows) + foot


def latex(grid: Grid) -> str:
    """A LaTeX ``tabular`` with the rules of the package booktabs, its foot as a comment."""
    text = tables.latex(grid.headers, grid.rows)
    text = re.sub(r"\*\*([^*&]+)\*\*", r"\\textbf{\1}", text)
    text = re.sub(r"(?m)^\*([^*&]+)\*", r"\\midrule\n\\emph{\1}", text)
    text = text.replace("\\midrule\n\\midrule\n", "\\midrule\n")
    return f"{text}\n% {grid.foot}" if grid.foot else text


def text(grid: Grid, title: str | None = None) -> str:
    """A table for a terminal; ``*`` stands behind the best."""
    rows = [[re.sub(r"^\*\*(.+)\*\*$", r"\1 *", cell) for cell in row] for row in grid.rows]
    rows = [[cell.strip("*") if i == 0 else cell for i, cell in enumerate(row)] for row in rows]
    foot = f"\n{grid.foot} * marks the best and all within noise of it." if grid.foot else ""
    return tables.text(grid.headers, rows, title) + foot


def _value(one: Estimate | None, decimals: int) -> str:
    if one is None:
        return "–"
    width = one.half_width
    value = f"{one.value:.{decimals}f}"
    return value if math.isnan(width) else f"{value} ± {width:.{decimals}f}"


def _cost(costs: Sequence[Cost | None]) -> list[str]:
    """Seeds, iterations, environment steps and time of training."""
    known: Any = next((one for one in costs if one is not None), None)
    if known is None:
        return [""] * 4
    if not known.iterations:
        return [str(known.seeds), "", "", ""]
    steps, seconds = tables.count(known.env_steps), tables.duration(known.seconds)
    return [str(known.seeds), f"{known.iterations:,}", steps, seconds]
