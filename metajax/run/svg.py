"""Drawings of a report: curves, ways through maps and pulls of arms, as inline SVG.

Colours are those of classes, which the style of the page names for light and for dark.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from metajax.run import curves
from metajax.run.html import Element, tag

NUM_COLOURS = 7
"""Colours of the page, which begin again at their end."""

_WIDTH, _HEIGHT = 420, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 412, 10, 222
_MOST_POINTS = 400


class Line(NamedTuple):
    """A curve of a chart.

    Attributes:
      label: Name in the legend; "" for none.
      x, y: Points.
      around: Low and high end of the interval at each point.
      colour: Number of its colour.
      kind: Class of the line: "solid", "dashed" or "faint".
    """

    label: str
    x: np.ndarray
    y: np.ndarray
    around: tuple[np.ndarray, np.ndarray] | None = None
    colour: int = 0
    kind: str = "solid"


def chart(
    title: str,
    lines: Sequence[Line],
    x_label: str,
    y_label: str,
    *,
    others: Sequence[Line] = (),
    references: Mapping[str, float] | None = None,
    values: bool = False,
) -> Element:
    """A figure of curves with a legend.

    Args:
      title: What it shows.
      lines: Curves to which the axes are scaled.
      x_label, y_label: Of the axes.
      others: Curves that may leave the picture, see ``curves.limits``.
      references: Values that are drawn across, by label.
      values: Whether to write values beside curves, and not only where they leave the picture.
    """
    references = references or {}
    seen = [one.y for one in lines] + [end for one in lines for end in one.around or ()]
    if not any(np.isfinite(one.y).any() for one in lines):
        nothing = tag("p", "No finite value was recorded.", class_="note")
        return tag("figure", tag("figcaption", title), nothing)
    low, high = curves.limits([*seen, *references.values()], [one.y for one in others])
    positions = np.concatenate([one.x for one in lines])
    first, last = float(positions.min()), float(positions.max())
    wide = 0.04 * (last - first) or 0.5

    def across(x):
        return _LEFT + (x - first + wide) / (last - first + 2 * wide) * (_RIGHT - _LEFT)

    def up(y):
        return _BOTTOM - (y - low) / (high - low) * (_BOTTOM - _TOP)

    drawn: list[Element] = []
    for tick in _ticks(low, high):
        y = f"{up(tick):.1f}"
        drawn += [tag("line", x1=_LEFT, x2=_RIGHT, y1=y, y2=y, class_="grid")]
        drawn += [_text(_tick(tick), _LEFT - 6, up(tick) + 4, "end")]
    for tick in _ticks(first, last, whole=True):
        drawn += [_text(_tick(tick), across(tick), _BOTTOM + 16)]
    drawn += [_text(x_label, (_LEFT + _RIGHT) / 2, _HEIGHT - 6, class_="label")]
    for number, value in enumerate(references.values()):
        y = f"{up(value):.1f}"
        drawn += [tag("line", x1=_LEFT, x2=_RIGHT, y1=y, y2=y, class_=f"reference r{number % 2}")]
    inside = [_curve(one, across, up) for one in (*others, *lines)]
    frame = {"x": _LEFT, "y": _TOP, "width": _RIGHT - _LEFT, "height": _BOTTOM - _TOP}
    drawn += [tag("svg", *inside, **frame, viewBox=" ".join(map(str, frame.values())))]
    for number, one in enumerate((*lines, *others)):
        notes = curves.notes(one.y, low, high)
        for at, text, side in notes if values else [note for note in notes if note[2]]:
            beside = up(one.y[at]) + (-7 if number < len(lines) else 15)
            y = {0: min(beside, _BOTTOM - 4), 1: _TOP + 12, -1: _BOTTOM - 4}[side]
            drawn += [_text(text, across(one.x[at]), y, class_=f"value c{one.colour}")]
    named = [one for one in (*lines, *others) if one.label]
    legend = [_swatch(f"c{one.colour} {one.kind}", one.label) for one in named]
    legend += [
        _swatch(f"reference r{number % 2}", f"{label}: {curves.value(value)}")
        for number, (label, value) in enumerate(references.items())
    ]
    picture = drawing(f"{title}: {y_label} over {x_label}", _WIDTH, _HEIGHT, drawn)
    caption = tag("figcaption", title, tag("span", y_label, class_="unit"))
    return tag("figure", caption, tag("ul", *legend, class_="legend"), picture)


def drawing(name: str, width: float, height: float, inside: Iterable[Element]) -> Element:
    """A drawing with a name for those who do not see it."""
    return tag("svg", *inside, viewBox=f"0 0 {width:g} {height:g}", role="img", aria_label=name)


class Map(NamedTuple):
    """The ground of ways: from x = y = 0 in the lower left corner to ``side``.

    Attributes:
      side: Length in units of places.
      corner: Place of the lower left corner.
      cells: Whether places are cells, of which a drawing shows the borders.
      walls: Cells that cannot be entered.
    """

    side: float
    corner: float
    cells: bool
    walls: Sequence[tuple[int, int]] = ()


def ways(
    name: str, ground: Map, marks: Mapping[str, np.ndarray], stages: Sequence[np.ndarray]
) -> Element:
    """Ways through a map, one after another darker, which the script of the page lets walk.

    Args:
      name: Of the task.
      ground: The map.
      marks: Places by name.
      stages: Ways ``[W, T + 1, 2]`` of each stage; all but the first are faint.
    """
    size = 200
    unit = size / ground.side

    def place(at, aside=0.0):
        x, y = (np.moveaxis(np.asarray(at, float), -1, 0) - ground.corner) * unit
        return x + aside, size - y + aside

    drawn = [tag("rect", width=size, height=size, class_="ground")]
    if ground.cells:
        for tick in np.arange(1, ground.side) * unit:
            drawn += [tag("line", x1=f"{tick:g}", x2=f"{tick:g}", y1=0, y2=size, class_="grid")]
            drawn += [tag("line", x1=0, x2=size, y1=f"{tick:g}", y2=f"{tick:g}", class_="grid")]
    for x, y in np.array(ground.walls).reshape(-1, 2):
        corner = {"x": f"{x * unit:g}", "y": f"{size - (y + 1) * unit:g}"}
        drawn += [tag("rect", **corner, width=f"{unit:g}", height=f"{unit:g}", class_="wall")]
    # Stages that take the same way through cells lie beside each other.
    apart = 0.12 * unit if ground.cells else 0.0
    for stage, episodes in enumerate(stages):
        aside = apart * (stage - (len(stages) - 1) / 2)
        class_ = _stage(stage, len(stages))
        for number, way in enumerate(episodes):
            x, y = place(way, aside)
            points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
            kind = f"{class_} single" if number else class_
            head = {"cx": f"{x[-1]:.1f}", "cy": f"{y[-1]:.1f}", "r": 1.5 if number else 4}
            drawn += [tag("polyline", points=points, class_=f"way {kind}")]
            drawn += [tag("circle", **head, class_=f"head {kind}")]
    for number, (label, at) in enumerate(marks.items()):
        x, y = place(at)
        radius = min(7, 0.42 * unit) if ground.cells else 6
        drawn += [
            tag(
                "circle",
                tag("title", label),
                cx=f"{x:.1f}",
                cy=f"{y:.1f}",
                r=f"{radius:.1f}",
                class_=f"mark m{number}",
            )
        ]
    return tag("figure", drawing(name, size, size, drawn), tag("figcaption", name))


def stages_legend(labels: Sequence[str], marks: Iterable[str]) -> Element:
    """The legend of ``ways``."""
    rows = [_swatch(f"way {_stage(at, len(labels))}", label) for at, label in enumerate(labels)]
    for number, label in enumerate(marks):
        spot = tag("circle", cx=8, cy=6, r=5, class_=f"mark m{number}")
        rows += [tag("li", tag("svg", spot, viewBox="0 0 16 12", aria_hidden="true"), label)]
    return tag("ul", *rows, class_="legend")


def pulls(name: str, means: np.ndarray, arms: np.ndarray, ends: Sequence[int]) -> Element:
    """The arms that were pulled, a row each, in the order of time.

    Args:
      name: Of the task.
      means: ``[A]``, expected reward of each arm.
      arms: ``[P]``, the arm of each pull.
      ends: Numbers of pulls after which the learner adapted.
    """
    left, width, row = 44, 376, 16
    height = row * len(means)
    step = width / len(arms)
    drawn = []
    for arm, mean in enumerate(means):
        best = mean == means.max()
        y = arm * row
        drawn += [_text(f"{mean:.2f}", left - 6, y + 12, "end", class_="best" if best else "")]
        drawn += [tag("rect", x=left, y=y + 1, width=width, height=row - 2, class_="ground")]
        for pull in np.flatnonzero(arms == arm):
            drawn += [
                tag(
                    "rect",
                    x=f"{left + pull * step:.2f}",
                    y=y + (1 if best else 4),
                    width=f"{0.9 * step:.2f}",
                    height=row - (2 if best else 8),
                    class_="pull best" if best else "pull",
                )
            ]
    for end in ends:
        x = f"{left + end * step:.2f}"
        drawn += [tag("line", x1=x, x2=x, y1=0, y2=height, class_="cut")]
    return tag("figure", drawing(name, left + width, height, drawn), tag("figcaption", name))


def _curve(line: Line, across, up) -> Element:
    every = max(1, -(-len(line.x) // _MOST_POINTS))
    x, y = line.x[::every], line.y[::every]
    group = tag("g", class_=f"c{line.colour} {line.kind}")
    if line.around is not None:
        ends = [end[::every] for end in line.around]
        there = np.isfinite(ends).all(axis=0)
        outline = [*zip(x[there], ends[0][there], strict=True)]
        outline += [*zip(x[there], ends[1][there], strict=True)][::-1]
        points = " ".join(f"{across(a):.1f},{up(b):.1f}" for a, b in outline)
        group.append(tag("polygon", points=points, class_="band"))
    path, pen = [], "M"
    for a, b in zip(x, y, strict=True):
        if np.isfinite(b):
            path.append(f"{pen}{across(a):.1f},{up(b):.1f}")
        pen = "L" if np.isfinite(b) else "M"
    group.append(tag("path", d="".join(path), class_="curve"))
    if len(x) <= 20:
        for a, b in zip(x, y, strict=True):
            if np.isfinite(b):
                group.append(tag("circle", cx=f"{across(a):.1f}", cy=f"{up(b):.1f}", r=3))
    return group


def _stage(number: int, count: int) -> str:
    """Class of a stage: the first, the last, and those between by their place."""
    if number == 0:
        return "first"
    return f"s{3 - min(2, count - 1 - number)}"


def _swatch(class_: str, label: str) -> Element:
    line = tag("path", d="M0,6L24,6", class_="curve")
    sample = tag("svg", tag("g", line, class_=class_), viewBox="0 0 24 12", aria_hidden="true")
    return tag("li", sample, label)


def _text(text: str, x: float, y: float, anchor: str = "middle", **more: str) -> Element:
    return tag("text", text, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor, **more)


def _tick(value: float) -> str:
    short = f"{value / 1000:,.6g}k" if abs(value) >= 10_000 else f"{value:,.6g}"
    return short.replace("-", "\N{MINUS SIGN}")


def _ticks(low: float, high: float, *, whole: bool = False) -> list[float]:
    from matplotlib.ticker import MaxNLocator

    found = MaxNLocator(5, integer=whole).tick_values(low, high)
    return [float(tick) for tick in found if low <= tick <= high]
