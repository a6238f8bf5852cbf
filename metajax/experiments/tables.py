"""Tables in plain text, Markdown and LaTeX."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from metajax.experiments.axes import AXES

if TYPE_CHECKING:
    from metajax.evaluation import Evaluation

Row = Sequence[str]

# What LaTeX would take for something else.
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


def adaptation_table(evaluation: Evaluation, baseline: Evaluation | None = None) -> str:
    """Returns, or other scores, after 0..K adaptations, one line each, for a terminal.

    Columns: the number of gradient steps (episodes of a continuing trial, transitions
    of a lifetime), the mean return over tasks, the ends of
    its 95% interval, and what the step gained; with a baseline (the same steps from
    weights that were not trained) also its mean and how much lower it is.
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
    return text(headers, rows, title)


def text(headers: Row, rows: Sequence[Row], title: str | None = None) -> str:
    """A table for a terminal: words to the left, numbers to the right."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    _check(headers, rows)
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
    for name, number in zip(headers, _numeric(headers, rows), strict=True):
        table.add_column(name, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    # As wide as it must be: a table in a log must not depend on the terminal.
    console = Console(file=io.StringIO(), width=240, color_system=None, markup=False)
    with console.capture() as captured:
        console.print(table)
    lines = captured.get().rstrip().splitlines()
    return "\n".join(line.rstrip() for line in lines)


def markdown(headers: Row, rows: Sequence[Row]) -> str:
    """A Markdown table, columns of numbers aligned to the right."""
    _check(headers, rows)
    rules = ["---:" if number else "---" for number in _numeric(headers, rows)]
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (headers, rules, *rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def latex(headers: Row, rows: Sequence[Row]) -> str:
    """A LaTeX ``tabular`` with the rules of the package booktabs."""
    _check(headers, rows)
    columns = "".join("r" if number else "l" for number in _numeric(headers, rows))
    lines = [" & ".join(_escape(cell) for cell in row) + r" \\" for row in (headers, *rows)]
    return "\n".join(
        [
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            lines[0],
            r"\midrule",
            *lines[1:],
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )


def count(number: float) -> str:
    """A large number in words that fit a table: ``160,000``, ``12.3 million``."""
    if number < 1e6:
        return f"{number:,.0f}"
    for size, name in ((1e9, "billion"), (1e6, "million")):
        if number >= 0.9995 * size:  # 999.7 million are 1 billion in three digits
            return f"{number / size:.3g} {name}"
    raise AssertionError


def duration(seconds: float) -> str:
    """Seconds for a table: ``0.42 s``, ``12 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if seconds < 10:
        return f"{seconds:.2g} s"
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _numeric(headers: Row, rows: Sequence[Row]) -> list[bool]:
    """Whether each column holds numbers only (or nothing) below its header."""

    def number(cell: str) -> bool:
        return not cell or cell in ("–", "-") or cell.lstrip("+-−*±>").lstrip()[:1].isdigit()

    return [
        bool(rows) and any(row[i] for row in rows) and all(number(row[i]) for row in rows)
        for i in range(len(headers))
    ]


def _check(headers: Row, rows: Sequence[Row]) -> None:
    for row in rows:
        if len(row) != len(headers):
            raise ValueError(f"rows: {len(row)} cells given; allowed: {len(headers)}, as headers")


def _escape(cell: str) -> str:
    return cell.translate(_ESCAPES)
