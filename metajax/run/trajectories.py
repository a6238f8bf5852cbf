"""Ways of a policy through sample tasks, before and after each adaptation, and their picture."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from metajax.run import plots

if TYPE_CHECKING:
    from collections.abc import Callable

    from metajax.core.algorithm import MetaAlgorithm
    from metajax.core.family import Key, TaskFamily, Tree
    from metajax.core.types import Chunk


class Ways(NamedTuple):
    """Ways through sample tasks, whose places are points of a plane or cells of a grid.

    Attributes:
      marks: Places of a task by name, ``[N, 2]`` each.
      places: ``[N, S, T + 1, E, 2]``, where each action was taken and where the last one led, in
        S episodes: after 0 to K adaptations, of a trial one after another, or at the start and
        the end of a lifetime. Who has arrived stays.
    """

    marks: dict[str, np.ndarray]
    places: np.ndarray


def sample_trials(
    algorithm: MetaAlgorithm,
    key: Key,
    theta: Tree,
    family: TaskFamily,
    num_adaptations: int | None,
    num_tasks: int,
    show: Callable[[Tree, Chunk], Tree],
) -> Tree:
    """``show(task, chunks)`` of a trial in each of N tasks, on the host, ``[N, ...]``.

    Chunks are ``[K + 1, T, E, ...]``: those that were adapted to and the last one. Of a lifetime
    they are two, an episode of the policy's mode before and after it.

    Args:
      algorithm: Algorithm whose learner adapts.
      key: Randomness of the tasks and their episodes.
      theta: Meta-parameters.
      family: Family of the tasks.
      num_adaptations: K; None as trained, and for continuing trials, which have none.
      num_tasks: N.
      show: What to keep.
    """
    import jax
    import jax.numpy as jnp

    from metajax.data.fresh import fresh_episodes

    problem = algorithm.problem.varied(
        family, num_adaptations=num_adaptations, records=("next_observation",)
    )
    learner, length = problem.learner, family.spec.episode_length

    def chunks_of(key, theta, task):
        trial = problem.run(key, theta, task)
        if algorithm.axis == "points":
            source = fresh_episodes(family, learner, problem.num_streams, length, explore=False)
            key_begin, key_episode = jax.random.split(jax.random.fold_in(key, 1))
            both = (learner.begin(key_begin, theta), trial.phi)
            episodes = [source.next(key_episode, theta, phi, task, ())[1] for phi in both]
            return jax.tree.map(lambda *leaves: jnp.stack(leaves), *episodes)
        return jax.tree.map(
            lambda early, last: jnp.concatenate([early, last[None]]), trial.support, trial.query
        )

    def of_task(theta, key):
        key_task, key_trial = jax.random.split(key)
        task = family.sample(key_task)
        return show(task, chunks_of(key_trial, theta, task))

    run = jax.jit(lambda theta, keys: jax.lax.map(functools.partial(of_task, theta), keys))
    return jax.device_get(run(theta, jax.random.split(key, num_tasks)))


def record(
    algorithm: MetaAlgorithm,
    key: Key,
    theta: Tree,
    family: TaskFamily,
    num_adaptations: int | None,
    num_tasks: int,
) -> Ways:
    """The ways through N tasks; arguments as ``sample_trials`` takes them.

    Raises:
      ValueError: if the family has no map.
    """
    import jax

    spec, grid, goal_of = family.spec, family.spec.grid, family.spec.plane
    if goal_of is not None:
        place, marks_of = (lambda seen: seen[:2]), (lambda task: {"goal": goal_of(task)})
    elif grid is not None:
        place, marks_of = grid.cell, grid.marks
    else:
        raise ValueError(f"family: {spec.name} has no spec.plane and no spec.grid, hence no map")

    def show(task, chunks):
        places = jax.vmap(jax.vmap(jax.vmap(place)))
        here, then = places(chunks.observation), places(chunks.next_observation)
        return marks_of(task), here, then, chunks.done, chunks.mask

    marks, *seen = sample_trials(algorithm, key, theta, family, num_adaptations, num_tasks, show)
    # A continuing trial is one chunk of several episodes, the others are an episode each.
    num_chunks, num_steps = seen[0].shape[1:3]
    length = spec.episode_length if algorithm.axis == "episodes" else num_steps

    def ways(at):
        here, then, done, mask = (leaf[:, at] for leaf in seen)
        return _episode_ways(here, then, done, mask, num_steps // length, length)

    return Ways(marks, np.concatenate([ways(at) for at in range(num_chunks)], axis=1))


def _episode_ways(
    places: np.ndarray,
    reached: np.ndarray,
    done: np.ndarray,
    masks: np.ndarray,
    num_episodes: int,
    length: int,
) -> np.ndarray:
    """A chunk cut into its episodes.

    Args:
      places, reached: ``[N, T, E, 2]``, before and after each step.
      done: ``[N, T, E]``, whether a step was the last of its episode.
      masks: ``[N, T, E]``.
      num_episodes: episodes of each stream.
      length: length of the longest episode.

    Returns:
      ``[N, num_episodes, length + 1, E, 2]``.
    """
    episode = np.where(masks, np.cumsum(done, axis=1) - done, -1)
    num_tasks, _, num_streams, _ = places.shape
    ways = np.empty((num_tasks, num_episodes, length + 1, num_streams, 2))
    for task, number, stream in np.ndindex(num_tasks, num_episodes, num_streams):
        steps = np.flatnonzero(episode[task, :, stream] == number)
        way = np.append(places[task, steps, stream], reached[task, steps[-1:], stream], axis=0)
        ways[task, number, :, stream] = way[np.minimum(np.arange(length + 1), len(way) - 1)]
    return ways


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
      algorithm, key, theta, family, num_adaptations: as ``sample_trials`` takes them.
      num_tasks: panels.
      num_episodes: episodes drawn faintly, at most E.

    Raises:
      ValueError: if the tasks of the family are not in the plane.
    """
    if family.spec.plane is None:
        raise ValueError(f"family: {family.spec.name} has no spec.plane; its tasks have no map")
    ways = record(algorithm, key, theta, family, num_adaptations, num_tasks)
    name = family.spec.name
    _draw_trajectories(path, ways.marks["goal"], ways.places, num_episodes, algorithm.axis, name)


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
