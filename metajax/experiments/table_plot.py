"""A picture of a table: published and measured numbers side by side."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Sequence
from typing import Any

from metajax.experiments.table_results import Line, headings
from metajax.run import plots

_MARKS: dict[str, dict[str, Any]] = {
    "published": {"marker": "D", "markerfacecolor": "white", "color": plots.PALETTE[1]},
    "measured": {"marker": "o", "color": plots.PALETTE[0]},
    "selected": {"marker": "o", "markerfacecolor": "white", "color": plots.PALETTE[0]},
    "reference": {"marker": "|", "color": "black"},
}
_WORDS = {
    "published": "published",
    "measured": "measured, 95% interval",
    "selected": "measured, tuned on these trials",
    "reference": "computed",
}


def draw(
    path: str | pathlib.Path, title: str, headers: Sequence[str], lines: Sequence[Line]
) -> None:
    """Draws one panel a column, in each a dot with its 95% interval a line.

    Args:
      path: the picture, its format by its ending.
      title: above it.
      headers: of the columns.
      lines: of the table.
    """
    from matplotlib.lines import Line2D

    num_columns = min(len(headers), 4)
    num_rows = math.ceil(len(headers) / num_columns)
    pairs = zip(headings(lines), lines, strict=True)
    shown = [one for pair in pairs for one in pair if one is not None]
    size = (2.6 + 2.4 * num_columns, (1.2 + 0.24 * len(shown)) * num_rows + 0.9)
    with plots._figure(path, size) as figure:
        panels = figure.subplots(num_rows, num_columns, sharey=True, squeeze=False)
        for axes in list(panels.flat)[len(headers) :]:
            axes.set_axis_off()
        for column, (axes, header) in enumerate(zip(panels.flat, headers, strict=False)):
            for height, line in enumerate(shown):
                value = None if isinstance(line, str) else line.values[column]
                if isinstance(line, str) or value is None:
                    continue
                error = None if math.isnan(value.half_width) else [[value.half_width]]
                mark = {"linestyle": "", "markersize": 5, **_MARKS[line.kind]}
                axes.errorbar([value.value], [height], xerr=error, **mark)
            axes.set_title(header)
            labels = [line if isinstance(line, str) else line.label for line in shown]
            axes.set_yticks(range(len(shown)), labels, fontsize=8)
            # Only the panels on the left have labels.
            for line, label in zip(shown, axes.get_yticklabels(), strict=False):
                label.set_style("italic" if isinstance(line, str) else "normal")
            axes.set_ylim(len(shown) - 0.5, -0.5)
            axes.tick_params(axis="x", labelsize=8)
            axes.locator_params(axis="x", nbins=4)
        kinds = [kind for kind in _MARKS if any(line.kind == kind for line in lines)]
        handles = [
            Line2D([], [], linestyle="", label=_WORDS[kind], **_MARKS[kind]) for kind in kinds
        ]
        figure.legend(
            handles=handles,
            loc="outside upper center",
            ncols=min(len(kinds), num_columns),
            fontsize=9,
            title=title,
        )
