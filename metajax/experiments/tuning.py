"""Values of one option compared on the same trials."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from metajax.core.algorithm import MetaAlgorithm
from metajax.core.family import Key
from metajax.core.layout import TaskMap
from metajax.core.options import OptionError
from metajax.evaluation import evaluate
from metajax.run.config import Config


def options_with(config: Config, option: str, value: Any) -> Any:
    """The algorithm's options with one of them changed; the value may be traced."""
    return dataclasses.replace(config.algorithm.options, **{option.replace("-", "_"): value})


def grid_totals(config: Config, option: str, values: Sequence[Any]) -> Callable[[Key], np.ndarray]:
    """How the untrained algorithm does with each value of an option.

    All values at once where the option may be traced, else one after another. Every
    value meets the same tasks with the same randomness, those of
    ``evaluate(algorithm, key, ...)``.

    Args:
      config: of the algorithm, its family and the evaluation.
      option: of the algorithm.
      values: of the option, at least one.

    Returns:
      ``key -> [num_values, num_tasks]``, the sum over each task's ``Trial.returns``.
    """
    algorithm, held_out = config.build()
    chosen = config.evaluate
    sizes = {"num_adaptations": chosen.num_adaptations, "num_streams": chosen.num_streams}
    typed = [
        getattr(options_with(config, option, value), option.replace("-", "_")) for value in values
    ]

    def build(value: Any) -> MetaAlgorithm:
        return options_with(config, option, value).build(algorithm.family)

    def theta_of(one: MetaAlgorithm) -> Any:
        return one.init(jax.random.key(config.train.seed)).theta

    def of_task(grid, key):
        key_task, key_trial = jax.random.split(key)
        task = held_out.sample(key_task)

        def of_value(value):
            one = build(value)
            trial = one.adapt(
                key_trial, theta_of(one), task, family=held_out, explore=chosen.explore, **sizes
            )
            return jnp.sum(trial.returns)

        return jax.vmap(of_value)(grid)

    layout = TaskMap.padded(chosen.num_tasks)
    at_once = jax.jit(
        lambda grid, key: layout.collect(of_task, grid, jax.random.split(key, layout.num_tasks))
    )

    def one_by_one(key: Key) -> np.ndarray:
        more = {"num_tasks": chosen.num_tasks, "explore": chosen.explore, **sizes}
        made = [build(value) for value in typed]
        evaluations = [evaluate(one, key, theta_of(one), held_out, **more) for one in made]
        return np.stack([one.returns.sum(axis=1) for one in evaluations])

    if any(isinstance(value, str | bool | None | tuple) for value in typed):
        return one_by_one
    grid = jnp.asarray(typed)
    try:
        jax.eval_shape(at_once, grid, jax.random.key(0))
    except (TypeError, OptionError):  # shapes, branches or tables depend on the option
        return one_by_one
    return lambda key: np.asarray(at_once(grid, key)).T
