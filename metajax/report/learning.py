"""Learning results: a config trained and meta-tested with several seeds, one record each."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from metajax.report import statistics, tables
from metajax.run.numbers import whole

if TYPE_CHECKING:
    import numpy as np

    from metajax.config import Config

CURVE_POINTS = 100


def with_seed(config: Config, seed: int) -> Config:
    """The config of one seed. Held-out tasks are the same for every seed."""
    return dataclasses.replace(config, train=dataclasses.replace(config.train, seed=seed))


def run_seed(
    config: Config, label: str, progress: Callable[[str], None] = lambda text: None
) -> dict[str, Any]:
    """Trains as ``metajax train`` does, and meta-tests the result.

    Args:
      config: with the seed in ``train.seed``.
      label: what the records of this config are called, for example its file name.
      progress: gets a line of text now and then.

    Returns:
      A record: ``label``, ``seed``, ``config`` (every default written out),
      ``config_digest``; ``iterations``, ``env_steps`` (all of training),
      ``compile_seconds`` (by which the first block took longer than the median
      block), ``run_seconds`` (of training without that), ``env_steps_per_second``
      (of the blocks after the first); ``curve``, a list of at most 100 points with
      ``iteration`` (the last of the point's), ``env_steps`` and mean ``returns`` ``[K + 1]``
      on training tasks; ``evaluation`` by how actions were chosen (``sampled``, ``mode``)
      and ``untrained`` (sampled, from the initial theta), each with ``mean`` and
      ``interval`` after 0..K adaptations; ``environment``.
    """
    import jax

    from metajax.report import records
    from metajax.run.loop import run_key
    from metajax.run.meta_test import meta_test
    from metajax.training import initial_state, train

    algorithm, held_out = config.build()
    key = run_key(config)
    clock = _Clock(config.train.num_iterations, progress)

    def on_block(reached, state, infos):
        del state
        clock.lap(reached, infos)

    state, history = train(
        algorithm,
        key,
        config.train.num_iterations,
        block_size=config.train.block_size,
        on_block=on_block,
    )

    def judge(theta, explore):
        return tables.evaluation_to_dict(
            meta_test(config, algorithm, held_out, theta, explore=explore)
        )

    untrained = jax.jit(initial_state, static_argnums=0)(algorithm, key).theta
    return {
        "label": label,
        "seed": config.train.seed,
        "config": config.to_dict(),
        "config_digest": config.digest(),
        "iterations": config.train.num_iterations,
        **clock.summary(),
        "curve": thin(history["returns"], history["env_steps"]),
        "evaluation": {
            "sampled": judge(state.theta, True),
            "mode": judge(state.theta, False),
            "untrained": judge(untrained, True),
        },
        "environment": records.environment(),
    }


def run_seeds(
    config: Config,
    label: str,
    seeds: Sequence[int],
    path: str,
    progress: Callable[[str], None] = lambda text: None,
) -> None:
    """Appends the record of each seed to ``path``, skipping those that are there."""
    from metajax.report import records

    done = {record.get("config_digest") for record in records.read(path)}
    for seed in seeds:
        one = with_seed(config, seed)
        if one.digest() in done:
            progress(f"{label}, seed {seed}: is in {path} already")
            continue
        record = run_seed(one, label, lambda text, seed=seed: progress(f"seed {seed}: {text}"))
        records.append(path, record)
        means = ", ".join(f"{value:.2f}" for value in record["evaluation"]["sampled"]["mean"])
        took = tables.duration(record["run_seconds"])
        progress(f"{label}, seed {seed}: {means} after {took}")


def thin(returns: np.ndarray, env_steps: np.ndarray) -> list[dict[str, Any]]:
    """Means over at most 100 stretches of a history.

    Args:
      returns: ``[iterations, K + 1]``.
      env_steps: ``[iterations]``, transitions of each.
    """
    import numpy as np

    total = np.cumsum(whole(env_steps))
    parts = np.array_split(np.arange(len(total)), min(CURVE_POINTS, len(total)))
    returns = np.asarray(returns, np.float64)
    return [
        {
            "iteration": int(part[-1]) + 1,
            "env_steps": int(total[part[-1]]),
            "returns": [round(float(value), 4) for value in returns[part].mean(axis=0)],
        }
        for part in parts
    ]


def seed_estimates(
    label: str, records: Sequence[dict[str, Any]], kind: str
) -> list[statistics.Estimate]:
    """Mean return over seeds with Student's 95% interval, after 0..K adaptations.

    Args:
      label: for messages.
      records: of one config, one a seed.
      kind: "sampled", "mode" or "untrained".

    Raises:
      ValueError: without records, with seeds of different settings, or with a seed twice.
    """
    if not records:
        raise ValueError(f"{label}: there are no records")
    if len({_without_seed(record["config"]) for record in records}) > 1:
        raise ValueError(f"{label}: its records are of different settings; keep those of one")
    if len({record["seed"] for record in records}) < len(records):
        raise ValueError(f"{label}: a seed is there twice; keep one record of each")
    means = [record["evaluation"][kind]["mean"] for record in records]
    return [statistics.mean(values) for values in zip(*means, strict=True)]


def _without_seed(config: dict[str, Any]) -> str:
    """What the seeds of one config have in common, as text."""
    from metajax.report import records

    train = {name: value for name, value in config["train"].items() if name != "seed"}
    return records.to_json({**config, "train": train})


class _Clock:
    """Times blocks of iterations."""

    def __init__(self, total: int, progress: Callable[[str], None]) -> None:
        self._total, self._progress = total, progress
        self._start = self._last = self._said = time.monotonic()
        self._blocks: list[tuple[int, int, float]] = []
        self._reached = 0

    def lap(self, reached: int, infos: dict[str, Any]) -> None:
        now = time.monotonic()
        env_steps = int(whole(infos["env_steps"]).sum())
        self._blocks.append((reached - self._reached, env_steps, now - self._last))
        self._reached, self._last = reached, now
        if now - self._said > 10 or reached == self._total:
            self._said = now
            returns = ", ".join(f"{value:.2f}" for value in infos["returns"][-1])
            self._progress(f"iteration {reached}/{self._total}, return {returns}")

    def summary(self) -> dict[str, Any]:
        """Seconds and steps; the first block's excess over the median is compilation."""
        first, *rest = self._blocks
        env_steps = sum(block[1] for block in self._blocks)
        seconds = self._last - self._start
        result: dict[str, Any] = {"env_steps": env_steps}
        if not rest:
            return result | {
                "compile_seconds": None,
                "run_seconds": seconds,
                "env_steps_per_second": None,
            }
        per_iteration = sorted(spent / length for length, _, spent in rest)[len(rest) // 2]
        compile_seconds = max(0.0, first[2] - per_iteration * first[0])
        later = sum(block[2] for block in rest)
        return result | {
            "compile_seconds": compile_seconds,
            "run_seconds": seconds - compile_seconds,
            "env_steps_per_second": sum(block[1] for block in rest) / later,
        }
