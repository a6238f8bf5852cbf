"""Pictures of a run: how its policy adapts and how it learns. Drawn without a display."""

from __future__ import annotations

import contextlib
import functools
import pathlib
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from metajax.core import files
from metajax.core.axes import AXES, score_label
from metajax.run import curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from metajax.evaluation import Evaluation

# Okabe and Ito (2008): told apart with every common colour blindness.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHED: dict[str, Any] = {"color": "#8a8a8a", "linewidth": 1.2, "linestyle": (0, (3, 2))}
_STYLE: Any = {
    **dict.fromkeys(("axes.axisbelow", "axes.grid"), True),
    **dict.fromkeys(("axes.spines.right", "axes.spines.top", "legend.frameon"), False),
    "font.size": 10,
    "axes.labelsize": 11,
    "axes.titlesize": 11,
    "figure.titlesize": 12,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.8,
    "savefig.dpi": 160,
}

_LETTERS = 12  # of a title, an inch

Path = str | pathlib.Path


@contextlib.contextmanager
def figure(path: Path, size: tuple[float, float]) -> Iterator[Figure]:
    """A figure of ``size`` inches, written to ``path`` at the end, all of it or nothing."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    path = pathlib.Path(path)
    with rc_context(_STYLE):
        # Without pyplot there is no global state and no display to look for.
        made = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(made)
        yield made
        path.parent.mkdir(parents=True, exist_ok=True)
        with files.replacing(path) as file:
            made.savefig(file, format=path.suffix.removeprefix(".") or "png")


@contextlib.contextmanager
def panels(
    path: Path,
    number: int,
    size: tuple[float, float],
    *,
    margin: tuple[float, float] = (0.3, 0.4),
    columns: int = 3,
    **more: Any,
) -> Iterator[tuple[Figure, list[Axes]]]:
    """A ``figure`` of ``number`` panels of ``size`` inches each; ``more`` are of ``subplots``."""
    columns = min(columns, number)
    rows = -(-number // columns)
    with figure(path, (size[0] * columns + margin[0], size[1] * rows + margin[1])) as whole:
        every = list(whole.subplots(rows, columns, squeeze=False, **more).flat)
        for axes in every[number:]:
            axes.set_axis_off()
        yield whole, every[:number]


def legend(
    whole: Figure,
    styles: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    columns: int = 3,
    title: str | None = None,
    **more: Any,
) -> None:
    """A legend above a figure, which grows by its height.

    Args:
      whole: The figure.
      styles: The style of a line by its label. Default: the lines that are drawn.
      columns: Most columns; as many are used as fit the width.
      title: Title, which is broken into lines that fit the width.
      more: Options of ``Figure.legend``.
    """
    from matplotlib.lines import Line2D

    if styles is not None:
        more["handles"] = [Line2D([], [], label=label, **style) for label, style in styles.items()]
    if title is not None:
        title = textwrap.fill(title, int(_LETTERS * whole.get_figwidth()))
    place = functools.partial(whole.legend, loc="outside upper center", title=title, **more)
    made = place(ncols=columns)
    while made.get_window_extent().width > whole.bbox.width and columns > 1:
        made.remove()
        columns -= 1
        made = place(ncols=columns)
    height = made.get_window_extent().height / whole.dpi
    whole.set_figheight(whole.get_figheight() + height)


def band(axes: Axes, x: Any, lines: Any, style: str = "-", **more: Any) -> None:
    """Draws a line and around it its interval: ``lines`` are the middle, low and high ends."""
    middle, low, high = lines
    axes.fill_between(x, low, high, color=more["color"], alpha=0.2, linewidth=0)
    axes.plot(x, middle, style, **more)


def mean_and_range(values: np.ndarray) -> tuple[np.ndarray, ...]:
    """Mean and extremes over the first axis, as ``band`` draws them."""
    return values.mean(axis=0), values.min(axis=0), values.max(axis=0)


def colour(number: int) -> str:
    """The colour of a line; the palette begins again at its end."""
    return PALETTE[number % len(PALETTE)]


def short_number(value: float, _: Any = None) -> str:
    """``12k``, ``3M``: the label of a tick."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def adaptation_curve(
    path: Path,
    evaluations: Mapping[str, Evaluation],
    baseline: Evaluation | None = None,
    references: Mapping[str, float] | None = None,
    family: str = "",
) -> None:
    """Draws the return along the axis of a trial by label, with the 95% interval over tasks.

    Args:
      path: The picture.
      evaluations: What the picture is scaled to, by label.
      baseline: The same from a random initialisation. Where it would flatten the others it
        leaves the picture, and its value stands at the edge.
      references: Returns that are drawn across the whole picture, by label.
      family: Name of the family, for the title.
    """
    from matplotlib.ticker import MaxNLocator

    every, references = [*evaluations.values()], references or {}
    first, styles = every[0], {}
    with figure(path, (5.8, 3.8)) as whole:
        axes = whole.subplots()
        for number, (label, value) in enumerate(references.items()):
            styles[f"{label}: {curves.value(value)}"] = style = {
                **DASHED,
                "color": "#444444",
                "linestyle": ("--", ":")[number % 2],
            }
            axes.axhline(value, **style)
        seen = [each for one in every for each in (one.mean(), one.interval())]
        aside = [] if baseline is None else [baseline.mean()]
        around = curves.limits([*references.values(), *seen], aside)
        drawn = dict(evaluations) | (
            {} if baseline is None else {"random initialisation": baseline}
        )
        for number, (label, one) in enumerate(drawn.items()):
            dots = "o-" if len(one.positions) <= 20 else "-"
            styles[label] = {"color": colour(number), "marker": dots[:-1], "markersize": 5}
            band(axes, one.positions, (one.mean(), *one.interval()), **styles[label])
            _write_values(axes, one, around, colour(number), above=one is not baseline)
        axes.set_ylim(around)
        axes.margins(x=0.08)
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
        axes.set_xlabel(AXES[first.axis].label)
        axes.set_ylabel(score_label(first.score))
        tasks = " / ".join(map(str, sorted({len(one.returns) for one in every})))
        about = f"mean over {tasks} held-out tasks, 95% interval"
        legend(whole, styles, columns=2, title=f"{family}: {about}" if family else about)


def _write_values(
    axes: Axes, one: Evaluation, around: tuple[float, float], hue: str, *, above: bool
) -> None:
    """Writes values beside a curve, and at the edge where it has left the picture."""
    from matplotlib.patheffects import withStroke

    mean = one.mean()
    more: Any = {"textcoords": "offset points", "color": hue, "fontsize": 9, "ha": "center"}
    more |= {"path_effects": [withStroke(linewidth=2.5, foreground="white")], "zorder": 3}
    for at, text, side in curves.notes(mean, *around):
        y, up = {0: (mean[at], 7 if above else -7), 1: (around[1], -3), -1: (around[0], 3)}[side]
        place: Any = {"xytext": (0, up), "va": "bottom" if up > 0 else "top"}
        axes.annotate(text, (one.positions[at], y), **place, **more)


def training_curves(path: Path, runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Draws the training return over meta-iterations, the last (solid) and first of a trial.

    ``runs`` are by label, for each seed ``iteration``, ``returns`` (``[K + 1]`` at each
    iteration), their ``axis`` and the ``score`` that they are. Several seeds are drawn as mean
    and range.
    """
    first_run, adapts = next(iter(runs.values()))[0], False
    words = AXES[first_run["axis"]]
    with figure(path, (6.4, 3.6)) as whole:
        axes = whole.subplots()
        for number, (label, seeds) in enumerate(runs.items()):
            steps = min((one["iteration"] for one in seeds), key=len)
            values = np.array([one["returns"][: len(steps)] for one in seeds])
            values = curves.smooth(np.moveaxis(values, 1, -1))
            several = values.shape[1] > 1
            name = f"{label}, {words.last}" if several and len(runs) == 1 else label
            band(axes, steps, mean_and_range(values[:, -1]), color=colour(number), label=name)
            if several:
                axes.plot(steps, values[:, 0].mean(axis=0), **{**DASHED, "color": colour(number)})
                adapts = True
        axes.set_xlabel("meta-iteration")
        axes.set_ylabel(f"{score_label(first_run['score'])}, training tasks")
        if adapts:
            axes.plot([], [], label=words.first, **DASHED)
        legend(whole)


def schedules(path: Path, runs: Mapping[str, Sequence[Mapping[str, Sequence[Any]]]]) -> None:
    """Draws settings that were learned over meta-iterations, a panel each.

    ``runs`` are by label, for each seed ``iteration`` and the settings by name, a number or an
    array at each iteration. Several seeds are drawn as mean and range, elements as lines.
    """
    learned = (name for seeds in runs.values() for name in seeds[0] if name != "iteration")
    names = list(dict.fromkeys(learned))
    with panels(path, len(names), (3.1, 2.3)) as (whole, every):
        for name, axes in zip(names, every, strict=True):
            for number, seeds in enumerate(runs.values()):
                if name in seeds[0]:
                    _draw_schedule(axes, name, seeds, colour(number))
            axes.set_title(name.replace("_", " "))
        whole.supxlabel("meta-iteration", fontsize=11)
        styles = {label: {"color": colour(number)} for number, label in enumerate(runs)}
        legend(whole, styles)


def _draw_schedule(axes: Axes, name: str, seeds: Sequence[Mapping[str, Any]], hue: str) -> None:
    """One setting of one method in one panel."""
    steps = min((one["iteration"] for one in seeds), key=len)
    values = np.array([[np.ravel(now) for now in one[name][: len(steps)]] for one in seeds])
    for element in np.moveaxis(values, -1, 0):
        band(axes, steps, mean_and_range(element), color=hue, linewidth=1.5)
    if values.min() > 0 and values.max() > 10 * values.min():
        axes.set_yscale("log")
        axes.yaxis.set_minor_formatter("")
    axes.xaxis.set_major_formatter(short_number)
    axes.locator_params(axis="x", nbins=4)
