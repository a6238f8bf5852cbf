"""Tables of text: Markdown, LaTeX, and for a terminal."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from metajax.run import tables

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
