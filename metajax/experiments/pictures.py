"""Pictures of tables and speeds."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from metajax.core.axes import AXES
from metajax.experiments import learning_curves
from metajax.experiments.learning_curves import Curves
from metajax.experiments.statistics import bootstrap
from metajax.experiments.table_definition import Table
from metajax.experiments.table_results import Line, Records, headings
from metajax.run import plots
from metajax.run.machine import place

# How the dots of each kind of line look, and what they are called.
_KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "published": ("published", {"marker": "D", "mfc": "white", "color": plots.PALETTE[1]}),
    "measured": ("measured, 95% interval", {"marker": "o", "color": plots.PALETTE[0]}),
    "selected": (
        "measured, tuned on these trials",
        {"marker": "o", "mfc": "white", "color": plots.PALETTE[0]},
    ),
    "reference": ("computed", {"marker": "|", "color": "black"}),
}


def of_table(
    stem: pathlib.Path,
    table: Table,
    headers: Sequence[str],
    lines: Sequence[Line],
    measured: Mapping[str, Records],
) -> list[pathlib.Path]:
    """Draws a table, and settings that its methods learned, by its records by label.

    ``stem`` is the path of the pictures without its end; returns their paths.
    """
    paths, title = [stem.with_name(f"{stem.name}.png")], f"{table.title} ({table.source})"
    if table.metric == "learning-curve":
        curves = {label: learning_curves.read(each) for label, each in measured.items()}
        lifetime_curves(paths[0], curves, table.threshold or 0.0, title)
    else:
        estimates(paths[0], title, headers, lines)
    for name, draw in (("schedules", plots.schedules), ("training", plots.training_curves)):
        kept = {
            label: [one[name] for one in each if name in one] for label, each in measured.items()
        }
        if kept := {label: each for label, each in kept.items() if each}:
            paths.append(stem.with_name(f"{stem.name}-{name}.png"))
            draw(paths[-1], kept)
    return paths


def estimates(path: plots.Path, title: str, headers: Sequence[str], lines: Sequence[Line]) -> None:
    """Draws the lines of a table, a panel a column, in each a dot with its 95% interval a line."""
    pairs = zip(headings(lines), lines, strict=True)
    shown = [one for pair in pairs for one in pair if one is not None]
    sizes: dict[str, Any] = {"size": (2.4, 1.2 + 0.24 * len(shown)), "margin": (2.6, 0.4)}
    width = len(lines[0].values)
    with plots.panels(path, width, columns=4, sharey=True, **sizes) as (whole, every):
        for column, (axes, header) in enumerate(zip(every, headers, strict=False)):
            for height, line in enumerate(shown):
                value = line.values[column] if isinstance(line, Line) else None
                if isinstance(line, Line) and value is not None:
                    error = None if math.isnan(value.half_width) else value.half_width
                    mark = {"linestyle": "", "markersize": 5, **_KINDS[line.kind][1]}
                    axes.errorbar([value.value], [height], xerr=error, **mark)
            axes.set_title(header)
            names = [one.label if isinstance(one, Line) else one for one in shown]
            axes.set_yticks(range(len(shown)), names, fontsize=8)
            # Only the panels on the left have labels.
            for one, label in zip(shown, axes.get_yticklabels(), strict=False):
                label.set_fontstyle("normal" if isinstance(one, Line) else "italic")
            axes.set_ylim(len(shown) - 0.5, -0.5)
            axes.tick_params(axis="x", labelsize=8)
            axes.locator_params(axis="x", nbins=4)
        kinds = {line.kind for line in lines}
        styles = {
            words: {"linestyle": "", **mark}
            for kind, (words, mark) in _KINDS.items()
            if kind in kinds
        }
        plots.legend(whole, styles, columns=4, fontsize=9, title=title)


def lifetime_curves(
    path: plots.Path, lines: Mapping[str, Curves], threshold: float, title: str
) -> None:
    """Draws learning curves by label, and a return to reach."""
    with plots.figure(path, (6.4, 3.6)) as whole:
        axes = whole.subplots()
        for number, (label, curves) in enumerate(lines.items()):
            # The colours of the palette again, with another mark.
            marker = "os^D"[number // len(plots.PALETTE) % 4]
            style: dict[str, Any] = {"color": plots.colour(number), "marker": marker}
            points = zip(*bootstrap([curves.returns], learning_curves.mean_curve), strict=True)
            plots.band(axes, curves.steps, points, markersize=4, label=label, **style)
        axes.axhline(threshold, **plots.DASHED)
        axes.set_xlabel(AXES["points"].label)
        axes.xaxis.set_major_formatter(plots.short_number)
        axes.set_ylabel("return (undiscounted), interquartile mean")
        plots.legend(whole, columns=2, title=title)


def throughput(path: plots.Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Draws speed and memory over the number of tasks, one line a setting and device."""
    lines: dict[str, list[Mapping[str, Any]]] = {}
    for record in sorted(records, key=lambda one: one["setting"]["num-tasks"]):
        lines.setdefault(_setting(record), []).append(record)
    ticks = sorted({record["setting"]["num-tasks"] for record in records})
    with plots.figure(path, (9.6, 3.8)) as whole:
        speed, memory = whole.subplots(1, 2)
        for number, (label, line) in enumerate(lines.items()):
            tasks = [record["setting"]["num-tasks"] for record in line]
            style: dict[str, Any] = {"color": plots.colour(number), "markersize": 5}
            rates = (
                [record[f"env_steps_per_second{end}"] for record in line]
                for end in ("", "_min", "_max")
            )
            plots.band(speed, tasks, rates, "o-", label=label, **style)
            peaks = [record["peak_memory_bytes"] / 2**30 for record in line]
            memory.plot(tasks, peaks, "o-", **style)
        for axes, words in ((speed, "environment steps per second"), (memory, "peak memory (GiB)")):
            axes.set_xscale("log", base=2)
            axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
            axes.minorticks_off()
            axes.set_xlabel("tasks in a meta-batch")
            axes.set_ylim(bottom=0)
            axes.set_ylabel(words)
        speed.yaxis.set_major_formatter(plots.short_number)
        if len(lines) > 1:
            plots.legend(whole)


def _setting(record: Mapping[str, Any]) -> str:
    """A setting and its device in words."""
    name, outer = record["setting"]["name"], record["setting"].get("outer", "policy-gradient")
    name = name if outer == "policy-gradient" else f"{name} ({outer})"
    return f"{name}, {place(record['environment'])}"
