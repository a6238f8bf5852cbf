"""``metajax train --seeds``: the same config with several seeds, and what they return."""

from __future__ import annotations

import argparse
import copy
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from metajax.core.axes import AXES
from metajax.core.options import OptionError
from metajax.experiments.table_results import Record, estimate, over_seeds
from metajax.run import config, tables
from metajax.run.config import Config
from metajax.run.console import command, failed, say
from metajax.run.directory import RunDirectory
from metajax.run.numbers import plain

_MOST = 1000
Run = tuple[RunDirectory, Config]


def runs(options: argparse.Namespace) -> list[Run]:
    """The directories and configs of ``--seeds``, checked before anything is written.

    Raises:
      OptionError: For a mistake in the arguments or the config, or a directory in use.
    """
    if options.config is None:
        raise OptionError("CONFIG", "is missing; --seeds trains one config with each seed")
    if options.checkpoint is not None:
        raise OptionError("--checkpoint", "is of one run; allowed: without --seeds")
    base = pathlib.Path("runs", pathlib.Path(options.config).stem)
    base = base if options.run_dir is None else pathlib.Path(options.run_dir)
    found = []
    for seed in _seeds(options):
        one = config.load(options.config, [*options.set, f"train.seed={seed}"])
        run = RunDirectory(base.with_name(f"{base.name}-seed-{seed}"))
        run.check_free(_resumes(run, options), options.overwrite)
        found.append((run, one))
    return found


def train_command(every: Sequence[Run], options: argparse.Namespace) -> int:
    """Trains runs one after another and prints their summary; returns the exit code.

    Raises:
      OptionError: For settings that do not fit together, before anything is written.
    """
    from metajax.run import commands

    algorithm, held_out = commands.checked(every[0][1])
    again, code, ended = _again(options), 0, {}
    for number, (run, one) in enumerate(every, start=1):
        seed, words = one.train.seed, copy.copy(options)
        words.resume = _resumes(run, options)
        about: dict[str, Any] = {"seed": seed, "run_dir": str(run.path), "exit_code": 0}
        ended[seed] = about
        record = _finished(run, one) if words.resume else None
        place = f"[{number}/{len(every)}] seed {seed}"
        if record is not None:
            say(f"{place}: finished before, in {run.path}")
            about["evaluation"] = record
            continue
        say(f"{place}: in {run.path}")
        try:
            end = commands.train_one(run, one, algorithm, held_out, words, again)
        except OptionError as error:
            end = commands.Ended(failed(str(error), 2))
        about |= {**(end.summary or {}), "exit_code": end.code}
        code = code or end.code
        if end.measured is not None:
            about["evaluation"] = end.measured.record
        if end.ends_all:
            break
    measured = {seed: one["evaluation"] for seed, one in ended.items() if "evaluation" in one}
    not_run = [one.train.seed for _, one in every if one.train.seed not in ended]
    if code:
        failures = [seed for seed in ended if seed not in measured]
        said = {"finished": measured, "did not finish": failures, "not started": not_run}
        parts = (f"{words}: {', '.join(map(str, of))}" for words, of in said.items() if of)
        failed(f"seeds {'; '.join(parts)}; continue with: {again}")
    if options.json:
        for one in ended.values():
            one |= {"evaluation": commands.short(one["evaluation"])} if "evaluation" in one else {}
        print(json.dumps({"runs": [*ended.values()], "not_started": not_run, **summary(measured)}))
    elif measured:
        print(tables.text(*grid(measured)))
    return code


def summary(measured: Mapping[int, Record]) -> dict[str, Any]:
    """``mean`` and ``interval`` (95%) of each return over seeds and tasks, for ``--json``."""
    values = estimate([*measured.values()]) if measured else []
    ends = [[one.low for one in values], [one.high for one in values]]
    return {"mean": [one.value for one in values], "interval": plain(ends)}


def grid(measured: Mapping[int, Record]) -> tuple[tables.Grid, str]:
    """The meta-tests of several seeds as a table, a line for each return, and its title."""
    from metajax.run import meta_test

    pairs = [meta_test.from_record(dict(one)) for one in measured.values()]
    first, untrained = pairs[0]
    trained = [tables.with_total(one) for one, _ in pairs]
    means = [one.mean() for one in (tables.with_total(untrained), *trained)]
    values = over_seeds(trained)
    headers = [AXES[first.axis].unit, f"mean {first.score}", "95% interval", "random init."]
    headers += [f"seed {seed}" for seed in measured]
    labels, rows = tables.labels_of(first), []
    for at in tables.shown_of(labels):
        value, low, high = values[at]
        interval = "–" if math.isnan(low) else f"{low:.2f} to {high:.2f}"
        rows.append([labels[at], f"{value:.2f}", interval, *(f"{one[at]:.2f}" for one in means)])
    over = "seeds and tasks" if len(measured) > 1 else "the tasks of a single seed"
    number = len(first.returns)
    title = f"{first.score.capitalize()} on {number} held-out tasks, 95% interval over {over}"
    return tables.Grid(headers, rows, tables.left_out(labels, first.axis)), title


def _seeds(options: argparse.Namespace) -> Sequence[int]:
    """The seeds that ``--seeds`` stands for."""
    given = options.seeds
    if len(given) == 1:
        (number,) = given
        if not 1 <= number <= _MOST:
            problem = f"{number} is not possible; allowed: 1 to {_MOST}, the number of runs; the"
            raise OptionError("--seeds", f"{problem} run of one seed is --set train.seed=SEED")
        first = config.load(options.config, options.set).train.seed
        return range(first, first + number)
    if twice := [seed for seed in given if given.count(seed) > 1]:
        raise OptionError("--seeds", f"{twice[0]} is there twice; seeds must differ")
    for override in options.set:
        if override.partition("=")[0].strip() == "train.seed":
            problem = "says one seed, and --seeds others; leave one of them out"
            raise OptionError(f"--set {override}", problem)
    return given


def _resumes(run: RunDirectory, options: argparse.Namespace) -> bool:
    """Whether a run is continued: with ``--resume`` one that was never begun is started."""
    return options.resume and (run.is_run() or options.overwrite)


def _finished(run: RunDirectory, one: Config) -> dict[str, Any] | None:
    """The meta-test of a run that ended with these settings; None where something is left to do."""
    from metajax.run import meta_test

    try:
        record = meta_test.read(run)
    except (OSError, ValueError):
        return None
    is_of_these = record.get("config_digest") == one.digest()
    return record if is_of_these and record["checkpoint"] == one.train.num_iterations else None


def _again(options: argparse.Namespace) -> str:
    """The command that continues."""
    words = ["train", options.config, "--seeds", *options.seeds]
    words += [word for one in options.set for word in ("--set", one)]
    words += ["--run-dir", options.run_dir] if options.run_dir is not None else []
    return command(*words, "--resume")
