"""The commands, once their arguments are checked and jax may be imported."""

from __future__ import annotations

import argparse
import json
import pathlib
from typing import Any, NamedTuple

import jax

from metajax.core import files
from metajax.core.algorithm import MetaAlgorithm
from metajax.core.family import Family
from metajax.core.options import OptionError
from metajax.core.types import Trial
from metajax.evaluation import Evaluation
from metajax.exporting import policy
from metajax.run import checkpoints, loop, machine, meta_test
from metajax.run.axes import AXES
from metajax.run.config import Config
from metajax.run.console import command, failed, out_of_memory, say
from metajax.run.directory import Lost, RunDirectory

_EXPECTED = (
    *(checkpoints.CheckpointError, Lost, loop.NotFinite),
    *(OSError, jax.errors.JaxRuntimeError),
)


def train_command(run: RunDirectory, config: Config, options: argparse.Namespace) -> int:
    """``metajax train``; returns the exit code."""
    algorithm, held_out = config.build()
    loop.check_sizes(algorithm)
    meta_test.check_meta_test(config, algorithm, held_out)
    try:
        run.claim()
        run.check_free(options.resume, options.overwrite)  # again: it may have filled meanwhile
        checkpoint = _resume_point(run, config, options) if options.resume else None
        if options.overwrite:
            run.clear()
        run.write_config(config)
        say(f"training on {machine.place(machine.environment())}")
        outcome = loop.train_run(run, config, algorithm, checkpoint=checkpoint)
        if outcome.exit_code:
            say(f"saved checkpoint {outcome.iteration}; continue with: {_resume(run)}")
            if options.json:
                print(json.dumps(_summary(run, outcome)))
            return outcome.exit_code
        say(f"training finished; meta-test on {config.evaluate.num_tasks} held-out tasks")
        theta = algorithm.deploy(outcome.state)
        measured = _measure(run, config, algorithm, held_out, theta, outcome.iteration)
    except checkpoints.CheckpointError as error:
        return failed(_unusable(error))
    except (loop.NotFinite, Lost) as error:
        return failed(str(error))
    except OSError as error:
        problem = f"{error.filename or run.path} cannot be written ({error.strerror})"
        if not run.is_run():
            return failed(f"{problem}; nothing was started")
        return failed(
            f"{problem}; {checkpoints.kept(run.checkpoints)}; when there is room, continue with: "
            f"{_resume(run)}"
        )
    except jax.errors.JaxRuntimeError as error:
        less = "fewer tasks, streams or steps, or a smaller algorithm.microbatch,"
        return failed(out_of_memory(error, less))
    except KeyboardInterrupt:
        kept = checkpoints.kept(run.checkpoints)
        return failed(f"interrupted; {kept}; continue with: {_resume(run)}", 130)
    finally:
        run.release()
    _report(options, measured, _summary(run, outcome))
    return 0


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
    from metajax.run import report

    path = pathlib.Path(options.output or (runs[0].report if len(runs) == 1 else "report.html"))
    try:
        content = report.render([report.read(run) for run in runs])
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


class _Measured(NamedTuple):
    """A meta-test, the same from random weights, the record of both, and the files written."""

    evaluation: Evaluation
    baseline: Evaluation
    record: dict[str, Any]
    files: list[pathlib.Path]


def _measure(
    run: RunDirectory,
    config: Config,
    algorithm: MetaAlgorithm,
    held_out: Family,
    theta: Any,
    iteration: int,
) -> _Measured:
    evaluation = meta_test.meta_test(config, algorithm, held_out, theta)
    baseline = meta_test.from_random(config, algorithm, held_out)
    record = meta_test.to_record(evaluation, baseline, config, iteration)
    run.write_evaluation(record)
    pictures = meta_test.draw(run, config, evaluation, baseline, algorithm, held_out, theta)
    return _Measured(evaluation, baseline, record, [run.evaluation, *pictures])


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


def _report(options: argparse.Namespace, measured: _Measured, summary: dict[str, Any]) -> None:
    if options.json:
        record = measured.record
        left_out = ("returns", "config", "from_random")
        short = {name: value for name, value in record.items() if name not in left_out}
        short["from_random"] = record["from_random"]["mean"]
        files = [str(path) for path in measured.files]
        print(json.dumps({**summary, "evaluation": short, "files": files}))
        return
    from metajax.run import tables

    print(tables.adaptation_table(measured.evaluation, measured.baseline))
    print("\n".join(f"wrote {path}" for path in measured.files))


def _resume(run: RunDirectory) -> str:
    return command("train", "--run-dir", run.path, "--resume")
