"""Reports of runs: one HTML page with what their files hold and how their policies act."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from metajax.core.algorithm import MetaAlgorithm
from metajax.core.axes import AXES, score_label
from metajax.core.family import TaskFamily, Tree
from metajax.core.quantities import count, duration
from metajax.run import checkpoints, curves, loop, machine, meta_test, records, svg, trajectories
from metajax.run.config import Config, toml_value
from metajax.run.console import command
from metajax.run.groups import Run, grouped
from metajax.run.html import Element, folded, page, table, tag
from metajax.run.numbers import flat
from metajax.run.references import references
from metajax.run.svg import Line

_HERE = pathlib.Path(__file__).parent
_NUM_TASKS, _NUM_STAGES, _NUM_SINGLE, _NUM_PULLS = 4, 4, 2, 300
_NO_METRICS = {"iteration", "env_steps", "seconds", "run"}


class Group(NamedTuple):
    """Runs that differ in nothing but their seeds.

    Attributes:
      label: Name in legends.
      colour: Number of its colour.
      runs: The runs.
      algorithm, held_out: Result of ``config.build()``.
    """

    label: str
    colour: int
    runs: Sequence[Run]
    algorithm: MetaAlgorithm
    held_out: Any

    @property
    def kind(self) -> tuple[str, str, str]:
        """What must be equal to share a picture: family, axis and score."""
        return self.held_out.spec.name, self.algorithm.axis, self.held_out.spec.score


def render(runs: Sequence[Run]) -> bytes:
    """The page of some runs; acts with their checkpoints.

    Raises:
      CheckpointError: If a checkpoint is damaged.
      Unreadable: If a file holds something of another shape.
    """
    groups = [
        Group(label, number % svg.NUM_COLOURS, every, *every[0].config.build())
        for number, (label, every) in enumerate(grouped(runs).items())
    ]
    title = ", ".join(dict.fromkeys(run.config.algorithm.name for run in runs))
    families = ", ".join(dict.fromkeys(group.held_out.spec.name for group in groups))
    sections = {
        "Overview": [_overview(runs)],
        "Adaptation to held-out tasks": _adaptation(groups),
        "Sample tasks": [part for group in groups for part in _samples(group)],
        "Training": _training(groups),
        "Settings": [_settings(runs), _environment(runs)],
    }
    body = (tag("section", tag("h2", name), *parts) for name, parts in sections.items() if parts)
    style, script = ((_HERE / f"report.{one}").read_text("utf-8") for one in ("css", "js"))
    heading = tag("h1", title, tag("span", f" on {families}", class_="unit"))
    return page(f"{title} on {families}", style, script, tag("main", heading, *body))


def _overview(runs: Sequence[Run]) -> Element:
    def column(run: Run) -> dict[str, str]:
        config, last = run.config, run.metrics[-1] if run.metrics else {}
        found = {
            "algorithm": config.algorithm.name,
            "family": config.held_out.name,
            "seed": str(config.train.seed),
            "meta-iterations": f"{last.get('iteration', 0):,} of {config.train.num_iterations:,}",
        }
        with records.shaped(run.directory.metrics):
            rates = _rates(run)[1]
            if rates.size:
                found["env steps"] = count(last["env_steps"])
                found["time"] = duration(last["seconds"])
                found["env steps/s, median"] = f"{np.median(rates):,.0f}"
        if run.measured is not None:
            one = run.measured.evaluation
            mean = curves.value(float(one.mean()[-1]))
            found[f"{one.score} of the meta-test"] = f"{mean}, {AXES[one.axis].last}"
            found["held-out tasks"] = f"{len(one.returns):,}"
            found["on"] = machine.place(run.measured.environment)
        return found

    names = ["", *(run.name for run in runs)]
    return tag("div", table("Runs", names, _beside([*map(column, runs)])), *_warnings(runs))


def _warnings(runs: Sequence[Run]) -> Iterator[Element]:
    for run in runs:
        if run.measured is None:
            text = "no meta-test yet; measure it: "
            yield _note(f"{run.name}: {text}", command("evaluate", run.name))
        if number := run.directory.num_damaged():
            yield _note(f"{run.name}: {number} damaged lines of metrics.jsonl are left out.")


def _note(text: str, code: str = "") -> Element:
    return tag("p", text, tag("code", code) if code else None, class_="note")


def _adaptation(groups: Sequence[Group]) -> list[Element]:
    parts = []
    for (family, axis, score), members in _by_kind(groups).items():
        lines, others, known = [], [], {}
        rows: dict[str, dict[float, str]] = {}
        for group in members:
            measured = [run.measured for run in group.runs if run.measured is not None]
            if not measured:
                continue
            prefix = f"{group.label}, " if len(members) > 1 else ""
            for dashed, tests in enumerate(
                zip(*((m.evaluation, m.baseline) for m in measured), strict=True)
            ):
                name = f"{prefix}random initialisation" if dashed else group.label
                mean, around = _mean_and_interval(tests)
                x = np.asarray(tests[0].positions, float)
                kind = "dashed" if dashed else "solid"
                (others if dashed else lines).append(
                    Line(name, x, mean, around, group.colour, kind)
                )
                cells = zip(mean, *around, strict=True)
                rows[name] = {
                    at: f"{curves.value(m)} ({curves.value(low)} to {curves.value(high)})"
                    if np.isfinite(low)
                    else curves.value(m)
                    for at, (m, low, high) in zip(x.tolist(), cells, strict=True)
                }
            key = meta_test.evaluation_key(measured[0].config)
            found = references(measured[0].config, group.algorithm, group.held_out, key)
            for name, value in found.items():
                same = np.isclose(known.get(name, value), value, rtol=1e-3)
                known[name if same else f"{name}, {group.label}"] = value
        if not lines:
            continue
        number = max(len(group.runs) for group in members)
        spread = "range over seeds" if number > 1 else "95% interval over tasks"
        title = f"{family}: mean and {spread}"
        more: dict[str, Any] = {"others": others, "references": known}
        more["values"] = len(lines) == 1
        chart = svg.chart(title, lines, AXES[axis].label, score_label(score), **more)
        shown = [*dict.fromkeys(at for row in rows.values() for at in row)]
        shown = [shown[at] for at in _some(len(shown), 8)]
        body = [[f"{at:,.0f}", *(row.get(at, "–") for row in rows.values())] for at in shown]
        numbers = table(f"Mean ({spread})", [AXES[axis].unit, *rows], body)
        parts.append(tag("div", chart, numbers, class_="charts"))
    return parts


def _mean_and_interval(tests: Sequence[Any]) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Mean of meta-tests, and around it the range over seeds, of one the interval over tasks."""
    if len(tests) == 1:
        low, high = tests[0].interval()
        return tests[0].mean(), (low, high)
    means = np.array([one.mean() for one in tests])
    return means.mean(axis=0), (means.min(axis=0), means.max(axis=0))


def _samples(group: Group) -> list[Element]:
    """Ways, pulls or returns in single held-out tasks."""
    run = group.runs[0]
    family, measured = group.held_out, run.measured
    title = tag("h3", group.label)
    spec: Any = family.spec
    if isinstance(family, TaskFamily) and (spec.plane or spec.grid or spec.arms):
        kept = checkpoints.iterations(run.directory.checkpoints)
        if not kept:
            return [title, _note(f"{run.name} has no checkpoint, whose policy could act here.")]
        chosen = measured.checkpoint if measured and measured.checkpoint in kept else kept[-1]
        state = loop.restore_state(run.directory, group.algorithm, chosen, run.config)
        theta = group.algorithm.deploy(state)
        about = tag("p", f"{run.name}, checkpoint of iteration {chosen:,}.", class_="note")
        drawn = _pulls if spec.arms else _ways
        return [title, about, *drawn(group, theta, run.config)]
    if measured is None or len(measured.evaluation.returns) < 2:
        return []
    one = measured.evaluation
    x = np.asarray(one.positions, float)
    lines = [Line("", x, task, None, group.colour, "faint") for task in one.returns[:30]]
    name = f"{family.spec.name}: {len(lines)} single held-out tasks"
    return [title, svg.chart(name, lines, AXES[one.axis].label, score_label(one.score))]


def _trials(group: Group, config: Config) -> tuple[jax.Array, int | None]:
    """Key and number of adaptations of sample trials: the tasks of the pictures of the run."""
    key = jax.random.fold_in(meta_test.evaluation_key(config), 1)
    number = None if group.algorithm.axis == "episodes" else config.evaluate.num_adaptations
    return key, number


def _ways(group: Group, theta: Tree, config: Config) -> Iterator[Element]:
    family, axis = group.held_out, group.algorithm.axis
    key, number = _trials(group, config)
    found = trajectories.record(group.algorithm, key, theta, family, number, _NUM_TASKS)
    chosen = _some(found.places.shape[1], _NUM_STAGES)
    places = np.moveaxis(found.places[:, chosen], 3, 2)  # [N, S, E, T + 1, 2]
    if family.spec.plane is None:  # between cells there is nobody
        places = places[:, :, :1]
    else:
        mean = places.mean(axis=2, keepdims=True)
        places = np.concatenate([mean, places[:, :, :_NUM_SINGLE]], axis=2)
    ground = _ground(family.spec, found)
    last = places.shape[3] - 1
    drawn = [
        svg.ways(
            f"task {task + 1}",
            ground,
            {name: at[task] for name, at in found.marks.items()},
            places[task],
        )
        for task in range(len(places))
    ]
    controls = tag(
        "div",
        tag("button", "Play", type="button"),
        tag("input", type="range", min=0, max=last, value=last, aria_label="step of the episode"),
        tag("output", f"step {last}"),
        class_="controls",
    )
    labels = [_stage(axis, at) for at in chosen]
    num_episodes = found.places.shape[3]
    if family.spec.plane is not None and num_episodes > 1:
        yield _note(f"The mean way of {num_episodes} episodes; faint: single ones.")
    yield tag(
        "div",
        svg.stages_legend(labels, found.marks),
        controls,
        tag("div", *drawn, class_="tasks"),
        class_="film",
    )


def _ground(spec: Any, ways: trajectories.Ways) -> svg.Map:
    if spec.plane is None:
        return svg.Map(spec.grid.size, -0.5, cells=True, walls=spec.grid.walls)
    # Where a first policy strays far away, the ways of the later ones matter more.
    farthest = max(np.abs(at).max() for at in ways.marks.values())
    half = 1.2 * max(min(float(np.abs(ways.places).max()), 1.3 * farthest), farthest)
    return svg.Map(2 * half, -half, cells=False)


def _stage(axis: str, number: int) -> str:
    """Name of the stage of a trial in whose episodes a policy is seen."""
    if axis == "episodes":
        return f"episode {number + 1}"
    if axis == "points":
        return AXES[axis].last if number else AXES[axis].first
    plural = "s" if number > 1 else ""
    return f"after {number} adaptation{plural}" if number else AXES[axis].first


def _pulls(group: Group, theta: Tree, config: Config) -> Iterator[Element]:
    family, axis = group.held_out, group.algorithm.axis
    key, number = _trials(group, config)

    def show(task, chunks):
        return family.spec.arms(task), chunks.action

    means, actions = trajectories.sample_trials(
        group.algorithm, key, theta, family, number, _NUM_TASKS, show
    )  # [N, A], [N, S, T, E]
    text = "Pulls in the order of time, of each arm with its expected reward; the best is blue."
    if axis == "episodes":
        actions, ends = actions[:, 0, :, 0], ()
    else:
        chunk = actions[0, 0].size
        actions = np.swapaxes(actions, 2, 3).reshape(_NUM_TASKS, -1)
        ends = range(chunk, min(actions.shape[1], _NUM_PULLS), chunk)
        text += " The learner adapted at each upright line."
    yield tag("p", text, class_="note")
    drawn = (
        svg.pulls(f"task {task + 1}", means[task], actions[task, :_NUM_PULLS], ends)
        for task in range(_NUM_TASKS)
    )
    yield tag("div", *drawn, class_="charts")


def _training(groups: Sequence[Group]) -> list[Element]:
    parts = []
    for (family, axis, score), members in _by_kind(groups).items():
        words, lines = AXES[axis], []
        for group in members:
            steps, values = _over_seeds(group, lambda one: one.get("returns"))
            if not steps.size:
                continue
            several = values.shape[-1] > 1
            last = f"{group.label}, {words.last}" if several else group.label
            lines.append(_mean_line(last, steps, values[..., -1], group.colour))
            if several:
                first = values[..., 0].mean(axis=0)
                name = f"{group.label}, {words.first}"
                lines.append(Line(name, steps, first, None, group.colour, "dashed"))
        if lines:
            label = f"{score_label(score)}, training tasks"
            parts.append(svg.chart(f"{family}: {score}", lines, "meta-iteration", label))
    rates = [
        Line("" if number else group.label, x, curves.smooth(y), None, group.colour)
        for group in groups
        for number, (x, y) in enumerate(map(_rates, group.runs))
        if x.size
    ]
    if rates:
        parts.append(svg.chart("Throughput", rates, "meta-iteration", "env steps/s"))
    names = dict.fromkeys(
        name
        for group in groups
        for run in group.runs
        for one in run.metrics[-1:]
        for name, value in flat(one).items()
        if isinstance(value, int | float) and not name.startswith("returns")
    )
    others = []
    for name in [name for name in names if name not in _NO_METRICS]:
        lines = []
        for group in groups:
            steps, values = _over_seeds(group, lambda one, name=name: flat(one).get(name))
            if steps.size:
                lines.append(_mean_line(group.label, steps, values, group.colour))
        others.append(svg.chart(name, lines, "meta-iteration", name))
    shown = [tag("div", *parts, class_="charts")]
    if others:
        shown.append(folded("Other metrics", tag("div", *others, class_="charts")))
    return shown if parts or others else []


def _mean_line(label: str, steps: np.ndarray, values: np.ndarray, colour: int) -> Line:
    """The mean over seeds ``[seeds, n]``, and their range where there are several."""
    around = (values.min(axis=0), values.max(axis=0)) if len(values) > 1 else None
    return Line(label, steps, values.mean(axis=0), around, colour)


def _over_seeds(group: Group, of: Callable[[dict[str, Any]], Any]) -> tuple[np.ndarray, np.ndarray]:
    """Iterations ``[n]`` that all seeds have reached, and smooth values ``[seeds, n, ...]``."""
    found = []
    for run in group.runs:
        with records.shaped(run.directory.metrics):
            some = [(one["iteration"], of(one)) for one in run.metrics]
            some = [(at, value) for at, value in some if value is not None and value != []]
            steps = np.array([at for at, _ in some], float)
            values = np.array([value for _, value in some], float)
            found.append((steps, np.moveaxis(curves.smooth(np.moveaxis(values, 0, -1)), -1, 0)))
    length = min(len(steps) for steps, _ in found)
    with records.shaped(group.runs[0].directory.metrics):
        return found[0][0][:length], np.array([values[:length] for _, values in found])


def _rates(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Iterations and environment steps a second in each."""
    rows = [
        (one["iteration"], one.get("env_steps", 0), one.get("seconds", 0)) for one in run.metrics
    ]
    steps, total, seconds = np.array(rows, float).reshape(-1, 3).T
    spent = np.diff(seconds, prepend=0)
    there = spent > 0
    return steps[there], (np.diff(total, prepend=0)[there] / spent[there])


def _settings(runs: Sequence[Run]) -> Element:
    """All settings, a column for each run; above them those in which the runs differ."""
    rows = _beside(
        [
            {
                f"{section}.{name}": toml_value(value)
                for section, options in run.config.to_dict().items()
                for name, value in options.items()
            }
            for run in runs
        ]
    )
    names = ["setting", *(run.name for run in runs)]
    parts = [folded("Config", table("Settings", names, rows))]
    differing = [row for row in rows if len(set(row[1:])) > 1]
    if differing:
        parts.insert(0, table("Settings that differ", names, differing))
    return tag("div", *parts)


def _environment(runs: Sequence[Run]) -> Element:
    rows = _beside(
        [
            {}
            if run.measured is None
            else {
                **{
                    name: str(value)
                    for name, value in run.measured.environment.items()
                    if name != "versions"
                },
                **{
                    name: str(value)
                    for name, value in _mapping(run.measured.environment.get("versions")).items()
                },
            }
            for run in runs
        ]
    )
    names = ["", *(run.name for run in runs)]
    return folded("Environment of the meta-test", table("Environment", names, rows))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _beside(columns: Sequence[Mapping[str, str]]) -> list[list[str]]:
    """Rows of a table whose columns are mappings."""
    names = dict.fromkeys(name for column in columns for name in column)
    return [[name, *(column.get(name, "–") for column in columns)] for name in names]


def _by_kind(groups: Sequence[Group]) -> dict[tuple[str, str, str], list[Group]]:
    found: dict[tuple[str, str, str], list[Group]] = {}
    for group in groups:
        found.setdefault(group.kind, []).append(group)
    return found


def _some(number: int, most: int) -> list[int]:
    """Indices of at most so many things, the first and the last among them."""
    return np.linspace(0, number - 1, min(number, most)).round().astype(int).tolist()
