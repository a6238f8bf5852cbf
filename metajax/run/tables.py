"""Tables as text: for a terminal, in Markdown and in LaTeX."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

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
    rows = []
    means, (lows, highs) = evaluation.mean(), evaluation.interval()
    positions = evaluation.positions
    for index, (value, low, high) in enumerate(zip(means, lows, highs, strict=True)):
        gain = "" if index == 0 else f"{value - means[index - 1]:+.2f}"
        rows.append([f"{positions[index]:,}", f"{value:.2f}", f"{low:.2f} to {high:.2f}", gain])
    title = f"{evaluation.score.capitalize()} on {len(evaluation.returns)} held-out tasks"
    if evaluation.score == "return":
        title += ", sampled actions" if evaluation.explore else ", the policy's mode"
    headers = [AXES[evaluation.axis].unit, f"mean {evaluation.score}", "95% interval", "gain"]
    if baseline is not None:
        headers += ["random init.", "difference"]
        for row, value, other in zip(rows, means, baseline.mean(), strict=True):
            row += [f"{other:.2f}", f"{value - other:+.2f}"]
    return text(Grid(headers, rows), title)


def text(grid: Grid, title: str | None = None) -> str:
    """A table for a terminal, numbers to the right; ``*`` stands behind the best."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
    for name, number in zip(grid.headers, _are_numbers(grid), strict=True):
        table.add_column(name, justify="right" if number else "left", no_wrap=True)
    for first, *rest in grid.rows:
        cells = (re.sub(r"^\*\*(.+)\*\*$", r"\1 *", cell) for cell in rest)
        table.add_row(first.strip("*"), *cells)
    # As wide as it must be: a table in a log must not depend on the terminal.
    console = Console(file=io.StringIO(), width=240, color_system=None, markup=False)
    with console.capture() as captured:
        console.print(table)
    lines = [line.rstrip() for line in captured.get().rstrip().splitlines()]
    foot = [f"{grid.foot} * marks the best and all within noise of it."] if grid.foot else []
    return "\n".join(lines + foot)


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
