"""Pictures are written, whole, and without touching a display or global state."""

from __future__ import annotations

import contextlib
import sys

import jax
import numpy as np
import pytest
from matplotlib.figure import Figure

import metajax
from metajax.evaluation import Evaluation
from metajax.experiments import pictures
from metajax.experiments.learning_curves import Curves
from metajax.experiments.table_results import Line
from metajax.run import plots, trajectories

PNG = b"\x89PNG\r\n\x1a\n"


def _evaluation(shift: float = 0.0) -> Evaluation:
    rng = np.random.default_rng(0)
    returns = rng.normal([-40 + shift, -12, -9], 3, (50, 3)).astype(np.float32)
    return Evaluation(returns, axis="adaptations", explore=True, env_steps=1)


def _lifetime() -> Evaluation:
    return _evaluation()._replace(axis="points", steps=np.array([0, 500, 1000]))


def _curve() -> Curves:
    return Curves(np.array([0, 500]), np.array([[[1.0, 8.0], [0.5, 7.0], [2.0, 9.0]]]))


def _throughput(num_tasks: int, outer: str) -> dict:
    return {
        "setting": {"name": "maml", "num-tasks": num_tasks, "outer": outer},
        "environment": {"device": "x", "backend": "cpu", "num_devices": 2, "num_cores": 2},
        "env_steps_per_second": 7e5,
        "env_steps_per_second_min": 6e5,
        "env_steps_per_second_max": 8e5,
        "peak_memory_bytes": 5e8,
    }


def _trained(num_iterations: int, axis: str = "adaptations", length: int = 2) -> dict:
    first = -40 + 0.1 * np.arange(num_iterations)
    returns = first[:, np.newaxis] + 20 * np.arange(length)
    steps = list(range(1, num_iterations + 1))
    return {"iteration": steps, "returns": returns.tolist(), "axis": axis, "score": "return"}


def _schedules(num_iterations: int) -> dict[str, list]:
    """Of a rate that grows a hundredfold, and a discount of each of two states."""
    steps = list(range(1, num_iterations + 1))
    rates = np.geomspace(1e-4, 1e-2, num_iterations).tolist()
    return {"iteration": steps, "rate": rates, "discount": [[0.9, 0.5 / i] for i in steps]}


_LATER = {"iteration": [5, 6], "rate": [0.1, 0.2], "width": [16, 64], "depth": [1, 2]}


@pytest.mark.parametrize(
    "draw",
    [
        lambda path: plots.adaptation_curve(path, {"a": _evaluation()}),
        lambda path: plots.adaptation_curve(path, {"a": _evaluation(), "b": _evaluation(5)}),
        lambda path: plots.adaptation_curve(path, {"": _lifetime()}, _lifetime(), {"oracle": 0.0}),
        lambda path: pictures.lifetime_curves(path, {"a": _curve(), "b": _curve()}, 5.0, "title"),
        lambda path: plots.training_curves(path, {"a": [_trained(60), _trained(50)]}),
        lambda path: plots.training_curves(path, {"a": [_trained(1)], "b": [_trained(1)]}),
        lambda path: plots.schedules(path, {"a": [_schedules(3), _schedules(2)], "b": [_LATER]}),
        lambda path: pictures.throughput(path, [_throughput(40, "trpo"), _throughput(64, "trpo")]),
        lambda path: pictures.throughput(path, [_throughput(40, "ppo"), _throughput(40, "trpo")]),
    ],
)
def test_pictures_are_written(tmp_path, draw):
    path = tmp_path / "new" / "picture.png"
    draw(path)
    assert path.read_bytes().startswith(PNG)
    assert [one.name for one in path.parent.iterdir()] == ["picture.png"]
    assert (
        "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
    )


def test_a_curve_that_leaves_the_picture_is_said(tmp_path, monkeypatch):
    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    far = _evaluation()._replace(returns=np.full((2, 3), [-45, -283, -140], np.float32))
    with contextlib.suppress(FileNotFoundError):
        known = {"oracle": -1.0, "random actions": -59.0}
        plots.adaptation_curve(tmp_path / "a.png", {"maml": _evaluation()}, far, known, "family")
    (axes,), (legend,) = drawn[0].axes, drawn[0].legends
    texts = [text.get_text() for text in axes.texts]
    assert texts[3:] == ["−45.0", "−283 ↓", "−140 ↓"]
    assert axes.get_ylim()[0] > -70
    assert [one.get_text() for one in legend.texts] == [
        "oracle: −1.00",
        "random actions: −59.0",
        "maml",
        "random initialisation",
    ]
    assert legend.get_title().get_text().startswith("family: mean over 50 held-out tasks")


def test_trajectories_in_the_plane(tmp_path):
    family = metajax.tasks.make("point-navigation", episode_length=5)
    maml = metajax.make("maml", family, num_tasks=2, num_streams=3, hidden_sizes=(8,))
    theta = maml.init(jax.random.key(0)).theta
    path = tmp_path / "trajectories.png"
    trajectories.draw(path, maml, jax.random.key(1), theta, family, 2, num_tasks=4)
    assert path.read_bytes().startswith(PNG)


@pytest.mark.parametrize("num_streams", [1, 2])
def test_trajectories_of_a_continuing_trial_are_its_episodes(tmp_path, monkeypatch, num_streams):
    family = metajax.tasks.make("sparse-point-robot", episode_length=4)
    options = {"num_tasks": 4, "num_episodes": 3, "num_streams": num_streams, "hidden_size": 4}
    rl2 = metajax.make("rl2", family, **options)
    theta = rl2.init(jax.random.key(0)).theta
    drawn, draw = [], trajectories._draw_trajectories
    monkeypatch.setattr(trajectories, "_draw_trajectories", lambda *a: (drawn.append(a), draw(*a)))
    path = tmp_path / "trajectories.png"
    trajectories.draw(path, rl2, jax.random.key(1), theta, family, None, num_tasks=2)
    assert path.read_bytes().startswith(PNG)
    ways = drawn[0][2]
    assert ways.shape == (2, 3, 5, num_streams, 2)
    np.testing.assert_array_equal(ways[:, :, 0], 0)  # every episode starts at the origin
    assert (np.abs(ways[:, :, 1]).max(axis=-1) > 0).all()


def test_ways_of_episodes_by_hand():
    places = np.arange(6.0)[None, :, None, None] * np.ones(2)
    done = np.array([0, 1, 0, 0, 1, 0], bool)[None, :, None]
    mask = np.array([1, 1, 1, 1, 1, 0], bool)[None, :, None]
    ways = trajectories._episode_ways(places, places + 0.5, done, mask, 2, 3)
    np.testing.assert_array_equal(ways[0, :, :, 0, 0], [[0, 1, 1.5, 1.5], [2, 3, 4, 4.5]])


def test_training_curves_are_called_by_what_returns_count(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    labels = []
    legend = Figure.legend

    def remember(self, **more):
        labels.append(self.axes[0].get_legend_handles_labels()[1])
        return legend(self, **more)

    monkeypatch.setattr(Figure, "legend", remember)
    path = tmp_path / "training.png"
    for axis, length in (("adaptations", 2), ("episodes", 3), ("points", 2), ("points", 1)):
        plots.training_curves(path, {"a": [_trained(2, axis, length)]})
    plots.training_curves(path, {"a": [_trained(2)], "b": [_trained(2)]})
    assert labels == [
        ["a, after adaptation", "before adaptation"],
        ["a, last episode", "first episode"],
        ["a, end of the lifetime", "start of the lifetime"],
        ["a"],
        ["a", "b", "before adaptation"],
    ]


def test_a_picture_of_schedules_has_a_panel_for_each_setting(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    with contextlib.suppress(FileNotFoundError):
        plots.schedules(tmp_path / "a.png", {"a": [_schedules(3), _schedules(2)], "b": [_LATER]})
    (figure,) = drawn
    rate, discount, width, depth = [axes for axes in figure.axes if axes.axison]
    titles = [axes.get_title() for axes in (rate, discount, width, depth)]
    assert titles == ["rate", "discount", "width", "depth"]
    assert (rate.get_yscale(), discount.get_yscale()) == ("log", "linear")
    steps = [np.asarray(line.get_xdata()).tolist() for line in rate.lines]
    assert steps == [[1, 2], [5, 6]]
    np.testing.assert_allclose(np.asarray(discount.lines[1].get_ydata()), [0.5, 0.25])
    assert np.asarray(width.lines[0].get_ydata()).tolist() == [16, 64]


def test_trajectories_need_a_plane(tmp_path):
    family = metajax.tasks.make("cartpole")
    maml = metajax.make("maml", family, num_tasks=2, num_streams=2, hidden_sizes=(8,))
    with pytest.raises(ValueError, match=r"cartpole has no spec\.plane"):
        trajectories.draw(tmp_path / "x.png", maml, jax.random.key(1), None, family, 1)


_LONG = (
    "Few-shot imitation in the plane with one, two or three demonstrations of an oracle (A paper)"
)
_FOUR = [f"a method with quite a long name, number {number}" for number in range(4)]


@pytest.mark.parametrize(
    "draw",
    [
        lambda path: plots.training_curves(path, {name: [_trained(9)] for name in _FOUR}),
        lambda path: plots.schedules(path, {name: [_schedules(3)] for name in _FOUR}),
        lambda path: pictures.lifetime_curves(path, dict.fromkeys(_FOUR, _curve()), 5.0, _LONG),
        lambda path: pictures.estimates(
            path, _LONG, ["column"], [Line(name, "measured", [None]) for name in _FOUR * 3]
        ),
    ],
)
def test_legends_and_titles_are_whole(tmp_path, monkeypatch, draw):
    drawn = []

    def lay_out(whole, file, **options):
        whole.draw_without_rendering()
        drawn.append(whole)

    monkeypatch.setattr(Figure, "savefig", lay_out)
    draw(tmp_path / "picture.png")
    (whole,) = drawn
    inside, (one,) = whole.bbox, whole.legends
    around = one.get_window_extent()
    assert inside.x0 <= around.x0
    assert around.x1 <= inside.x1
    assert around.y1 <= inside.y1
    assert whole.axes[0].get_window_extent().height > whole.bbox.height / 3
