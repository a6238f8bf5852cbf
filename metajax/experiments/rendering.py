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
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from metajax.core.options import OptionError
from metajax.experiments import table_results
from metajax.experiments.statistics import Estimate
from metajax.experiments.table_cells import read_records
from metajax.experiments.table_definition import Table, ThroughputTable, load
from metajax.experiments.table_results import Line
from metajax.run import records, tables
from metajax.run.config import LAYOUT

_PLACE = re.compile(
    r"(<!-- table: (\S+)(?: (\S+))? -->\n)(?:(?!<!-- table:).)*?<!-- end -->", re.DOTALL
)
# Characters that LaTeX would take for something else.
_ESCAPES = str.maketrans(
    {
        **{character: f"\\{character}" for character in "&%_#${}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": "$<$",
        ">": "$>$",
        "±": r"$\pm$",
        "–": "--",
    }
)
_COSTS = ["seeds", "iterations", "env steps", "training time"]
_RATIO = "times its yardstick"
# Settings that stand in the label of a row of speeds whose records differ in them.
_TOLD_APART = {"family": "{}", "lifetime": "lifetimes of {:,} transitions"}


class Grid(NamedTuple):
    """A table as text: ``**bold**`` cells are the best, ``*slanted*`` ones are headings.

    Attributes:
      headers: headings of the columns.
      rows: cells, as many as headers.
      foot: a sentence below, or nothing.
    """

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    foot: str = ""


def fill(document: str, table: Callable[[str, str], str]) -> str:
    """A document with the present tables, ``table(name, profile)``, in their places.

    Raises:
      ValueError: for a place that does not end.
    """
    if left := re.search("<!-- table: (.*?) -->", _PLACE.sub("", document)):
        raise ValueError(f"table {left[1]}: no <!-- end --> follows")
    return _PLACE.sub(
        lambda found: f"{found[1]}{table(found[2], found[3] or 'full')}\n<!-- end -->", document
    )


def render(
    name: str, directory: pathlib.Path, results: pathlib.Path, profile: str = "full"
) -> Grid:
    """A table of committed results.

    Args:
      name: name of the table.
      directory: directory of definitions.
      results: directory of result files.
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
    columns = table_results.columns(table, profile, len(lines[0].values))
    costs = _COSTS if table.is_vector else []
    if table.metric == "learning-curve":
        costs = [one.replace("env", "training env") for one in costs]
    headers = ["method", *(one.name for one in columns), *costs]
    bold = [
        table_results.best(lines, index, one.better or table.better)
        for index, one in enumerate(columns)
    ]
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
        rows.append([line.label, *values, *(_cost(line) if costs else [])])
    return Grid(headers, rows, foot(table, profile, lines))


def value_of_curves(line: Line) -> Callable[[Estimate | None, int], str]:
    """Shows numbers of learning curves; steps beyond the lifetime as ``> lifetime``."""
    lifetime = next(each[0]["steps"][-1] for each in line.records if each)

    def shown(one: Estimate | None, decimals: int) -> str:
        if one is None:
            return "–"
        beyond = f"> {lifetime:,.0f}" if decimals == 0 else "inf"
        value, low, high = (
            f"{end:,.{decimals}f}" if math.isfinite(end) else beyond for end in one
        )
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
    for line in measured:
        if any(one.iterations for one in line.costs):
            seeds = _range(one.seeds for one in line.costs)
            steps = _range(one.env_steps for one in line.costs)
            plural = "" if seeds == "1" else "s"
            text += f"; {line.label}: {seeds} seed{plural}, {steps} training steps each"
    return f"{text}. Profile {profile}.{where}"


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


def throughput_grid(table: ThroughputTable, results: pathlib.Path) -> Grid:
    """Speed and memory, one record of ``metajax bench`` a row.

    A record that was measured beside a yardstick says how many times as fast it was. Of
    several records of one setting on one machine the last counts.

    Raises:
      OptionError: without records, or where those of a row have several settings.
    """
    latest: dict[tuple, list[str]] = {}
    settings: dict[tuple, Mapping[str, Any]] = {}
    for row in table.rows:
        path = results / f"{row.results}.jsonl"
        found = records.read(path)
        if not found:
            raise OptionError(f"table {table.name}", f"{path} has no records")
        for record in found:
            setting, label = record["setting"], row.label
            fraction, ratio = record["fraction_of_matmul_ceiling"], record.get("ratio")
            for name, words in _TOLD_APART.items():
                if len({one["setting"].get(name) for one in found}) > 1:
                    label = f"{label}, {words.format(setting[name])}"
            place = records.place(record.get("environment") or {})
            key = label, setting["num-tasks"], place
            _check_same(settings.get(key, {}), setting, f"{path.name}: {label}")
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
    rows, at = list(latest.values()), headers.index(_RATIO)
    if not any(row[at] for row in rows):
        headers, *rows = ([*row[:at], *row[at + 1 :]] for row in (headers, *rows))
    return Grid(headers, rows)


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
    """A Markdown table, columns of numbers aligned to the right, and its foot."""
    rules = ["---:" if number else "---" for number in tables.are_numbers(*grid[:2])]
    rows = [[cell.replace("|", "\\|") for cell in row] for row in (grid.headers, rules, *grid.rows)]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([*lines, "", grid.foot] if grid.foot else lines)


def latex(grid: Grid) -> str:
    """A LaTeX ``tabular`` with the rules of the package booktabs, its foot as a comment."""
    alignment = "".join("r" if number else "l" for number in tables.are_numbers(*grid[:2]))
    head, *rows = (
        " & ".join(cell.translate(_ESCAPES) for cell in row) + r" \\"
        for row in (grid.headers, *grid.rows)
    )
    body = re.sub(r"\*\*([^*&]+)\*\*", r"\\textbf{\1}", "\n".join(rows))
    body = re.sub(r"(?m)^\*([^*&]+)\*", r"\\midrule\n\\emph{\1}", body)
    rule = "" if body.startswith(r"\midrule") else "\\midrule\n"
    foot = f"\n% {grid.foot}" if grid.foot else ""
    head = f"\\begin{{tabular}}{{{alignment}}}\n\\toprule\n{head}\n"
    return f"{head}{rule}{body}\n\\bottomrule\n\\end{{tabular}}{foot}"


def text(grid: Grid, title: str | None = None) -> str:
    """A table for a terminal; ``*`` stands behind the best."""
    rows = [[re.sub(r"^\*\*(.+)\*\*$", r"\1 *", cell) for cell in row] for row in grid.rows]
    rows = [[first.strip("*"), *rest] for first, *rest in rows]
    foot = f"\n{grid.foot} * marks the best and all within noise of it." if grid.foot else ""
    return tables.text(grid.headers, rows, title) + foot


def _value(one: Estimate | None, decimals: int) -> str:
    if one is None:
        return "–"
    width = one.half_width
    value = f"{one.value:.{decimals}f}"
    return value if math.isnan(width) else f"{value} ± {width:.{decimals}f}"


def _cost(line: Line) -> list[str]:
    """Seeds, iterations, environment steps and time of training."""
    known = next(iter(line.costs), None)
    if known is None:
        return [""] * 4
    if not known.iterations:
        return [str(known.seeds), "", "", ""]
    steps, seconds = tables.count(known.env_steps), tables.duration(known.seconds)
    return [str(known.seeds), f"{known.iterations:,}", steps, seconds]


def _range(numbers: Iterable[float]) -> str:
    ends = sorted(set(numbers))
    shown = [tables.count(one) for one in (ends[0], ends[-1])]
    return shown[0] if shown[0] == shown[1] else f"{shown[0]} to {shown[1]}"
