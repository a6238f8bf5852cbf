"""Pictures of ways through the plane, before and after each adaptation."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from metajax.run import plots

if TYPE_CHECKING:
    from metajax.core.algorithm import MetaAlgorithm
    from metajax.core.family import Key, TaskFamily, Tree
    from metajax.core.types import Chunk


def draw(
    path: plots.Path,
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

    A line is the mean position over the E episodes of a chunk at each step, with some of them
    faintly behind it and a dot where it ends. Of a continuing trial each episode is a line,
    the mean over its E streams.

    Args:
      path: the picture.
      algorithm: algorithm whose learner adapts.
      key: randomness of the tasks and their episodes.
      theta: meta-parameters.
      family: family with ``spec.plane``, the goal of a task.
      num_adaptations: K; None as trained, and for continuing trials, which have none.
      num_tasks: panels.
      num_episodes: episodes drawn faintly, at most E.

    Raises:
      ValueError: if the tasks of the family are not in the plane.
    """
    import jax

    goal_of = family.spec.plane
    if goal_of is None:
        raise ValueError(f"family: {family.spec.name} has no spec.plane; its tasks have no map")

    problem = algorithm.problem.varied(
        family, num_adaptations=num_adaptations, records=("next_observation",)
    )

    def of_task(theta, key):
        key_task, key_trial = jax.random.split(key)
        task = family.sample(key_task)
        trial = problem.run(key_trial, theta, task)
        chunks = jax.tree.map(
            lambda early, last: jax.numpy.concatenate([early, last[None]]),
            trial.support,
            trial.query,
        )
        seen = jax.vmap(_seen)(chunks)
        return goal_of(task), seen, trial.returns

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
    _draw_trajectories(path, goals, ways, num_episodes, algorithm.axis, family.spec.name)


def _seen(chunk: Chunk) -> tuple[Any, ...]:
    """Positions, mask, ends of episodes and last position of a chunk in the plane."""
    from metajax.inner.policy import last_reached

    return chunk.observation[..., :2], chunk.mask, chunk.done, last_reached(chunk)[..., :2]


def _episode_ways(
    positions: np.ndarray, done: np.ndarray, masks: np.ndarray, num_episodes: int, length: int
) -> np.ndarray:
    """A continuing trial cut into its episodes.

    Args:
      positions: ``[N, T, E, 2]``.
      done: ``[N, T, E]``, whether a step was the last of its episode.
      masks: ``[N, T, E]``.
      num_episodes: episodes of each trial.
      length: length of the longest episode.

    Returns:
      ``[N, num_episodes, length, E, 2]``, where each action was taken; after the last action
      the position stays.
    """
    episode = np.where(masks, np.cumsum(done, axis=1) - done, -1)
    num_tasks, _, num_streams, _ = positions.shape
    ways = np.empty((num_tasks, num_episodes, length, num_streams, 2))
    for task, number, stream in np.ndindex(num_tasks, num_episodes, num_streams):
        way = positions[task, episode[task, :, stream] == number, stream]
        ways[task, number, :, stream] = way[np.minimum(np.arange(length), len(way) - 1)]
    return ways


def _draw_trajectories(
    path: plots.Path,
    goals: np.ndarray,
    ways: np.ndarray,
    num_episodes: int,
    axis: str,
    family: str,
) -> None:
    """``goals`` is ``[N, 2]``, ``ways`` is ``[N, K + 1, T + 1, E, 2]``, K + 1 along the axis."""
    means = ways.mean(axis=3)
    # Where a first policy strays far away, the way of the later ones matters more.
    farthest = np.abs(goals).max()
    limit = 1.15 * max(min(np.abs(means).max(), 2 * farthest), farthest)
    lines = _lines(ways.shape[1], axis)
    marks: dict[str, dict[str, Any]] = {
        "start": {"marker": "s", "color": "black", "markersize": 5},
        "goal": {
            "marker": "*",
            "color": plots.PALETTE[1],
            "markersize": 12,
            "markeredgecolor": "white",
        },
    }
    shared: Any = {"sharex": True, "sharey": True}
    with plots.panels(path, len(ways), (2.5, 2.5), **shared) as (whole, every):
        for axes, goal, way, mean in zip(every, goals, ways, means, strict=True):
            for step, hue in enumerate(lines.values()):
                axes.plot(*way[step, :, :num_episodes].T, color=hue, linewidth=0.5, alpha=0.25)
            for step, hue in enumerate(lines.values()):
                axes.plot(*mean[step].T, color=hue, linewidth=2)
                axes.plot(*mean[step, -1], "o", color=hue, markeredgecolor="white", markersize=6)
            axes.plot(*goal, **marks["goal"])
            axes.plot(*mean[0, 0], **marks["start"])
            axes.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
            axes.locator_params(nbins=4)
        styles: dict[str, Any] = {name: {"color": hue} for name, hue in lines.items()}
        styles |= {name: {"linestyle": "", **mark} for name, mark in marks.items()}
        kind = "trials side by side" if axis == "episodes" else "episodes"
        title = f"{family}: mean way of {ways.shape[3]} {kind} up to the dot; faint: single ones"
        if ways.shape[3] == 1:
            title = f"{family}: each way up to the dot"
        plots.legend(whole, styles, ncols=min(len(styles), 6), title=title)
        whole.supxlabel("x position", fontsize=11)
        whole.supylabel("y position", fontsize=11)


def _lines(number: int, axis: str) -> dict[str, Any]:
    """Names and colours of lines, lighter to darker blue; before adaptation grey."""
    from matplotlib import colormaps

    if axis == "episodes":
        names = [f"episode {index + 1}" for index in range(number)]
        return dict(zip(names, colormaps["Blues"](np.linspace(0.5, 1.0, number)), strict=True))
    names = [f"{index} adaptation{'s' if index > 1 else ''}" for index in range(1, number)]
    blues = colormaps["Blues"](np.linspace(0.5, 1.0, number - 1))
    return {"before": "#b5b5b5", **dict(zip(names, blues, strict=True))}
