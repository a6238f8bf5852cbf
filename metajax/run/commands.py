"""The commands, once their arguments are checked and jax may be imported."""

from __future__ import annotations

import argparse
import json
import pathlib
from typing import Any, NamedTuple

import jax

from metajax.core import files
from metajax.core.algorithm import MetaAlgorithm
from metajax.core.axes import AXES
from metajax.core.family import Family
from metajax.core.kinds import one_line
from metajax.core.options import OptionError
from metajax.core.types import Trial
from metajax.evaluation import Evaluation
from metajax.exporting import policy
from metajax.run import agreement, checkpoints, loop, machine, meta_test, records
from metajax.run.config import Config, from_dict
from metajax.run.console import command, failed, out_of_memory, say
from metajax.run.directory import Lost, RunDirectory

_EXPECTED = (
    *(checkpoints.CheckpointError, Lost, loop.NotFinite),
    *(OSError, jax.errors.JaxRuntimeError),
)


class Measured(NamedTuple):
    """A meta-test, the same from random weights, the record of both, and the files written."""

    evaluation: Evaluation
    baseline: Evaluation
    record: dict[str, Any]
    files: list[pathlib.Path]


class Ended(NamedTuple):
    """How a run ended.

    Attributes:
      code: Exit code of the command that it is the whole of.
      summary: What is said of its training; None where none was saved.
      measured: Its meta-test; None where it has not come to one.
      ends_all: Whether what ended it would end any other run as well.
    """

    code: int
    summary: dict[str, Any] | None = None
    measured: Measured | None = None
    ends_all: bool = False


def train_command(run: RunDirectory, config: Config, options: argparse.Namespace) -> int:
    """``metajax train``; returns the exit code."""
    algorithm, held_out = checked(config)
    ended = train_one(run, config, algorithm, held_out, options, _resume(run))
    if ended.measured is not None:
        _report(options, ended.measured, ended.summary or {})
    elif ended.summary is not None and options.json:
        print(json.dumps(ended.summary))
    return ended.code


def checked(config: Config) -> tuple[MetaAlgorithm, Family]:
    """The algorithm and the held-out family of a config, traced before anything is written.

    Raises:
      OptionError: For settings that do not fit together.
    """
    algorithm, held_out = config.build()
    loop.check_sizes(algorithm)
    meta_test.check_meta_test(config, algorithm, held_out)
    return algorithm, held_out


def train_one(
    run: RunDirectory,
    config: Config,
    algorithm: MetaAlgorithm,
    held_out: Family,
    options: argparse.Namespace,
    again: str,
) -> Ended:
    """Trains one run and measures it; what goes wrong is said on standard error.

    Args:
      run: Run directory.
      config: Config of the run.
      algorithm, held_out: Result of ``checked``.
      options: ``resume``, ``overwrite`` and ``checkpoint``.
      again: The command that continues after an interruption.

    Raises:
      OptionError: For a directory that is in use, or a run that cannot be continued.
    """
    try:
        run.claim()
        run.check_free(options.resume, options.overwrite)  # again: it may have filled meanwhile
        checkpoint = _resume_point(run, config, options) if options.resume else None
        if options.overwrite:
            run.clear()
        run.write_config(config)
        say(f"training on {machine.place(machine.environment())}")
        outcome = loop.train_run(run, config, algorithm, checkpoint=checkpoint)
        summary = _summary(run, outcome)
        if outcome.exit_code:
            say(f"saved checkpoint {outcome.iteration}; continue with: {again}")
            return Ended(outcome.exit_code, summary, ends_all=True)
        say(f"training finished; meta-test on {config.evaluate.num_tasks} held-out tasks")
        theta = algorithm.deploy(outcome.state)
        measured = _measure(run, config, algorithm, held_out, theta, outcome.iteration)
    except checkpoints.CheckpointError as error:
        return Ended(failed(_unusable(error)))
    except (loop.NotFinite, Lost) as error:
        return Ended(failed(str(error)))
    except OSError as error:
        problem = f"{error.filename or run.path} cannot be written ({error.strerror})"
        kept = "nothing was started"
        if run.is_run():
            kept = checkpoints.kept(run.checkpoints)
            kept = f"{kept}; when there is room, continue with: {again}"
        return Ended(failed(f"{problem}; {kept}"), ends_all=True)
    except jax.errors.JaxRuntimeError as error:
        less = "fewer tasks, streams or steps, or a smaller algorithm.microbatch,"
        return Ended(failed(out_of_memory(error, less)))
    except KeyboardInterrupt:
        kept = checkpoints.kept(run.checkpoints)
        return Ended(failed(f"interrupted; {kept}; continue with: {again}", 130), ends_all=True)
    finally:
        run.release()
    return Ended(0, summary, measured)


def reproduce_command(
    original: RunDirectory, run: RunDirectory, config: Config, options: argparse.Namespace
) -> int:
    """``metajax reproduce``; returns the exit code.

    Args:
      original: The run to reproduce, where nothing is written.
      run: Directory of its reproduction.
      config: Config of the original.
      options: Those of ``metajax reproduce --help``.
    """
    algorithm, _ = config.build()
    last = checkpoints.latest_sound(original.checkpoints, original.id)
    metrics, theta = original.read_metrics(), None
    reached = max([last or 0, *(one["iteration"] for one in metrics)])
    if not reached:
        raise OptionError(str(original.path), "has neither metrics nor checkpoints to compare with")
    number = last or reached if options.iterations is None else options.iterations
    if number > reached:
        allowed = f"1 to {reached}, which the run has reached"
        raise OptionError("--iterations", f"{number} is not possible; allowed: {allowed}")
    try:
        if last is not None:
            theta = loop.restore_state(original, algorithm, last, config).theta
            config = loop.trained_with(original, last) or config  # with its layout
            algorithm, _ = config.build()
        differing = _differing(original, last)
        default = agreement.TOLERANCE if differing else 0.0
        tolerance = default if options.tolerance is None else options.tolerance
        say(f"reproducing iterations 1 to {number} of {original.path} in {run.path}")
        for line in differing or ["the machine and its versions agree"]:
            say(f"  {one_line(line)}")
        allowed = f"differences up to {tolerance:.3g} of the largest magnitude"
        say(f"required: {allowed if tolerance else 'equal bit for bit'}")
        own = [f"train.num-iterations={number}", "train.tensorboard=false", "train.wandb=false"]
        config, checkpoint = from_dict(config.to_dict(), own), None
        run.claim()
        run.check_free(options.resume, options.overwrite)
        if options.resume:
            checkpoint = checkpoints.latest_sound(run.checkpoints, run.id)
            loop.resume(run, config, checkpoint)
        elif options.overwrite:
            run.clear()
        run.write_config(config)
        outcome = loop.train_run(run, config, algorithm, checkpoint=checkpoint)
    except _EXPECTED as error:
        return _failed(run, error, "runs with a smaller algorithm.microbatch")
    finally:
        run.release()
    if outcome.exit_code:
        words = ["reproduce", original.path, "--iterations", number, "--run-dir", run.path]
        words += [] if options.tolerance is None else ["--tolerance", options.tolerance]
        again = command(*words, "--resume")
        say(f"saved checkpoint {outcome.iteration}; continue with: {again}")
        return outcome.exit_code
    with records.shaped(original.metrics):
        found = {"metrics": agreement.of_metrics(metrics, run.read_metrics(), number, tolerance)}
    if theta is not None and number == last:
        pair = checkpoints.arrays(theta), checkpoints.arrays(outcome.state.theta)
        found["theta"] = agreement.of_arrays(*pair, tolerance)
    agrees = all(one.agrees for one in found.values())
    if options.json:
        about = {"run_dir": str(original.path), "reproduction": str(run.path), "reproduced": agrees}
        about |= {"iterations": number, "differing": differing, "tolerance": tolerance}
        print(records.to_json(about | {name: one._asdict() for name, one in found.items()}))
    else:
        for name, one in found.items():
            print(one_line(f"{name}: {one.words(tolerance)}"))
        print("reproduced" if agrees else "not reproduced")
    return 0 if agrees else 1


def _differing(original: RunDirectory, last: int | None) -> list[str]:
    """Differences between the machine of a run and this one, a line of text each."""
    about = {} if last is None else checkpoints.about(original.checkpoints, last)
    then, now = loop.trained_on(about), machine.environment()
    lines = [line for one in then for line in agreement.differing(one, now)]
    if not then:
        lines.append("the machine of the run is not recorded")
    if now.get("backend") not in (None, "cpu"):
        lines.append("this device adds in any order")
    return [*dict.fromkeys(lines)]


def evaluate_command(run: RunDirectory, config: Config, options: argparse.Namespace) -> int:
    """``metajax evaluate``; returns the exit code."""
    algorithm, held_out = config.build()
    checkpoint = _chosen(run, options.checkpoint)
    if checkpoint is None:
        raise OptionError(str(run.path), "has no checkpoint yet; let it train further")
    meta_test.check_meta_test(config, algorithm, held_out)
    try:
        state = loop.restore_state(run, algorithm, checkpoint, config)
        if options.output is not None:
            run = run.reporting_to(options.output)
        theta = algorithm.deploy(state)
        measured = _measure(run, config, algorithm, held_out, theta, checkpoint)
    except checkpoints.CheckpointError as error:
        return failed(_unusable(error))
    except _EXPECTED as error:
        return _failed(run, error, "fewer held-out tasks or streams")
    _report(options, measured, {"run_dir": str(run.path)})
    return 0


def plot_command(run: RunDirectory, config: Config, options: argparse.Namespace) -> int:
    """``metajax plot``; returns the exit code."""
    found = meta_test.recorded(run, config)
    config = found.config
    algorithm, held_out = config.build()
    try:
        theta = algorithm.deploy(loop.restore_state(run, algorithm, found.checkpoint, config))
        measured = (found.evaluation, found.baseline)
        paths = meta_test.draw(run, config, *measured, algorithm, held_out, theta)
    except _EXPECTED as error:
        return _failed(run, error, "fewer streams or steps")
    if options.json:
        print(json.dumps({"run_dir": str(run.path), "files": [str(path) for path in paths]}))
    else:
        print("\n".join(f"wrote {path}" for path in paths))
    return 0


def report_command(runs: list[RunDirectory], options: argparse.Namespace) -> int:
    """``metajax report``; returns the exit code."""
    from metajax.run import groups, report

    path = pathlib.Path(options.output or (runs[0].report if len(runs) == 1 else "report.html"))
    try:
        content = report.render([groups.read(run) for run in runs])
        if options.output is None and len(runs) == 1:
            runs[0].check()
        with files.replacing(path) as file:
            file.write(content)
    except _EXPECTED as error:
        return _failed(runs[0], error, "fewer streams or steps")
    if options.json:
        print(json.dumps({"run_dirs": [str(run.path) for run in runs], "files": [str(path)]}))
    else:
        print(f"wrote {path} ({len(content) / 1024:.0f} KiB)")
    return 0


def export_command(run: RunDirectory, config: Config, options: argparse.Namespace) -> int:
    """``metajax export``; returns the exit code."""
    algorithm, held_out = config.build()
    checkpoint = _chosen(run, options.checkpoint)
    if checkpoint is None:
        raise OptionError(str(run.path), "has no checkpoint yet; let it train further")
    path = pathlib.Path(options.output or run.policy)
    try:
        theta = algorithm.deploy(loop.restore_state(run, algorithm, checkpoint, config))
        phi, returns = None, None
        if options.task is not None:
            trial = _adapted(config, algorithm, held_out, theta, options.task)
            phi, returns = trial.phi, [round(float(one), 4) for one in trial.returns]
        exported = policy(
            algorithm, theta, phi, explore=not options.mode, num_streams=options.streams
        )
        if options.output is None:
            run.check()
        exported.save(path)
    except _EXPECTED as error:
        return _failed(run, error, "fewer streams")
    if options.json:
        about = {"run_dir": str(run.path), "checkpoint": checkpoint, **exported.about}
        print(json.dumps({**about, "returns": returns, "files": [str(path)]}))
        return 0
    if returns:
        words = AXES[algorithm.axis]
        score = f"{returns[0]:.4g} {words.first}, {returns[-1]:.4g} {words.last}"
        print(f"return in the held-out task of seed {options.task}: {score}")
    print(f"wrote {path} ({path.stat().st_size / 1024:.0f} KiB)")
    return 0


def _adapted(
    config: Config, algorithm: MetaAlgorithm, held_out: Family, theta: Any, seed: int
) -> Trial:
    """A trial in a held-out task."""
    if algorithm.axis == "episodes":
        name, problem = config.algorithm.name, "adapts while it acts; leave --task out"
        raise OptionError("--task", f'"{name}" {problem}')
    chosen = config.evaluate
    key_task, key_trial = jax.random.split(jax.random.key(seed))

    def run(key_task, key_trial, theta):
        sizes = {"num_adaptations": chosen.num_adaptations, "num_streams": chosen.num_streams}
        return algorithm.adapt(
            key_trial, theta, held_out.sample(key_task), family=held_out, **sizes
        )

    return jax.jit(run)(key_task, key_trial, theta)


def _failed(run: RunDirectory, error: Exception, less: str) -> int:
    """Prints the message of an ``_EXPECTED`` error; returns the exit code."""
    if isinstance(error, checkpoints.CheckpointError | Lost | loop.NotFinite):
        return failed(str(error))
    if isinstance(error, OSError):
        return failed(f"{error.filename or run.path} cannot be written ({error.strerror})")
    return failed(out_of_memory(error, less))


def _resume_point(run: RunDirectory, config: Config, options: argparse.Namespace) -> int | None:
    checkpoint = _chosen(run, options.checkpoint)
    if checkpoint is not None:
        checkpoints.check(run.checkpoints, checkpoint, run.id)
    loop.resume(run, config, checkpoint)
    later = [one for one in checkpoints.iterations(run.checkpoints) if one > (checkpoint or 0)]
    removed = f"; later checkpoints are removed: {', '.join(map(str, later))}" if later else ""
    say(f"continuing {run.path} at iteration {checkpoint or 0}{removed}")
    return checkpoint


def _unusable(error: checkpoints.CheckpointError) -> str:
    """The message of an unusable checkpoint, with the option that selects a sound one."""
    return str(error) if error.sound is None else f"{error}: --checkpoint {error.sound}"


def _chosen(run: RunDirectory, asked: int | None) -> int | None:
    kept = checkpoints.iterations(run.checkpoints)
    if asked is None:
        return kept[-1] if kept else None
    if asked not in kept:
        have = ", ".join(map(str, kept)) or "none yet"
        raise OptionError("--checkpoint", f"{asked} is not there; kept in {run.path}: {have}")
    return asked


def _measure(
    run: RunDirectory,
    config: Config,
    algorithm: MetaAlgorithm,
    held_out: Family,
    theta: Any,
    iteration: int,
) -> Measured:
    evaluation = meta_test.meta_test(config, algorithm, held_out, theta)
    baseline = meta_test.from_random(config, algorithm, held_out)
    record = meta_test.to_record(evaluation, baseline, config, iteration)
    run.write_evaluation(record)
    pictures = meta_test.draw(run, config, evaluation, baseline, algorithm, held_out, theta)
    return Measured(evaluation, baseline, record, [run.evaluation, *pictures])


def _summary(run: RunDirectory, outcome: loop.Outcome) -> dict[str, Any]:
    rate = outcome.env_steps_per_second
    return {
        "run_dir": str(run.path),
        "iteration": outcome.iteration,
        "interrupted": bool(outcome.exit_code),
        "env_steps": outcome.env_steps,
        "seconds": round(outcome.seconds, 3),
        "env_steps_per_second": None if rate != rate else round(rate, 1),
    }


def short(record: dict[str, Any]) -> dict[str, Any]:
    """The record of a meta-test without what is long, for ``--json``."""
    left_out = ("returns", "config", "from_random")
    kept = {name: value for name, value in record.items() if name not in left_out}
    return {**kept, "from_random": record["from_random"]["mean"]}


def _report(options: argparse.Namespace, measured: Measured, summary: dict[str, Any]) -> None:
    if options.json:
        files = [str(path) for path in measured.files]
        print(json.dumps({**summary, "evaluation": short(measured.record), "files": files}))
        return
    from metajax.run import tables

    print(tables.adaptation_table(measured.evaluation, measured.baseline))
    print("\n".join(f"wrote {path}" for path in measured.files))


def _resume(run: RunDirectory) -> str:
    return command("train", "--run-dir", run.path, "--resume")
