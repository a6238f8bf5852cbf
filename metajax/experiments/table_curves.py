"""Tables of learning curves: their columns, numbers and picture."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from metajax.experiments import learning_curves
from metajax.experiments.learning_curves import Curves
from metajax.experiments.statistics import Estimate
from metajax.experiments.table_definition import Table
from metajax.run import plots

AREA, STEPS, FINAL, RATIO = range(4)
LOWER_IS_BETTER = (STEPS, RATIO)


def headers(table: Table) -> list[str]:
    """Of the columns of numbers."""
    shown = ["area under the curve", f"env steps to {table.threshold:g}", "final return"]
    return shown if table.baseline is None else [*shown, f"steps, of those of {table.baseline}"]


def estimates(
    table: Table,
    records: Sequence[Mapping[str, Any]],
    baseline: Sequence[Mapping[str, Any]],
) -> list[Estimate | None]:
    """A row's numbers, one for each of ``headers``.

    Args:
      table: with a threshold.
      records: of the row, one a seed.
      baseline: of the table's baseline; none for itself or where it has not been run.
    """
    assert table.threshold is not None
    other = learning_curves.read(baseline) if baseline else None
    found = learning_curves.summary(learning_curves.read(records), table.threshold, other)
    return list(found[: len(headers(table))])


def text(one: Estimate | None, column: int, decimals: int, lifetime: float) -> str:
    """A number with its interval; beyond the lifetime as ``> lifetime``."""
    if one is None:
        return "–"

    def shown(value: float) -> str:
        if column == STEPS:
            return f"{value:,.0f}" if math.isfinite(value) else f"> {lifetime:,.0f}"
        if column == RATIO:
            return f"{value:.2f}"
        return f"{value:.{decimals}f}"

    if not math.isfinite(one.low):  # nothing of the interval was reached
        return shown(one.value)
    return f"{shown(one.value)} ({shown(one.low)} to {shown(one.high)})"


def foot(table: Table, explore: Collection[bool]) -> str:
    """What the numbers are.

    Args:
      table: with a threshold.
      explore: whether the policies that were measured sampled their actions.
    """
    words = (
        "Interquartile means over seeds and unseen tasks, with the 95% interval from drawing "
        "both again. Area: the mean return over the lifetime. Steps: those in a task at which "
        f"the interquartile mean of the return reaches {table.threshold:g}; > stands for never."
    )
    if table.baseline is not None:
        words += f" Where {table.baseline} never does, its lifetime counts as its steps."
    if not explore:
        return words
    names = {True: "of sampled actions", False: "of the policy's mode"}
    how = " or ".join(names[one] for one in (True, False) if one in explore)
    return f"{words} Returns are those {how}{', by row' if len(explore) > 1 else ''}."


def draw(path: str | pathlib.Path, table: Table, rows: Mapping[str, Curves]) -> None:
    """Draws the curves of a table's rows, with intervals, over environment steps.

    Args:
      path: the picture, its format by its ending.
      table: with a threshold.
      rows: by label.
    """
    assert table.threshold is not None
    lines = {
        label: (curves.steps, learning_curves.curve_with_interval(curves))
        for label, curves in rows.items()
    }
    plots.lifetime_curves(path, lines, table.threshold, table.title)
