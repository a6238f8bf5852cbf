"""Values of one option compared on the same trials, and the value that counts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from metajax.core.options import OptionError
from metajax.experiments.metrics import interval
from metajax.run.config import Config

Totals = Callable[[Any], np.ndarray]


def options_with(config: Config, option: str, value: Any) -> Any:
    """The algorithm's options with one of them changed; the value may be traced."""
    return dataclasses.replace(config.algorithm.options, **{option.replace("-", "_"): value})


def grid_totals(config: Config, option: str, values: Sequence[Any]) -> Totals:
    """The total reward of the untrained algorithm with each value of an option.

    All values at once where the option may be traced, else one after another. Every value
    meets the same tasks with the same randomness, those of ``evaluate(algorithm, key, ...)``.

    Returns:
      ``key -> [num_values, num_tasks]``, the sum over each task's ``Trial.returns``.
    """
    import jax
    import jax.numpy as jnp

    from metajax.core.layout import TaskMap
    from metajax.evaluation import evaluate

    algorithm, held_out = config.build()
    chosen = config.evaluate
    sizes: dict[str, Any] = {
        name: getattr(chosen, name) for name in ("num_adaptations", "num_streams", "explore")
    }
    name = option.replace("-", "_")
    typed = [getattr(options_with(config, option, value), name) for value in values]

    def build(value):
        one = options_with(config, option, value).build(algorithm.family)
        return one, one.init(jax.random.key(config.train.seed)).theta

    def one_by_one(key):
        made = [build(value) for value in typed]
        more = {"num_tasks": chosen.num_tasks, **sizes}
        evaluations = [evaluate(one, key, theta, held_out, **more) for one, theta in made]
        return np.stack([one.returns.sum(axis=1) for one in evaluations])

    if any(isinstance(value, str | bool | None | tuple) for value in typed):
        return one_by_one

    def of_task(grid, key):
        key_task, key_trial = jax.random.split(key)
        task = held_out.sample(key_task)

        def of_value(value):
            one, theta = build(value)
            trial = one.adapt(key_trial, theta, task, family=held_out, **sizes)
            return jnp.sum(trial.returns)

        return jax.vmap(of_value)(grid)

    layout = TaskMap.padded(chosen.num_tasks)
    at_once = jax.jit(
        lambda grid, key: layout.collect(of_task, grid, jax.random.split(key, layout.num_tasks))
    )
    grid = jnp.asarray(typed)
    try:
        jax.eval_shape(at_once, grid, jax.random.key(0))
    except (TypeError, OptionError):  # shapes, branches or tables depend on the option
        return one_by_one
    return lambda key: np.asarray(at_once(grid, key)).T


def selected(record: Mapping[str, Any], better: str) -> Mapping[str, Any]:
    """A record with the numbers of the value that a table prefers.

    The value is chosen on separate trials, not on those that are shown. What papers report,
    the best value on the very trials that are shown, is in ``tuned.as_published``.

    Args:
      record: a record; that of a tuned row has ``tuned`` with the option's ``values``, and
        for each value the ``mean`` and ``standard_error`` over tasks ``on_evaluation`` and
        ``on_separate`` trials.
      better: "higher" or "lower".

    Returns:
      The record with ``mean``, ``standard_error``, ``interval``, ``tuned.value`` and
      ``tuned.as_published``; the same record where nothing is tuned.
    """
    tuned = record.get("tuned")
    if not tuned:
        return record
    sign = 1 if better == "higher" else -1
    here, separate, values = tuned["on_evaluation"], tuned["on_separate"], tuned["values"]
    best, index = (
        int(np.argmax(sign * np.asarray(one["mean"], np.float64))) for one in (here, separate)
    )

    def numbers(of_value):
        mean, error = (here[name][of_value] for name in ("mean", "standard_error"))
        return {"mean": mean, "standard_error": error, "interval": interval(mean, error)}

    published = {"value": values[best], **numbers(best)}
    tuned = {**tuned, "value": values[index], "as_published": published}
    return {**record, **numbers(index), "tuned": tuned}
