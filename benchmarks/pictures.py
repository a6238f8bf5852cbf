"""Draws the pictures of docs/meta-rl.md and of task families, from committed results and families.

python benchmarks/pictures.py
"""

import pathlib
from typing import Any

import jax
import numpy as np

import metajax
from metajax.run import plots, records

ROOT = pathlib.Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"


def rows(table: str, names: dict[str, str]) -> dict[str, np.ndarray]:
    """Means of each seed ``[S, K + 1]`` in the rows of a table, by what the picture calls them."""
    found = list(records.read(ROOT / "benchmarks" / "results" / f"{table}.jsonl"))
    return {
        label: np.array([one["mean"] for one in found if one["row"] == row])
        for row, label in names.items()
    }


def curves(path: pathlib.Path, lines: dict[str, np.ndarray], start: int, x: str, y: str) -> None:
    """Draws the mean and range over seeds of each line."""
    with plots.figure(path, (5.6, 3.4)) as whole:
        axes = whole.subplots()
        for number, (label, values) in enumerate(lines.items()):
            places = start + np.arange(values.shape[1])
            style: dict[str, Any] = {"color": plots.colour(number), "markersize": 5, "label": label}
            plots.band(axes, places, plots.mean_and_range(values), "o-", **style)
            axes.set_xticks(places)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        axes.legend()


def sinusoid() -> None:
    """Draws tasks of sine waves, with ten examples of each."""
    family = metajax.tasks.make("sinusoid")
    with plots.figure(IMAGES / "sinusoid-tasks.png", (5.6, 2.8)) as whole:
        axes = whole.subplots()
        for number in range(4):
            task = family.sample(jax.random.key(number))
            many, few = (family.draw(jax.random.key(7), task, size) for size in (1000, 10))
            order = np.argsort(many.inputs[:, 0])
            style: dict[str, Any] = {"color": plots.colour(number)}
            axes.plot(many.inputs[order, 0], many.targets[order], **style)
            axes.plot(few.inputs[:, 0], few.targets, "o", **style)
        axes.set_xlabel("input")
        axes.set_ylabel("target")


def glyphs() -> None:
    """Draws the classes of a task of glyphs, a row each."""
    family = metajax.tasks.make("glyphs")
    ways, shots = family.spec.num_outputs, 8
    task = family.sample(jax.random.key(1))
    drawn = family.draw(jax.random.key(2), task, ways * shots)
    with plots.figure(IMAGES / "glyphs-task.png", (5.6, 3.6)) as whole:
        every = whole.subplots(ways, shots)
        for row in range(ways):
            of_class = np.flatnonzero(np.asarray(drawn.targets) == row)
            for axes, image in zip(every[row], of_class, strict=True):
                axes.imshow(drawn.inputs[image, ..., 0], cmap="gray_r")
                axes.axis("off")


def main() -> None:
    names = {"maml": "MAML", "random-init": "random initialisation"}
    steps = ("gradient steps in the new task", "return on held-out goals")
    curves(IMAGES / "meta-rl-gradient-steps.png", rows("point-navigation", names), 0, *steps)
    names = {"rl2": "RL2", "oracle": "goal known", "random": "random policy"}
    episodes = ("episode in the new task", "return")
    curves(IMAGES / "meta-rl-episodes.png", rows("gridnavi", names), 1, *episodes)
    sinusoid()
    glyphs()


if __name__ == "__main__":
    main()
