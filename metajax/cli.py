"""The command line: ``metajax COMMAND``.

jax is imported only after a command has checked its arguments, so ``--help`` and mistakes
are answered at once. Exit codes: 0 success, 1 failure, 2 a mistake in the arguments or the
config, 130 and 143 interrupted and saved.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pathlib
import sys
from collections.abc import Sequence

from metajax.core.options import OptionError, kebab, suggest
from metajax.run import catalogue, extensions, machine, shipped
from metajax.run import config as configs
from metajax.run.arguments import MEASURED, parser
from metajax.run.console import command, failed, say
from metajax.run.directory import RunDirectory
from metajax.run.loggers import check_installed
from metajax.run.records import Unreadable
from metajax.run.signals import termination


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code.

    Args:
      arguments: Words after ``metajax``. Default: those of the process.
    """
    with termination():
        return _main(list(sys.argv[1:] if arguments is None else arguments))


def _main(arguments: list[str]) -> int:
    try:
        _check_text(arguments)
        imports, arguments = _imports(arguments)
        extensions.load(imports)
        options = _parsed(arguments)
        return _COMMANDS[options.command](options)
    except SystemExit as exit:  # argparse has printed its help or a mistake
        return exit.code if isinstance(exit.code, int) else 2
    except OptionError as error:
        return failed(str(error), 2)
    except Unreadable as error:
        return failed(str(error))
    except KeyboardInterrupt:
        return failed("interrupted", 130)
    except BrokenPipeError:
        # The reader of the output is gone; the flush at exit must not fail either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        what = f"{error.filename} cannot be used" if error.filename else "the system refused"
        return failed(f"{what} ({error.strerror or error})")


def _check_text(arguments: list[str]) -> None:
    for one in arguments:
        try:
            one.encode()
        except UnicodeEncodeError:
            raise OptionError(ascii(one), "is not text; allowed: UTF-8") from None


def _parsed(arguments: list[str]) -> argparse.Namespace:
    main_parser, commands = parser()
    if arguments and not arguments[0].startswith("-") and arguments[0] not in commands:
        allowed = f"{suggest(arguments[0], commands)}allowed: {', '.join(commands)}"
        raise OptionError("COMMAND", f'"{arguments[0]}" is unknown; {allowed}')
    options, unknown = main_parser.parse_known_args(arguments)
    if unknown:
        name = next(word for word in arguments if word in commands)
        before = arguments.index(unknown[0]) < arguments.index(name)
        if before and unknown[0].partition("=")[0] in _option_names(commands[name]):
            raise OptionError(unknown[0], f"stands after the command: metajax {name} {unknown[0]}")
        raise _unknown(unknown[0], name, main_parser if before else commands[name])
    return options


def _option_names(parser: argparse.ArgumentParser) -> list[str]:
    return [one for action in parser._actions for one in action.option_strings if one[1] == "-"]


def _unknown(word: str, given: str, parser: argparse.ArgumentParser) -> OptionError:
    """The error for an argument that the parser of the given command does not know."""
    if not word.startswith("--"):
        return OptionError(word, f"is one argument too many; see {parser.prog} --help")
    name = word.partition("=")[0]
    if name == "--import":
        return OptionError(name, f"stands before the command: metajax --import MODULE {given}")
    settings = [f"--{kebab(field.name)}" for field in dataclasses.fields(configs.TrainOptions)]
    if given == "train" and name in settings:
        return OptionError(name, f"is a setting of the config: --set train.{name[2:]}=VALUE")
    known = _option_names(parser)
    allowed = f"{suggest(name, known)}allowed: {', '.join(known)}"
    return OptionError(name, f"is not an option of {parser.prog}; {allowed}")


def _imports(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The modules given by ``--import`` before the command, and the other arguments."""
    found = []
    while arguments and arguments[0].partition("=")[0] == "--import":
        name, rest = arguments[0].partition("=")[2], arguments[1:]
        if "=" not in arguments[0]:
            name, rest = "".join(rest[:1]), rest[1:]
        if not name:
            raise OptionError("--import", "is followed by nothing; allowed: the name of a module")
        found.append(name)
        arguments = rest
    return found, arguments


def _train(options: argparse.Namespace) -> int:
    if options.config is not None:
        _say_taken(options.config)
    if options.seeds is not None:
        return _train_seeds(options)
    config = None if options.config is None else configs.load(options.config, options.set)
    given = options.run_dir
    run = RunDirectory(_default_run_dir(options, config) if given is None else given)
    run.check_free(options.resume, options.overwrite)
    if options.checkpoint is not None and not options.resume:
        raise OptionError("--checkpoint", "says where to resume from; give --resume as well")
    if config is None:
        config = run.read_config(options.set)
    check_installed(config.train)
    prepare_jax(options.cache)
    from metajax.run.commands import train_command

    return train_command(run, config, options)


def _say_taken(given: str) -> None:
    path, named = configs.locate(given), shipped.config(given)
    if named is not None and (text := shipped.shadowing(path, named)):
        say(text)


def _default_run_dir(options: argparse.Namespace, config: configs.Config | None) -> pathlib.Path:
    if config is None:
        resuming = "with --resume, name the run: --run-dir DIR"
        hint = resuming if options.resume else "name a TOML file"
        raise OptionError("CONFIG", f"is missing; {hint}")
    return pathlib.Path("runs") / f"{pathlib.Path(options.config).stem}-seed-{config.train.seed}"


def _train_seeds(options: argparse.Namespace) -> int:
    from metajax.experiments import seeds

    runs = seeds.runs(options)
    check_installed(runs[0][1].train)
    prepare_jax(options.cache)
    return seeds.train_command(runs, options)


def _evaluate(options: argparse.Namespace) -> int:
    run = RunDirectory(options.run_dir)
    overrides = [
        f"evaluate.{name}={getattr(options, name.replace('-', '_'))}"
        for name in MEASURED
        if getattr(options, name.replace("-", "_")) is not None
    ]
    if options.mode:
        overrides.append("evaluate.explore=false")
    for one in options.set:
        if not one.startswith("evaluate."):
            raise OptionError(f"--set {one}", "allowed: evaluate.NAME=VALUE; the rest was trained")
    overrides += options.set
    config = run.read_config(overrides)
    prepare_jax(options.cache)
    from metajax.run.commands import evaluate_command

    return evaluate_command(run, config, options)


def _reproduce(options: argparse.Namespace) -> int:
    original = RunDirectory(options.run_dir)
    config = original.read_config()
    whole = original.path.resolve()
    run = RunDirectory(options.output or pathlib.Path("runs", f"{whole.name}-reproduced"))
    if run.path.resolve().is_relative_to(whole):
        problem = "is in the run itself, where nothing is written; choose another directory"
        raise OptionError("--run-dir", f"{run.path} {problem}")
    run.check_free(options.resume, options.overwrite)
    prepare_jax(options.cache)
    from metajax.run.commands import reproduce_command

    return reproduce_command(original, run, config, options)


def _plot(options: argparse.Namespace) -> int:
    if len(options.run_dirs) > 1 or options.output or options.metric or options.by:
        return _compare(options)
    run = RunDirectory(options.run_dirs[0])
    config = run.read_config()
    if not run.evaluation.is_file():
        raise OptionError(
            str(run.path), f"has no evaluation to plot; first {command('evaluate', run.path)}"
        )
    prepare_jax(options.cache)
    from metajax.run.commands import plot_command

    return plot_command(run, config, options)


def _compare(options: argparse.Namespace) -> int:
    from metajax.experiments import comparison

    comparison.check(options)
    prepare_jax(options.cache)
    return comparison.plot_command(options)


def _report(options: argparse.Namespace) -> int:
    runs = [RunDirectory(path) for path in dict.fromkeys(options.run_dirs)]
    for run in runs:
        run.read_config()
    _check_output(options.output)
    prepare_jax(options.cache)
    from metajax.run.commands import report_command

    return report_command(runs, options)


def _check_output(given: str | None) -> None:
    """Raises OptionError for a file that cannot be written, before anything is computed."""
    path = pathlib.Path(given or "file")
    problem = f"there is no directory {path.parent}" if not path.parent.is_dir() else ""
    problem = "is a directory; allowed: a file" if path.is_dir() else problem
    if given is not None and problem:
        raise OptionError(f"--output {given}", problem)


def _export(options: argparse.Namespace) -> int:
    run = RunDirectory(options.run_dir)
    config = run.read_config()
    if options.task is not None and options.task < 0:
        raise OptionError("--task", f"{options.task} is not possible; allowed: at least 0")
    _check_output(options.output)
    prepare_jax(options.cache)
    from metajax.run.commands import export_command

    return export_command(run, config, options)


def _table(options: argparse.Namespace) -> int:
    from metajax.experiments.table_command import table_command

    return table_command(options, lambda: prepare_jax(options.cache))


def _list(options: argparse.Namespace) -> int:
    if options.name in catalogue.LISTS:
        titles = _titles(options.name)
        text = "\n".join(f"  {name:<{max(map(len, titles))}}  {titles[name]}" for name in titles)
        print(json.dumps(titles) if options.json else f"{text}\n\n{_HINTS[options.name]}")
    elif options.json:
        print(json.dumps(catalogue.listed(options.name)))
    else:
        print(catalogue.render(options.name))
    return 0


_HINTS = {
    "configs": "metajax train NAME trains with one, and --set SECTION.OPTION=VALUE changes it.",
    "tables": """\
metajax table NAME prints one with the results that are recorded, and runs what is missing: of its
quick profile for a laptop, or with --profile full of all of it. A TOML file of your own with
extends = "NAME" adds rows to one: metajax table my.toml""",
    "zoo": 'metajax.zoo.load("NAME") gives one to Python, as metajax.load_run gives a run.',
}


def _titles(name: str) -> dict[str, str]:
    """Titles of everything shipped of one kind of ``catalogue.LISTS``, by name."""
    if name == "configs":
        return shipped.config_titles()
    if name == "zoo":
        from metajax import zoo

        return zoo.titles()
    from metajax.experiments import table_definition

    return table_definition.titles()


def _bench(options: argparse.Namespace) -> int:
    from metajax.experiments.throughput import bench_command

    return bench_command(options)


_COMMANDS = {
    one.__name__[1:]: one
    for one in (_train, _evaluate, _reproduce, _plot, _report, _export, _table, _list, _bench)
}


def prepare_jax(cache: bool) -> None:
    """Sets the environment variables that jax reads on import.

    One host device per core shards tasks over the cores, and compiled programs are cached
    between runs. Variables set by the user stay unchanged.

    Args:
      cache: Cache compiled programs, unless ``METAJAX_CACHE=off``.
    """
    environ = os.environ
    flag = "--xla_force_host_platform_device_count"
    if flag not in environ.get("XLA_FLAGS", ""):
        flags = f"{environ.get('XLA_FLAGS', '')} {flag}={machine.num_cores()}"
        environ["XLA_FLAGS"] = flags.strip()
    if cache and environ.get("METAJAX_CACHE", "on") != "off":
        home = environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        if not os.path.isabs(home):  # of a user without a home
            return
        environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(pathlib.Path(home, "metajax", "xla")))
        environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
        environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
