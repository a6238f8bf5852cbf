"""Arguments of the commands, and their help."""

from __future__ import annotations

import argparse
from typing import NoReturn

from metajax import __version__
from metajax.run import catalogue
from metajax.run.config import EvaluateOptions
from metajax.run.console import failed

MEASURED = {"num-tasks": "N", "num-adaptations": "K", "num-streams": "E", "seed": "SEED"}
"""Settings of ``[evaluate]`` with an option of their own, and its placeholder."""

_EXAMPLES = """\
examples:
  metajax train configs/maml-point-navigation.toml
  metajax train configs/maml-point-navigation.toml --set algorithm.num-tasks=64 --set train.seed=1
  metajax train --run-dir runs/maml-point-navigation-seed-0 --resume
  metajax evaluate runs/maml-point-navigation-seed-0 --num-tasks 1000
  metajax table rl2-bandits --profile quick
  metajax --import my_tasks train my_config.toml
  metajax list maml

metajax COMMAND --help shows the options of a command.
"""

_TRAIN = """\
Meta-train from a config, then meta-test on held-out tasks.

The run directory holds config.toml, metrics.jsonl, checkpoints/, evaluation.json and pictures.
Ctrl-C finishes the current block and saves; --resume continues bit for bit.

examples:
  metajax train configs/maml-point-navigation.toml --set algorithm.num-tasks=64 --set train.seed=1
  metajax train --run-dir runs/maml-point-navigation-seed-1 --resume
"""

_EVALUATE = """\
Meta-test a trained run on held-out tasks, and replace evaluation.json and its pictures.

Settings that are not given are those in [evaluate] of the run's config.

examples:
  metajax evaluate runs/maml-point-navigation-seed-0 --num-tasks 1000 --seed 1
  metajax evaluate runs/maml-point-navigation-seed-0 --checkpoint 100 --output runs/at-100
"""

_TABLE = """\
Run the missing cells of a table, and print the table.

examples:
  metajax table rl2-bandits                          # a part that fits a laptop
  metajax table snail --profile full --only 'maml/n=10,*' --seeds 0
"""

_LIST = """\
List algorithms, task families and config sections, or the options of one of them.

examples:
  metajax list
  metajax list maml
  metajax list evaluate --json
"""

_BENCH = """\
Measure environment steps a second, end to end.

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


class Parser(argparse.ArgumentParser):
    """A parser that reports a mistake in one line, as for a config."""

    def error(self, message: str) -> NoReturn:
        raise SystemExit(failed(f"{message}; see {self.prog} --help", 2))


def parser() -> tuple[Parser, dict[str, Parser]]:
    """The parser of the command line, and the parsers of the commands by name."""
    raw = argparse.RawDescriptionHelpFormatter
    main = Parser(
        prog="metajax",
        description="High-throughput meta-reinforcement learning in JAX.",
        epilog=_EXAMPLES,
        formatter_class=raw,
        allow_abbrev=False,
    )
    main.add_argument(
        "--import",
        metavar="MODULE",
        help="import MODULE first, to register task families and algorithms of your own",
    )
    main.add_argument("--version", action="version", version=f"metajax {__version__}")
    subparsers = main.add_subparsers(dest="command", metavar="COMMAND", required=True)
    texts = {
        "train": ("meta-train from a config, then meta-test", _TRAIN, _train),
        "evaluate": ("meta-test a trained run", _EVALUATE, _evaluate),
        "plot": ("redraw the pictures of a run", "Redraw the pictures of a run.", _plot),
        "table": ("run the missing cells of a table, and print it", _TABLE, _table),
        "list": ("list algorithms, task families and their options", _LIST, _list),
        "bench": ("measure environment steps a second", _BENCH, _bench),
    }
    for name, (summary, text, add_arguments) in texts.items():
        one = subparsers.add_parser(
            name, help=summary, description=text, formatter_class=raw, allow_abbrev=False
        )
        add_arguments(one)
    return main, subparsers.choices


def _train(one: Parser) -> None:
    one.add_argument("config", metavar="CONFIG", nargs="?", help="TOML file; optional to resume")
    _add_settings(
        one,
        "SECTION.OPTION=VALUE",
        "change a setting of the config, for example algorithm.num-tasks=64; repeatable; "
        "metajax list NAME shows the options of a section, family or algorithm",
    )
    one.add_argument("--run-dir", metavar="DIR", help="default: runs/CONFIG-seed-SEED")
    one.add_argument("--resume", action="store_true", help="continue from the last checkpoint")
    one.add_argument(
        "--checkpoint",
        metavar="N",
        type=int,
        help="with --resume: continue from iteration N and remove later checkpoints",
    )
    one.add_argument("--overwrite", action="store_true", help="replace an existing run")
    _add_common(one)


def _evaluate(one: Parser) -> None:
    _add_run_dir(one)
    one.add_argument(
        "--checkpoint", metavar="N", type=int, help="checkpoint of iteration N; default: the last"
    )
    for option in catalogue.options_of(EvaluateOptions):
        if option["name"] in MEASURED:
            doc = option["doc"].rstrip(".")
            text = f"{doc[:1].lower()}{doc[1:]} ({catalogue.allowed(option)})"
            one.add_argument(f"--{option['name']}", metavar=MEASURED[option["name"]], help=text)
    one.add_argument(
        "--mode", action="store_true", help="act by the mode of the policy instead of samples"
    )
    _add_settings(
        one,
        "evaluate.OPTION=VALUE",
        "change a setting of the evaluation, for example evaluate.family.goal-radius=0.3; "
        "repeatable",
    )
    one.add_argument(
        "--output",
        metavar="DIR",
        help="directory for evaluation.json and pictures; default: the run directory",
    )
    _add_common(one)


def _plot(one: Parser) -> None:
    _add_run_dir(one)
    _add_common(one)


def _table(one: Parser) -> None:
    one.add_argument(
        "name", metavar="NAME", nargs="?", help="table to run: a file in --tables, without .toml"
    )
    one.add_argument(
        "--profile",
        choices=("quick", "full"),
        default="quick",
        help="size of the table: quick for a laptop (default), or full",
    )
    one.add_argument(
        "--only",
        metavar="ROW[/COLUMN]",
        nargs="+",
        action="extend",
        default=[],
        help="run only these rows or cells; 'ROW/*' for all columns",
    )
    one.add_argument(
        "--seeds",
        metavar="SEED",
        type=int,
        nargs="+",
        action="extend",
        default=[],
        help="run only these seeds of the profile",
    )
    one.add_argument("--resume", action="store_true", help="continue interrupted training")
    one.add_argument(
        "--output",
        metavar="DIR",
        help="directory for records, checkpoints and renderings; only its records count, so a "
        "new directory measures everything again; default: benchmarks/results/ (results/ beside "
        "--tables), runs/tables/trained/ and runs/tables/NAME/",
    )
    one.add_argument(
        "--tables",
        metavar="DIR",
        default="benchmarks/tables",
        help="directory of table definitions; default: %(default)s",
    )
    _add_common(one)


def _list(one: Parser) -> None:
    one.add_argument(
        "name", metavar="NAME", nargs="?", help="an algorithm, task family or config section"
    )
    _add_json(one)


def _bench(one: Parser) -> None:
    add = one.add_argument
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


def _add_run_dir(one: Parser) -> None:
    one.add_argument("run_dir", metavar="RUN_DIR", help="directory of a run")


def _add_settings(one: Parser, metavar: str, text: str) -> None:
    one.add_argument("--set", metavar=metavar, action="append", default=[], help=text)


def _add_json(one: Parser) -> None:
    one.add_argument("--json", action="store_true", help="print the result as one JSON object")


def _add_common(one: Parser) -> None:
    _add_json(one)
    one.add_argument(
        "--no-cache",
        dest="cache",
        action="store_false",
        help="compile anew instead of reading cached programs; also METAJAX_CACHE=off",
    )
