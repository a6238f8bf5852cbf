"""Tables as text: for a terminal, in Markdown and in LaTeX."""

from __future__ import annotations

import io
import re
import shutil
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from metajax.core.axes import AXES

if TYPE_CHECKING:
    from metajax.evaluation import Evaluation

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

_TOTAL = "total"
_MOST_LINES = 20
_WIDEST = 10_000


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


def adaptation_table(evaluation: Evaluation, baseline: Evaluation | None = None) -> str:
    """Returns, or other scores, after 0..K adaptations, one line each.

    Columns: the number of adaptations (episodes of a continuing trial, transitions of a
    lifetime), the mean return over tasks, the ends of its 95% interval, and what the step
    gained; with a baseline (the same steps from weights that were not trained) also its mean
    and how much lower it is.
    """
    sets = [with_total(one) for one in (evaluation, baseline) if one is not None]
    labels = labels_of(evaluation)
    means, (lows, highs) = sets[0].mean(), sets[0].interval()
    rows: list[list[str]] = []
    shown = shown_of(labels)
    for before, at in zip([None, *shown], shown, strict=False):
        is_step = before is not None and labels[at] != _TOTAL
        gain = f"{means[at] - means[before]:+.2f}" if is_step else ""
        row = [labels[at], f"{means[at]:.2f}", f"{lows[at]:.2f} to {highs[at]:.2f}", gain]
        for other in sets[1:]:
            row += [f"{other.mean()[at]:.2f}", f"{means[at] - other.mean()[at]:+.2f}"]
        rows.append(row)
    title = f"{evaluation.score.capitalize()} on {len(evaluation.returns)} held-out tasks"
    if evaluation.score == "return":
        title += ", sampled actions" if evaluation.explore else ", the policy's mode"
    headers = [AXES[evaluation.axis].unit, f"mean {evaluation.score}", "95% interval", "gain"]
    headers += [] if baseline is None else ["random init.", "difference"]
    return text(Grid(headers, rows, left_out(labels, evaluation.axis)), title)


def with_total(evaluation: Evaluation) -> Evaluation:
    """An evaluation of whole trials with the sum of each trial behind its episodes."""
    if evaluation.axis != "episodes":
        return evaluation
    returns = evaluation.returns
    total = returns.sum(axis=1, keepdims=True)
    return evaluation._replace(returns=np.concatenate([returns, total], axis=1))


def labels_of(evaluation: Evaluation) -> list[str]:
    """Labels of the lines of ``with_total``: positions on the axis, and "total"."""
    total = [_TOTAL] if evaluation.axis == "episodes" else []
    return [*(f"{one:,}" for one in evaluation.positions), *total]


def shown_of(labels: Sequence[str]) -> list[int]:
    """Which lines of a meta-test a table shows: all, or of many some that lie evenly apart."""
    if len(labels) <= _MOST_LINES:
        return [*range(len(labels))]
    number = len(labels) - labels.count(_TOTAL)
    even = np.linspace(0, number - 1, _MOST_LINES // 2).round().astype(int).tolist()
    return [*even, *range(number, len(labels))]


def left_out(labels: Sequence[str], axis: str) -> str:
    """A sentence on the lines that ``shown_of`` leaves out, or nothing."""
    if len(labels) <= _MOST_LINES:
        return ""
    number = len(labels) - labels.count(_TOTAL)
    unit = "points" if axis == "points" else AXES[axis].unit
    return f"{_MOST_LINES // 2} of {number} {unit} are shown; evaluation.json holds all."


def text(grid: Grid, title: str | None = None) -> str:
    """A table for a terminal, numbers to the right; ``*`` stands behind the best.

    On a terminal that is too narrow the columns stand in several parts below each other, which
    a last line says. In a file or a pipe it is as wide as it must be: a log does not depend on
    the terminal.
    """
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _WIDEST
    longest = max(16, width // 3)
    parts = _parts(grid, width, longest)
    breaks = longest if len(parts) > 1 else None
    lines = [line for part in parts for line in ("", *_rendered(grid, part, breaks))]
    is_marked = any(cell.startswith("**") for row in grid.rows for cell in row[1:])
    stars = "* marks the best and all within noise of it." if is_marked else ""
    cut = ""
    if len(parts) > 1:
        cut = f"The terminal is {width} characters wide: the columns stand in {len(parts)} parts."
    foot = " ".join(filter(None, (grid.foot, stars)))
    head = [] if title is None else [title]
    return "\n".join([*head, *lines[title is None :], *filter(None, (foot, cut))])


def _parts(grid: Grid, width: int, longest: int) -> list[list[int]]:
    """Columns of each part of a table, as many as fit a width, all behind the first column."""
    every = [*range(1, len(grid.headers))]
    if width == _WIDEST or max(map(len, _rendered(grid, every))) <= width:
        return [every]
    parts: list[list[int]] = [[]]
    for column in every:
        wider = [*parts[-1], column]
        if parts[-1] and max(map(len, _rendered(grid, wider, longest))) > width:
            parts.append([column])
        else:
            parts[-1] = wider
    return parts


def _rendered(grid: Grid, columns: Sequence[int], longest: int | None = None) -> list[str]:
    """Lines of some columns behind the first, whose cells break behind ``longest`` letters."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table, are_numbers = Table(box=box.SIMPLE_HEAD), _are_numbers(grid)
    for at in (0, *columns):
        breaks: Any = {"max_width": longest} if at == 0 and longest else {"no_wrap": True}
        justify = "right" if are_numbers[at] else "left"
        table.add_column(grid.headers[at], justify=justify, **breaks)
    for row in grid.rows:
        cells = (re.sub(r"^\*\*(.+)\*\*$", r"\1 *", row[at]) for at in columns)
        table.add_row(row[0].strip("*"), *cells)
    console = Console(file=io.StringIO(), width=_WIDEST, color_system=None, markup=False)
    with console.capture() as captured:
        console.print(table)
    return [line.rstrip() for line in captured.get().splitlines() if line.strip()]


def markdown(grid: Grid) -> str:
    """A Markdown table, columns of numbers aligned to the right, and its foot."""
    rules = ["---:" if number else "---" for number in _are_numbers(grid)]
    rows = [[cell.replace("|", "\\|") for cell in row] for row in (grid.headers, rules, *grid.rows)]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([*lines, "", grid.foot] if grid.foot else lines)


def latex(grid: Grid) -> str:
    """A LaTeX ``tabular`` with the rules of the package booktabs, its foot as a comment."""
    alignment = "".join("r" if number else "l" for number in _are_numbers(grid))
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


def _are_numbers(grid: Grid) -> list[bool]:
    """Whether each column holds numbers only (or nothing) below its header.

    Raises ValueError where a row has more or fewer cells than there are headers.
    """
    headers, rows, _ = grid
    for row in rows:
        if len(row) != len(headers):
            raise ValueError(f"rows: {len(row)} cells given; allowed: {len(headers)}, as headers")

    def is_number(cell: str) -> bool:
        return not cell or cell in ("–", "-") or cell.lstrip("+-−*±>").lstrip()[:1].isdigit()

    cells = [[row[index] for row in rows] for index in range(len(headers))]
    return [any(column) and all(map(is_number, column)) for column in cells]
