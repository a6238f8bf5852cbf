"""The command line: ``metajax train | evaluate | plot | table | list | bench``.

Nothing here imports jax before a command has checked all that it was given, so
``--help`` and mistakes are answered at once. Exit codes: 0 done, 1 failed, 2 a
mistake in the arguments or the config, 130 and 143 interrupted and saved.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pathlib
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from metajax import __version__
from metajax.core.options import OptionError, kebab, suggest
from metajax.run import extensions, machine
from metajax.run.console import command, failed

_EXAMPLES = """\
examples:
  metajax train configs/maml-point-navigation.toml
  metajax train configs/maml-point-navigation.toml --set algorithm.num-tasks=64 --set train.seed=1
  metajax train --run-dir runs/maml-point-navigation-seed-0 --resume
  metajax evaluate runs/maml-point-navigation-seed-0 --num-tasks 1000
  metajax table rl2-bandits --profile quick
  metajax --import my_tasks train my_config.toml
  metajax list
"""

_BENCH = """\
examples:
  metajax bench --num-tasks 40 --streams 20 --horizon 100
  metajax bench --sweep --json --plot throughput.png
  metajax bench --set outer=trpo --set fisher-tasks=8

Every line of --json has env_steps_per_second (median over the repeats, _min and _max
beside it), compile_seconds, fraction_of_matmul_ceiling (arithmetic that an iteration
needs, over the rate of matrix products at the same precision measured in between; null where it is
not counted), peak_memory_bytes (of memory_source: the devices, or on a CPU the whole
process, of which baseline_memory_bytes were in use before), the setting and the
environment.
"""

# Settings of the evaluation that have an option of their own, and its placeholder.
_MEASURED = {"num-tasks": "N", "num-adaptations": "K", "num-streams": "E", "seed": "SEED"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code.

    Args:
      arguments: words after ``metajax``; by default those of the process.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        imports, arguments = _imports(arguments)
        extensions.load(imports)
        options = _parsed(arguments)
        return options.run(options)
    except SystemExit as exit:  # argparse has printed its help or a mistake
        return exit.code if isinstance(exit.code, int) else 2
    except OptionError as error:
        return failed(str(error), 2)
    except KeyboardInterrupt:
        return failed("interrupted", 130)
    except BrokenPipeError:
        # The reader of the output left; let nothing be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _parsed(arguments: list[str]) -> argparse.Namespace:
    parser, commands = _parser()
    if arguments and not arguments[0].startswith("-") and arguments[0] not in commands:
        allowed = f"{suggest(arguments[0], commands)}allowed: {', '.join(commands)}"
        raise OptionError("COMMAND", f'"{arguments[0]}" is unknown; {allowed}')
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        name = next(word for word in arguments if word in commands)
        before = arguments.index(unknown[0]) < arguments.index(name)
        if before and unknown[0].partition("=")[0] in _option_names(commands[name]):
            raise OptionError(unknown[0], f"stands after the command: metajax {name} {unknown[0]}")
        raise _unknown(unknown[0], name, parser if before else commands[name])
    return options


def _option_names(parser: argparse.ArgumentParser) -> list[str]:
    return [one for action in parser._actions for one in action.option_strings if one[1] == "-"]


def _unknown(word: str, given: str, parser: argparse.ArgumentParser) -> OptionError:
    """The mistake of a word that the parser of the given command does not know."""
    if not word.startswith("--"):
        return OptionError(word, f"is one argument too many; see {parser.prog} --help")
    name = word.partition("=")[0]
    if name == "--import":
        return OptionError(name, f"stands before the command: metajax --import MODULE {given}")
    if given == "train" and name in _train_settings():
        return OptionError(name, f"is a setting of the config: --set train.{name[2:]}=VALUE")
    known = _option_names(parser)
    allowed = f"{suggest(name, known)}allowed: {', '.join(known)}"
    return OptionError(name, f"is no option of {parser.prog}; {allowed}")


def _train_settings() -> set[str]:
    """What one might take for options of the command."""
    from metajax.run import config as configs

    return {f"--{kebab(field.name)}" for field in dataclasses.fields(configs.TrainOptions)}


def _imports(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The modules of ``--import``, which stands before the command, and the rest."""
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
    from metajax.run import config as configs
    from metajax.run.directory import RunDirectory
    from metajax.run.loggers import check_installed

    run = RunDirectory(options.run_dir or _default_run_dir(options))
    run.check_free(options.resume, options.overwrite)
    if options.checkpoint is not None and not options.resume:
        raise OptionError("--checkpoint", "says where to resume from; give --resume as well")
    if options.config is None:
        config = run.read_config(options.set)
    else:
        config = configs.load(options.config, options.set)
    check_installed(config.train)
    prepare_jax(options.cache)
    from metajax.run.commands import train_command

    return train_command(run, config, options)


def _default_run_dir(options: argparse.Namespace) -> pathlib.Path:
    from metajax.run import config as configs

    if options.config is None:
        hint = (
            "with --resume, name the run: --run-dir DIR" if options.resume else "name a TOML file"
        )
        raise OptionError("CONFIG", f"is missing; {hint}")
    seed = configs.load(options.config, options.set).train.seed
    return pathlib.Path("runs") / f"{pathlib.Path(options.config).stem}-seed-{seed}"


def _evaluate(options: argparse.Namespace) -> int:
    from metajax.run.directory import RunDirectory

    run = RunDirectory(options.run_dir)
    overrides = [
        f"evaluate.{name}={getattr(options, name.replace('-', '_'))}"
        for name in _MEASURED
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


def _plot(options: argparse.Namespace) -> int:
    from metajax.run.directory import RunDirectory

    run = RunDirectory(options.run_dir)
    config = run.read_config()
    if not run.evaluation.is_file():
        raise OptionError(
            str(run.path), f"has no evaluation to plot; first {command('evaluate', run.path)}"
        )
    prepare_jax(options.cache)
    from metajax.run.commands import plot_command

    return plot_command(run, config, options)


def _table(options: argparse.Namespace) -> int:
    from metajax.experiments.table_command import table_command

    return table_command(options, lambda: prepare_jax(options.cache))


def _list(options: argparse.Namespace) -> int:
    from metajax.run import catalogue

    if options.json:
        print(json.dumps(catalogue.listed(options.name)))
    else:
        print(catalogue.render(options.name))
    return 0


def _bench(options: argparse.Namespace) -> int:
    from metajax.experiments.throughput import bench_command

    return bench_command(options)


def prepare_jax(cache: bool) -> None:
    """Sets environment variables that jax reads when it is imported.

    One host device for each core lets tasks share them; compiled programs are kept
    between runs. What the user has set stays as it is.

    Args:
      cache: whether to keep compiled programs; ``METAJAX_CACHE=off`` forbids it.
    """
    environ = os.environ
    flag = "--xla_force_host_platform_device_count"
    if flag not in environ.get("XLA_FLAGS", ""):
        flags = f"{environ.get('XLA_FLAGS', '')} {flag}={machine.num_cores()}"
        environ["XLA_FLAGS"] = flags.strip()
    if cache and environ.get("METAJAX_CACHE", "on") != "off":
        home = environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
        environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(pathlib.Path(home, "metajax", "xla")))
        environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
        environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")


class _Parser(argparse.ArgumentParser):
    """Mistakes end in one message on standard error, like those in a config."""

    def error(self, message: str) -> NoReturn:
        raise SystemExit(failed(f"{message}; see {self.prog} --help", 2))


def _parser() -> tuple[_Parser, dict[str, _Parser]]:
    """The parser, and those of the commands by name."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = _Parser(
        prog="metajax",
        description="High-throughput meta-reinforcement learning in JAX.",
        epilog=_EXAMPLES,
        formatter_class=raw,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--import",
        metavar="MODULE",
        help="import this first, which may register families and algorithms of your own",
    )
    parser.add_argument("--version", action="version", version=f"metajax {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, run: Any, text: str, **more: Any) -> argparse.ArgumentParser:
        one = commands.add_parser(
            name, help=text, description=text, formatter_class=raw, allow_abbrev=False, **more
        )
        one.set_defaults(run=run)
        return one

    _train_arguments(add("train", _train, "meta-train from a config, then meta-test"))
    _evaluate_arguments(
        add("evaluate", _evaluate, "meta-test a trained run; its evaluation is written anew")
    )
    plot = add("plot", _plot, "draw a run's evaluation again")
    plot.add_argument("run_dir", metavar="RUN_DIR", help="directory of a run")
    _common_arguments(plot)
    _table_arguments(add("table", _table, "run what is missing of a table, and show it"))
    listing = add("list", _list, "algorithms and task families, with their options")
    listing.add_argument("name", nargs="?", help="only this algorithm, family or section")
    listing.add_argument("--json", action="store_true", help="print one JSON object")
    _bench_arguments(
        add("bench", _bench, "measure environment steps a second, end to end", epilog=_BENCH)
    )
    return parser, commands.choices


def _train_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "config", metavar="CONFIG", nargs="?", help="TOML file; not needed with --resume"
    )
    parser.add_argument(
        "--set",
        metavar="SECTION.OPTION=VALUE",
        action="append",
        default=[],
        help="change one setting of the config, for example algorithm.num-tasks=64; "
        "may be given many times; metajax list shows every option",
    )
    parser.add_argument(
        "--run-dir", metavar="DIR", help="where to write; by default runs/CONFIG-seed-SEED"
    )
    parser.add_argument("--resume", action="store_true", help="continue from the last checkpoint")
    parser.add_argument(
        "--checkpoint",
        metavar="N",
        type=int,
        help="with --resume: continue from this one; later ones are removed",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a run that is there")
    _common_arguments(parser)


def _evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    from metajax.run import catalogue
    from metajax.run import config as configs

    parser.add_argument("run_dir", metavar="RUN_DIR", help="directory of a run")
    parser.add_argument(
        "--checkpoint", metavar="N", type=int, help="which checkpoint; by default the last"
    )
    for option in catalogue.options_of(configs.EvaluateOptions):
        if option["name"] in _MEASURED:
            text = f"{option['doc']} ({catalogue.allowed(option)})"
            parser.add_argument(f"--{option['name']}", metavar=_MEASURED[option["name"]], help=text)
    parser.add_argument(
        "--mode", action="store_true", help="measure the policy's mode, not sampled actions"
    )
    parser.add_argument(
        "--set",
        metavar="evaluate.OPTION=VALUE",
        action="append",
        default=[],
        help="change any setting of the evaluation, for example evaluate.family.radius=4.0",
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        help="where evaluation.json and pictures go; by default into the run directory, in the "
        "place of those there",
    )
    _common_arguments(parser)


def _table_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", nargs="?", help="a file of benchmarks/tables/")
    parser.add_argument(
        "--profile",
        choices=("quick", "full"),
        default="quick",
        help="how much of it: a part for a laptop (the default), or all of it",
    )
    parser.add_argument(
        "--only",
        metavar="ROW[/COLUMN]",
        nargs="+",
        action="extend",
        default=[],
        help="run these rows or cells only; 'ROW/*' fits every column",
    )
    parser.add_argument(
        "--seeds",
        metavar="SEED",
        type=int,
        nargs="+",
        action="extend",
        default=[],
        help="run these of the profile's seeds only",
    )
    parser.add_argument(
        "--resume", action="store_true", help="continue training that was interrupted"
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        help="where records, checkpoints and renderings go, and where records count from: a new "
        "directory measures everything anew; by default benchmarks/results/ (results/ beside "
        "--tables), runs/tables/trained/ and runs/tables/NAME/",
    )
    parser.add_argument(
        "--tables", metavar="DIR", default="benchmarks/tables", help="where definitions are"
    )
    _common_arguments(parser)


def _bench_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--algorithm", metavar="NAME", default="maml", help="default: maml")
    add("--family", metavar="NAME", default="point-navigation", help="default: point-navigation")
    add("--num-tasks", metavar="N", type=_count, nargs="+", help="one or more; default: 40")
    text = "episodes of a task and adaptation"
    add("--streams", metavar="E", type=_count, dest="num_streams", help=text)
    add("--horizon", metavar="T", type=_count, help="steps of an episode")
    add("--inner-steps", metavar="K", type=int, help="adaptations")
    add("--hidden-sizes", metavar="UNITS", type=_count, nargs="+", help="layers of the MLP")
    add(
        "--set",
        metavar="OPTION=VALUE",
        action="append",
        default=[],
        help="any option of the algorithm, or family.OPTION=VALUE; may be given many times",
    )
    add("--sweep", action="store_true", help="numbers of tasks from N to 16,384")
    add("--iterations", metavar="I", type=_count, help="meta-iterations of one call")
    add("--repeats", metavar="R", type=_count, default=5, help="timed calls; default: 5")
    add(
        "--devices",
        metavar="D",
        type=_count,
        help="devices that share the tasks; on a CPU host devices, one for each core by default",
    )
    add("--seed", type=int, default=0, help="default: 0")
    text = (
        "Python file with yardstick(family, options) -> (init, step) to be timed in turns with it"
    )
    add("--yardstick", metavar="FILE", help=text)
    add("--json", action="store_true", help="print one JSON object a line")
    add("--output", metavar="PATH", help="also append the records to this file")
    add("--plot", metavar="PATH", help="draw speed and memory over the number of tasks")


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not possible; allowed: at least 1")
    return value


def _common_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--no-cache",
        dest="cache",
        action="store_false",
        help="compile anew; METAJAX_CACHE=off does the same",
    )
