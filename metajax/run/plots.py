"""Pictures: how a policy adapts, how it learns, how fast it does. Drawn without a display."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from metajax.experiments.axes import AXES, score_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from metajax.core.algorithm import MetaAlgorithm
    from metajax.core.family import Key, TaskFamily, Tree
    from metajax.core.types import Chunk
    from metajax.evaluation import Evaluation
    from metajax.experiments.statistics import Estimate

# Okabe and Ito (2008): told apart with every common colour blindness.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = ("o", "s", "^", "D")
_GREY = "#8a8a8a"
_STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.labelsize": 11,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 11,
    "figure.titlesize": 12,
    "font.size": 10,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "savefig.dpi": 160,
}

Path = str | pathlib.Path
Metrics = Sequence[Mapping[str, Any]]


def adaptation_curve(path: Path, evaluations: Evaluation | Mapping[str, Evaluation]) -> None:
    """Draws the return after each adaptation, with the 95% interval over tasks.

    Of a continuing trial that of each episode, of a lifetime that over its transitions.

    Args:
      path: the picture, its format by its ending.
      evaluations: one, or several by the label of their line.
    """
    lines = evaluations if isinstance(evaluations, Mapping) else {"": evaluations}
    with _figure(path, (5.6, 3.8)) as figure:
        axes = figure.subplots()
        for number, (label, evaluation) in enumerate(lines.items()):
            steps = evaluation.positions
            colour = PALETTE[number % len(PALETTE)]
            low, high = evaluation.interval()
            axes.fill_between(steps, low, high, color=colour, alpha=0.2, linewidth=0)
            axes.plot(steps, evaluation.mean(), "o-", color=colour, markersize=5, label=label)
        axis, score = next((one.axis, one.score) for one in lines.values())
        if axis == "adaptations":
            most = max(evaluation.num_adaptations for evaluation in lines.values())
            axes.set_xticks(range(most + 1))
        axes.set_xlabel(AXES[axis].label)
        axes.set_ylabel(score_label(score))
        num_tasks = sorted({len(evaluation.returns) for evaluation in lines.values()})
        tasks = " / ".join(str(number) for number in num_tasks)
        axes.set_title(f"mean over {tasks} held-out tasks, 95% interval", loc="left", color="#444")
        if len(lines) > 1:
            axes.legend()


def trajectories(
    path: Path,
    algorithm: MetaAlgorithm,
    key: Key,
    theta: Tree,
    family: TaskFamily,
    num_adaptations: int | None,
    *,
    num_tasks: int = 6,
    num_episodes: int = 3,
) -> None:
    """Draws the way through the plane before and after each adaptation, tasks side by side.

    A line is the mean position over the E episodes of a chunk at each step, with some
    of them faintly behind it and a dot where it ends. Of a continuing trial each episode
    is a line, the mean over its E streams.

    Args:
      path: the picture.
      algorithm: whose learner adapts.
      key: of the tasks and their episodes.
      theta: meta-parameters.
      family: with ``spec.plane``, the goal of a task.
      num_adaptations: K; None as trained, and for continuing trials, which have none.
      num_tasks: pictures in the picture.
      num_episodes: drawn faintly, E at most.

    Raises:
      ValueError: if the tasks of the family are not in the plane.
    """
    import jax

    goal_of = family.spec.plane
    if goal_of is None:
        raise ValueError(f"family: {family.spec.name} has no spec.plane; its tasks have no map")

    def of_task(theta, key):
        key_task, key_trial = jax.random.split(key)
        task = family.sample(key_task)
        trial = algorithm.adapt(
            key_trial, theta, task, family=family, num_adaptations=num_adaptations
        )
        chunks = jax.tree.map(
            lambda early, last: jax.numpy.concatenate([early, last[None]]),
            _seen(trial.support),
            _seen(trial.query),
        )
        return goal_of(task), chunks, trial.returns

    run = jax.jit(lambda theta, keys: jax.lax.map(functools.partial(of_task, theta), keys))
    goals, (positions, masks, done, ends), returns = jax.device_get(
        run(theta, jax.random.split(key, num_tasks))
    )
    if algorithm.axis == "episodes":
        in_trial, length = returns.shape[1], family.spec.episode_length
        ways = _episode_ways(positions[:, 0], done[:, 0], masks[:, 0], in_trial, length)
    else:
        # [N, K + 1, T + 1, E, 2]; who has arrived stays where the episode ended.
        ends = ends[:, :, None]
        ways = np.concatenate([np.where(masks[..., None], positions, ends), ends], axis=2)
    _draw_trajectories(path, goals, ways, num_episodes, algorithm.axis)


def _seen(chunk: Chunk) -> tuple[Any, ...]:
    """Positions, mask, ends of episodes and last position of a chunk in the plane."""
    done = chunk.done
    return chunk.observation[..., :2], chunk.mask, done, chunk.last_observation[..., :2]


def _episode_ways(
    positions: np.ndarray, done: np.ndarray, masks: np.ndarray, num_episodes: int, length: int
) -> np.ndarray:
    """A continuing trial cut into its episodes.

    Args:
      positions: ``[N, T, E, 2]``.
      done: ``[N, T, E]``, whether a step was the last of its episode.
      masks: ``[N, T, E]``.
      num_episodes: of each trial.
      length: of the longest episode.

    Returns:
      ``[N, num_episodes, length, E, 2]``, where each action was taken; who has arrived
      stays where the last one was.
    """
    episode = np.where(masks, np.cumsum(done, axis=1) - done, -1)
    num_tasks, _, num_streams, _ = positions.shape
    ways = np.empty((num_tasks, num_episodes, length, num_streams, 2))
    for task, number, stream in np.ndindex(num_tasks, num_episodes, num_streams):
        way = positions[task, episode[task, :, stream] == number, stream]
        ways[task, number, :, stream] = way[np.minimum(np.arange(length), len(way) - 1)]
    return ways


def learning_curves(
    path: Path,
    runs: Mapping[str, Sequence[Metrics]],
    axis: str = "adaptations",
    score: str = "return",
) -> None:
    """Draws the training return over meta-iterations, the last (solid) and first of a trial.

    Args:
      path: the picture.
      runs: by label, for each seed the records of its run (with ``iteration`` and
        ``returns``, ``[K + 1]``). Several seeds are drawn as mean and range.
      axis: what the returns of a trial count, see ``Evaluation``.
      score: what they are, likewise.
    """
    words = AXES[axis]
    with _figure(path, (6.4, 4.0)) as figure:
        axes = figure.subplots()
        for number, (label, seeds) in enumerate(runs.items()):
            colour = PALETTE[number % len(PALETTE)]
            steps = np.array([one["iteration"] for one in min(seeds, key=len)])
            values = np.array([[one["returns"] for one in seed[: len(steps)]] for seed in seeds])
            after = _smooth(values[..., -1])
            name = f"{label}, {words.last}" if values.shape[-1] > 1 else label
            axes.plot(steps, after.mean(axis=0), color=colour, label=name)
            if len(seeds) > 1:
                low, high = after.min(axis=0), after.max(axis=0)
                axes.fill_between(steps, low, high, color=colour, alpha=0.2, linewidth=0)
            if values.shape[-1] > 1:
                before = _smooth(values[..., 0]).mean(axis=0)
                axes.plot(steps, before, color=colour, linewidth=1.2, linestyle=(0, (3, 2)))
        axes.set_xlabel("meta-iteration")
        axes.set_ylabel(f"{score_label(score)}, training tasks")
        if any(len(seed[0]["returns"]) > 1 for seeds in runs.values() for seed in seeds):
            axes.plot([], [], color=_GREY, linewidth=1.2, linestyle=(0, (3, 2)), label=words.first)
        figure.legend(loc="outside upper center", ncols=len(runs) + 1)


def schedules(path: Path, runs: Mapping[str, Sequence[Mapping[str, Sequence[Any]]]]) -> None:
    """Draws settings that were learned over meta-iterations, a panel each.

    Args:
      path: the picture.
      runs: by label, for each seed ``iteration`` and the settings by name, a number or an
        array at each iteration. Several seeds are drawn as mean and range, the elements of
        an array as lines.
    """
    from matplotlib.lines import Line2D

    learned = (name for seeds in runs.values() for name in seeds[0] if name != "iteration")
    names = list(dict.fromkeys(learned))
    num_columns = min(3, len(names))
    num_rows = -(-len(names) // num_columns)
    with _figure(path, (3.1 * num_columns + 0.3, 2.3 * num_rows + 0.6)) as figure:
        panels = figure.subplots(num_rows, num_columns, squeeze=False)
        for name, axes in zip(names, panels.flat, strict=False):
            for number, seeds in enumerate(runs.values()):
                if name in seeds[0]:
                    _draw_schedule(axes, name, seeds, PALETTE[number % len(PALETTE)])
            axes.set_title(name.replace("_", " "))
        for axes in list(panels.flat)[len(names) :]:
            axes.set_axis_off()
        figure.supxlabel("meta-iteration", fontsize=11)
        handles = [
            Line2D([], [], color=PALETTE[number % len(PALETTE)], label=label)
            for number, label in enumerate(runs)
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=min(len(runs), 3))


def _draw_schedule(
    axes: Axes, name: str, seeds: Sequence[Mapping[str, Sequence[Any]]], colour: str
) -> None:
    """One setting of one method in one panel."""
    steps = min((one["iteration"] for one in seeds), key=len)
    values = np.array([[np.ravel(now) for now in one[name][: len(steps)]] for one in seeds])
    axes.plot(steps, values.mean(axis=0), color=colour, linewidth=1.5)
    if len(seeds) > 1:
        for low, high in zip(values.min(axis=0).T, values.max(axis=0).T, strict=True):
            axes.fill_between(steps, low, high, color=colour, alpha=0.2, linewidth=0)
    if values.min() > 0 and values.max() > 10 * values.min():
        axes.set_yscale("log")
        axes.yaxis.set_minor_formatter("")
    axes.xaxis.set_major_formatter(_short_number)
    axes.locator_params(axis="x", nbins=4)


def lifetime_curves(
    path: Path,
    lines: Mapping[str, tuple[np.ndarray, Sequence[Estimate]]],
    threshold: float,
    title: str,
) -> None:
    """Draws the return over the environment steps that a learner has had in its task.

    Args:
      path: the picture.
      lines: by label, ``[P + 1]`` steps and the return at each with its interval.
      threshold: a return, drawn across.
      title: above it.
    """
    with _figure(path, (6.4, 3.6 + 0.2 * math.ceil(len(lines) / 2))) as figure:
        axes = figure.subplots()
        for number, (label, (steps, values)) in enumerate(lines.items()):
            # The colours of the palette again, with another mark.
            turn, colour = divmod(number, len(PALETTE))
            style: dict[str, Any] = {"color": PALETTE[colour]}
            style["marker"] = _MARKERS[turn % len(_MARKERS)]
            low, high = [one.low for one in values], [one.high for one in values]
            axes.fill_between(steps, low, high, color=style["color"], alpha=0.2, linewidth=0)
            middle = [one.value for one in values]
            axes.plot(steps, middle, "-", markersize=4, label=label, **style)
        axes.axhline(threshold, color=_GREY, linewidth=1, linestyle=(0, (3, 2)))
        axes.set_xlabel(AXES["points"].label)
        axes.xaxis.set_major_formatter(_short_number)
        axes.set_ylabel("return (undiscounted), interquartile mean")
        figure.legend(loc="outside upper center", ncols=2, title=title)


def throughput(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Draws speed and memory over the number of tasks, one line a setting and device.

    Args:
      path: the picture.
      records: of ``metajax.experiments.throughput``.
    """
    lines: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        lines.setdefault(_line_label(record), []).append(record)
    with _figure(path, (9.6, 3.8)) as figure:
        speed, memory = figure.subplots(1, 2)
        for number, (label, line) in enumerate(lines.items()):
            line = sorted(line, key=lambda record: record["setting"]["num-tasks"])
            tasks = [record["setting"]["num-tasks"] for record in line]
            colour = PALETTE[number % len(PALETTE)]
            rates = [record["env_steps_per_second"] for record in line]
            speed.plot(tasks, rates, "o-", color=colour, markersize=5, label=label)
            low = [record["env_steps_per_second_min"] for record in line]
            high = [record["env_steps_per_second_max"] for record in line]
            speed.fill_between(tasks, low, high, color=colour, alpha=0.2, linewidth=0)
            peaks = [record["peak_memory_bytes"] / 2**30 for record in line]
            memory.plot(tasks, peaks, "o-", color=colour, markersize=5, label=label)
        speed.set_ylabel("environment steps per second")
        memory.set_ylabel("peak memory (GiB)")
        ticks = sorted({record["setting"]["num-tasks"] for record in records})
        for axes in (speed, memory):
            _task_axis(axes, ticks)
        speed.yaxis.set_major_formatter(_short_number)
        if len(lines) > 1:
            handles, labels = speed.get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside upper center", ncols=min(len(lines), 3))


def _draw_trajectories(
    path: Path, goals: np.ndarray, ways: np.ndarray, num_episodes: int, axis: str
) -> None:
    """``goals`` is ``[N, 2]``, ``ways`` is ``[N, K + 1, T + 1, E, 2]``, K + 1 along the axis."""
    from matplotlib.lines import Line2D

    num_tasks, num_lines = ways.shape[:2]
    num_columns = min(3, num_tasks)
    num_rows = -(-num_tasks // num_columns)
    means = ways.mean(axis=3)
    # Where a first policy strays far away, the way of the later ones matters more.
    farthest = np.abs(goals).max()
    limit = 1.15 * max(min(np.abs(means).max(), 2 * farthest), farthest)
    colours = _line_colours(num_lines, axis)
    size = (2.5 * num_columns + 0.3, 2.5 * num_rows + 0.7)
    with _figure(path, size) as figure:
        grid = figure.subplots(num_rows, num_columns, sharex=True, sharey=True, squeeze=False)
        for axes, goal, way, mean in zip(grid.flat, goals, ways, means, strict=False):
            for step, colour in enumerate(colours):
                axes.plot(*way[step, :, :num_episodes].T, color=colour, linewidth=0.5, alpha=0.25)
            for step, colour in enumerate(colours):
                axes.plot(*mean[step].T, color=colour, linewidth=2)
                axes.plot(*mean[step, -1], "o", color=colour, markeredgecolor="white", markersize=6)
            axes.plot(*goal, "*", color=PALETTE[1], markersize=13, markeredgecolor="white")
            axes.plot(*mean[0, 0], "s", color="black", markersize=5)
            axes.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
            axes.locator_params(nbins=4)
        for axes in list(grid.flat)[num_tasks:]:
            axes.set_axis_off()
        handles = [
            Line2D([], [], color=colour, label=_line_name(step, axis))
            for step, colour in enumerate(colours)
        ]
        mark = {"linestyle": "", "marker": "s", "color": "black", "markersize": 5}
        handles.append(Line2D([], [], label="start", **mark))
        mark.update(marker="*", color=PALETTE[1], markersize=12, markeredgecolor="white")
        handles.append(Line2D([], [], label="goal", **mark))
        of_what = "trials side by side" if axis == "episodes" else "episodes"
        title = f"mean of {ways.shape[3]} {of_what} up to the dot; faint: single ones"
        if ways.shape[3] == 1:
            title = "each way up to the dot"
        ncols = min(len(handles), 6)
        figure.legend(handles=handles, loc="outside upper center", ncols=ncols, title=title)
        figure.supxlabel("x position", fontsize=11)
        figure.supylabel("y position", fontsize=11)


def _line_name(number: int, axis: str) -> str:
    if axis == "episodes":
        return f"episode {number + 1}"
    return "before" if number == 0 else f"{number} step{'s' if number > 1 else ''}"


def _line_colours(number: int, axis: str) -> list[Any]:
    """Lighter to darker blue; before adaptation grey."""
    from matplotlib import colormaps

    first = [] if axis == "episodes" else ["#b5b5b5"]
    rest = number - len(first)
    return [*first, *colormaps["Blues"](np.linspace(0.5, 1.0, max(rest, 1)))][:number]


def _smooth(values: np.ndarray) -> np.ndarray:
    """Running mean along the last axis over about a fortieth of it."""
    width = max(1, values.shape[-1] // 40)
    sums = np.cumsum(np.pad(values, [(0, 0)] * (values.ndim - 1) + [(1, 0)]), axis=-1)
    index = np.arange(1, values.shape[-1] + 1)
    start = np.maximum(index - width, 0)
    return (sums[..., index] - sums[..., start]) / (index - start)


def _line_label(record: Mapping[str, Any]) -> str:
    setting, device = record["setting"], record["environment"]
    count = device["num_devices"]
    where = device["device"] if count == 1 else f"{count} x {device['device']}"
    if device["backend"] == "cpu":
        where = f"{device['num_cores']} CPU cores"
    outer = setting.get("outer", "policy-gradient")
    name = setting["name"] if outer == "policy-gradient" else f"{setting['name']} ({outer})"
    return f"{name}, {where}"


def _task_axis(axes: Axes, ticks: Sequence[int]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("tasks in a meta-batch")
    axes.set_ylim(bottom=0)


def _short_number(value: float, _: Any) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


@contextlib.contextmanager
def _figure(path: Path, size: tuple[float, float]) -> Iterator[Figure]:
    """A figure that is written to ``path`` at the end, all of it or nothing."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    path = pathlib.Path(path)
    with rc_context(_STYLE):
        # Without pyplot there is no global state and no display to look for.
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix or '.png'}")
        try:
            figure.savefig(unfinished)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
