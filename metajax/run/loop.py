"""Training into a run directory, block by block."""

from __future__ import annotations

import dataclasses
import functools
import math
import signal
import textwrap
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from metajax.core.algorithm import MetaAlgorithm, MetaState
from metajax.core.kinds import show
from metajax.core.options import OptionError, kebab
from metajax.core.problem import all_finite
from metajax.progress import Lines, progress
from metajax.run import checkpoints, diagnosis, machine, numbers
from metajax.run.config import LAYOUT, Config, from_dict
from metajax.run.console import say
from metajax.run.directory import RunDirectory
from metajax.run.loggers import Logger, open_loggers
from metajax.run.numbers import NotFinite
from metajax.run.signals import Interruption
from metajax.training import initial_state, train


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The end of a run.

    Attributes:
      state: Training state.
      iteration: Iterations done, all of them in the last checkpoint.
      env_steps: Environment steps of the run, over all its processes.
      seconds: Wall-clock time of the run, compilation and checkpoints included.
      env_steps_per_second: Rate of the median block of this process.
      exit_code: 0; 130 after SIGINT, 143 after SIGTERM.
    """

    state: MetaState
    iteration: int
    env_steps: int
    seconds: float
    env_steps_per_second: float
    exit_code: int


def run_key(config: Config) -> jax.Array:
    """The random key of a run, from its seed."""
    return jax.random.key(config.train.seed)


def train_run(
    run: RunDirectory, config: Config, algorithm: MetaAlgorithm, *, checkpoint: int | None = None
) -> Outcome:
    """Trains to ``config.train.num_iterations``, from a checkpoint if given.

    ``metrics.jsonl`` is cut back to the checkpoint, so a run that was killed and resumed
    writes the same lines as an uninterrupted one, apart from the seconds.

    Args:
      run: Run directory, claimed.
      config: Config of the run.
      algorithm: Algorithm from ``config.build()``.
      checkpoint: Iteration of the checkpoint to continue from. Default: start anew.

    Raises:
      NotFinite: If theta or a metric is not finite.
      CheckpointError: If a checkpoint cannot be read or written.
      Lost: If the directory is removed or replaced in the meantime.
      OSError: If another file cannot be written.
    """
    start = checkpoint or 0
    key = run_key(config)
    state = (
        initial_state(algorithm, key) if not start else restore_state(run, algorithm, start, config)
    )
    about = checkpoints.about(run.checkpoints, start) if start else {}
    run.check()
    checkpoints.clean(run.checkpoints)
    for later in [one for one in checkpoints.iterations(run.checkpoints) if one > start]:
        checkpoints.remove(run.checkpoints, later)
    last = {**run.cut_metrics(start, say), **about, "environments": trained_on(about)}
    loggers = open_loggers(run, config, start)
    with (
        progress(algorithm, start, config.train.num_iterations) as screen,
        Interruption(
            lambda number: screen.message(_announcement(number)),
            lambda: checkpoints.kept(run.checkpoints),
        ) as interruption,
    ):
        reason = functools.partial(diagnosis.reason, algorithm.family)
        blocks = _Blocks(run, config, screen, loggers, interruption, start, last, reason)
        try:
            state, _ = train(
                algorithm,
                key,
                config.train.num_iterations,
                state=state,
                start=start,
                block_size=config.train.block_size,
                on_block=blocks,
            )
        finally:
            for logger in loggers:
                logger.close()
    return Outcome(
        state=state,
        iteration=blocks.iteration,
        env_steps=blocks.env_steps,
        seconds=blocks.seconds,
        env_steps_per_second=float(np.median(blocks.rates)) if blocks.rates else math.nan,
        exit_code=0 if interruption.received is None else interruption.exit_code,
    )


def check_sizes(algorithm: MetaAlgorithm) -> None:
    """Traces one iteration, to fail before anything is written.

    Raises OptionError for sizes that do not fit together.
    """
    try:
        key = jax.eval_shape(lambda: jax.random.key(0))
        jax.eval_shape(algorithm.step, key, jax.eval_shape(algorithm.init, key))
    except OptionError as error:
        raise OptionError(f"algorithm.{kebab(error.field)}", error.problem) from None
    except (ValueError, OverflowError) as error:
        first = str(error).strip().splitlines()[0]
        raise OptionError("algorithm", f"these sizes do not work together: {first}") from error


def restore_state(
    run: RunDirectory, algorithm: MetaAlgorithm, iteration: int, config: Config
) -> MetaState:
    """The training state of a checkpoint.

    Args:
      run: Run directory.
      algorithm: Algorithm of ``config.build()``.
      iteration: Iteration of the checkpoint.
      config: Config of the run, which a hand may have changed.

    Raises:
      OptionError: If the checkpoint was trained with other settings than those of ``config``.
      CheckpointError: If it is missing, damaged or of another run.
    """
    _check_same(trained_with(run, iteration) or config, config)
    like = jax.eval_shape(algorithm.init, jax.random.key(0))
    return checkpoints.restore(run.checkpoints, iteration, like, run.id)


def trained_with(run: RunDirectory, checkpoint: int | None) -> Config | None:
    """The config that a checkpoint was trained with, None where it does not say (an old one).

    Raises OptionError if this version does not know one of its settings.
    """
    stored = {} if checkpoint is None else checkpoints.about(run.checkpoints, checkpoint)
    is_own = run.id is None or stored.get("run") == run.id
    return from_dict(stored["config"]) if is_own and "config" in stored else None


def trained_on(about: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The machines on which a checkpoint was trained, see ``machine.environment``.

    Empty where ``about``, what is stored with the checkpoint, does not say (an old one).
    """
    found = about.get("environments")
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def resume(run: RunDirectory, config: Config, checkpoint: int | None) -> None:
    """Checks that a claimed run may go on from a checkpoint with some settings.

    What the checkpoint was trained with decides; ``config.toml`` where it does not say.

    Raises OptionError as ``check_continuation`` does.
    """
    before = trained_with(run, checkpoint) or run.read_config()
    check_continuation(before, config, checkpoint or 0)
    if checkpoint is not None and run.id is None:  # copied without its id
        run.id = checkpoints.about(run.checkpoints, checkpoint).get("run")


def check_continuation(before: Config, now: Config, reached: int) -> None:
    """Checks that a run may continue with changed settings.

    The number of iterations, the checkpoints kept, the evaluation, and the layout of tasks
    over memory and devices may change; all else must stay.

    Args:
      before: Config that the run was trained with.
      now: Config to continue with.
      reached: Iterations done.

    Raises:
      OptionError: For the settings that differ.
    """
    _check_same(before, now)
    if now.train.num_iterations < reached:
        raise OptionError(
            "train.num-iterations",
            f"{now.train.num_iterations} is not possible; allowed: at least {reached}, which the "
            "run has reached",
        )


def _check_same(before: Config, now: Config) -> None:
    """Raises OptionError where training would not be the same."""
    differing = []
    for section in ("family", "algorithm", "train"):
        old, new = before.to_dict()[section], now.to_dict()[section]
        names = ("seed",) if section == "train" else {**old, **new}
        for name in names:
            pair = new.get(name), old.get(name)
            if pair[0] != pair[1] and name not in LAYOUT:
                differing.append((f"{section}.{name}", *map(_short, pair)))
    if differing:
        (first, now_is, was), *others = differing
        also = f" (and {', '.join(name for name, *_ in others[:5])})" if others else ""
        raise OptionError(
            first,
            f"{now_is} differs from {was}, with which the run was trained{also}; put that back, "
            "or start a new run in another directory",
        )


def _short(value: Any) -> str:
    return textwrap.shorten(show(value), 80, placeholder="...")


class _Blocks:
    """Work on the host after each block of iterations: metrics, checks, checkpoints."""

    def __init__(
        self,
        run: RunDirectory,
        config: Config,
        screen: Lines,
        loggers: list[Logger],
        interruption: Interruption,
        start: int,
        last: dict[str, Any],
        reason: Callable[[], str],
    ) -> None:
        self._run, self._config, self._screen = run, config, screen
        self._loggers, self._interruption, self._reason = loggers, interruption, reason
        self._saved = self.iteration = start
        self._clock = time.monotonic()
        before, now = last["environments"], machine.environment()
        self._environments = before if now in before else [*before, now]
        self.env_steps = int(last.get("env_steps", 0))
        self.seconds = float(last.get("seconds", 0.0))
        self.rates: list[float] = []

    def __call__(self, reached: int, state: MetaState, infos: dict[str, Any]) -> bool:
        bad = _first_not_finite(infos)
        theta_is_finite = bool(_all_finite(state.theta))
        records = self._records(reached, infos)
        self._write(records if bad is None else records[: bad[0] + 1])
        if bad is not None:
            raise NotFinite(self._message(bad[1], self.iteration + bad[0] + 1))
        if not theta_is_finite:
            raise NotFinite(self._message("theta", reached))
        self.iteration = reached
        stop = self._interruption.received is not None
        every = self._config.train.checkpoint_every
        due = reached // every > self._saved // every
        if due or stop or reached == self._config.train.num_iterations:
            keep = self._config.train.keep_checkpoints
            about = {"run": self._run.id, "config": self._config.to_dict()}
            about |= {"env_steps": self.env_steps, "seconds": round(self.seconds, 4)}
            about["environments"] = self._environments
            self._run.check()
            checkpoints.save(self._run.checkpoints, reached, state, keep, about)
            self._saved = reached
        return stop

    def _records(self, reached: int, infos: dict[str, Any]) -> list[dict[str, Any]]:
        now = time.monotonic()
        block_seconds, self._clock = now - self._clock, now
        length = reached - self.iteration
        before = self.env_steps
        counts = infos.get("env_steps", np.zeros(length))
        total = before + np.cumsum(numbers.whole(counts))
        self.env_steps = int(total[-1])
        self.rates.append((self.env_steps - before) / max(block_seconds, 1e-9))
        self.seconds += block_seconds
        self._screen.update(reached, infos)
        return [
            {
                "iteration": self.iteration + i + 1,
                **{name: numbers.plain(value[i]) for name, value in infos.items()},
                "env_steps": int(total[i]),
                "seconds": round(self.seconds - block_seconds * (1 - (i + 1) / length), 4),
            }
            for i in range(length)
        ]

    def _write(self, records: list[dict[str, Any]]) -> None:
        self._run.append_metrics(records)
        for logger in self._loggers:
            logger.write(records)

    def _message(self, what: str, iteration: int) -> str:
        kept = checkpoints.iterations(self._run.checkpoints)
        good = f"checkpoint {kept[-1]} is the last good one" if kept else "no checkpoint was due"
        return (
            f"{what} at iteration {iteration} is not a finite number; training stopped, and {good} "
            f"in {self._run.path}. {self._reason()}"
        )


def _announcement(number: int) -> str:
    name = signal.Signals(number).name
    return f"{name}: finishing this block, then saving; a second one exits at once"


_all_finite = jax.jit(all_finite)

# Returns hold the rewards, which the loss is made of; the norm of its gradient comes next.
_CAUSES = ("returns", "loss", "gradient_norm")


def _first_not_finite(infos: dict[str, Any]) -> tuple[int, str] | None:
    """The first metric that is not finite: index in the block, and name.

    Of several in one iteration it is the one that the others follow from.
    """
    found: list[tuple[int, str]] = []
    causes = [name for name in _CAUSES if name in infos]
    for name in (*causes, *(name for name in infos if name not in _CAUSES)):
        value = np.asarray(infos[name])
        if np.issubdtype(value.dtype, np.inexact):
            bad = ~np.isfinite(value.reshape(len(value), -1))
            if bad.any():
                first = int(bad.any(axis=1).argmax())
                adapts = name == "returns" and bad.shape[1] > 1 and not bad[first, 0]
                found.append((first, "what adaptation made or saw" if adapts else name))
    return min(found, key=lambda one: one[0], default=None)
