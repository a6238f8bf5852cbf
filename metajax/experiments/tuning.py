"""Values of one option compared on the same trials, and the value that counts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from metajax.core.layout import Layout
from metajax.core.options import OptionError
from metajax.evaluation import evaluate
from metajax.experiments.metrics import with_interval
from metajax.run.config import Config


def options_with(config: Config, option: str, value: Any) -> Any:
    """The algorithm's options with one of them changed; the value may be traced."""
    return dataclasses.replace(config.algorithm.options, **{option.replace("-", "_"): value})


def grid_returns(
    config: Config, option: str, values: Sequence[Any]
) -> Callable[[Any], Sequence[np.ndarray]]:
    """``key ->`` returns ``[num_tasks, X]`` of an untrained algorithm with each of the values.

    All values of the option at once where it may be traced, else one after another. Every value
    meets the same tasks with the same randomness, those of ``evaluate(algorithm, key, ...)``.
    """
    import jax
    import jax.numpy as jnp

    algorithm, held_out = config.build()
    sizes: dict[str, Any] = {
        name: getattr(config.evaluate, name)
        for name in ("num_adaptations", "num_streams", "explore")
    }
    num_tasks, name = config.evaluate.num_tasks, option.replace("-", "_")
    typed = [getattr(options_with(config, option, value), name) for value in values]

    def build(value):
        one = options_with(config, option, value).build(algorithm.family)
        return one, one.deploy(one.init(jax.random.key(config.train.seed)))

    def one_by_one(key):
        of_values = (
            evaluate(one, key, theta, held_out, num_tasks=num_tasks, **sizes)
            for one, theta in map(build, typed)
        )
        return [one.returns for one in of_values]

    if any(isinstance(value, str | bool | None | tuple) for value in typed):
        return one_by_one

    def of_task(grid, key):
        key_task, key_trial = jax.random.split(key)
        task = held_out.sample(key_task)

        def of_value(value):
            one, theta = build(value)
            return one.adapt(key_trial, theta, task, family=held_out, **sizes).returns

        return jax.vmap(of_value)(grid)

    layout = Layout.padded(num_tasks)
    at_once = jax.jit(
        lambda grid, key: layout.collect(of_task, grid, jax.random.split(key, layout.num_tasks))
    )
    grid = jnp.asarray(typed)
    try:
        jax.eval_shape(at_once, grid, jax.random.key(0))
    except (TypeError, OptionError):  # shapes, branches or tables depend on the option
        return one_by_one
    return lambda key: list(np.swapaxes(np.asarray(at_once(grid, key)), 0, 1))


def selected(record: Mapping[str, Any], better: str) -> Mapping[str, Any]:
    """A record with the numbers of the value that a table prefers.

    The value is chosen on separate trials, not on those that are shown. What papers report,
    the best value on the very trials that are shown, is in ``tuned.as_published``.

    Args:
      record: a record; that of a tuned row has ``tuned`` with the option's ``values``, and
        for each value the ``mean`` and ``standard_error`` over tasks ``on_evaluation`` and
        ``on_separate`` trials. A record without it is returned as it is.
      better: "higher" or "lower".
    """
    if not (tuned := record.get("tuned")):
        return record

    def best(trials):
        means = np.asarray(tuned[trials]["mean"], np.float64)
        signed = means if better == "higher" else -means
        index = int(np.argmax(np.where(np.isfinite(means), signed, -np.inf)))  # others diverge
        numbers = (tuned["on_evaluation"][name][index] for name in ("mean", "standard_error"))
        return tuned["values"][index], with_interval(*numbers)

    (value, numbers), (published, others) = best("on_separate"), best("on_evaluation")
    as_published = {"value": published, **others}
    return {**record, **numbers, "tuned": {**tuned, "value": value, "as_published": as_published}}
