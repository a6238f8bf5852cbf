"""Arguments of the commands, and their help."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from metajax import __version__
from metajax.run import catalogue
from metajax.run.config import EvaluateOptions
from metajax.run.console import failed

MEASURED = {"num-tasks": "N", "num-adaptations": "K", "num-streams": "E", "seed": "SEED"}
"""Settings of ``[evaluate]`` with an option of their own, and its placeholder."""

_MAIN = """\
High-throughput meta-reinforcement learning in JAX.

examples:
  metajax train configs/maml-point-navigation.toml
  metajax evaluate runs/maml-point-navigation-seed-0 --num-tasks 1000
  metajax report runs/maml-point-navigation-seed-0
  metajax export runs/maml-point-navigation-seed-0 --task 7
  metajax table rl2-bandits --profile quick
  metajax --import my_tasks train my_config.toml
  metajax list maml
"""

_TRAIN = """\
Meta-train from a config, then meta-test on held-out tasks. The run directory holds
config.toml, metrics.jsonl, checkpoints/, evaluation.json and pictures. Ctrl-C finishes the
current block and saves; --resume continues bit for bit.

examples:
  metajax train configs/maml-point-navigation.toml --set algorithm.num-tasks=64 --set train.seed=1
  metajax train --run-dir runs/maml-point-navigation-seed-1 --resume
"""

_EVALUATE = """\
Meta-test a trained run on held-out tasks, and replace evaluation.json and its pictures.
Settings that are not given are those in [evaluate] of the config of the run.

examples:
  metajax evaluate runs/maml-point-navigation-seed-0 --num-tasks 1000 --seed 1
  metajax evaluate runs/maml-point-navigation-seed-0 --checkpoint 100 --output runs/at-100
"""

_REPORT = """\
Write one HTML file about runs, which needs nothing but a browser: adaptation to held-out tasks
beside oracle and random actions, the policy in sample tasks before and after it adapts, training,
throughput, settings and environment. Several runs share the pictures; those that differ in their
seed alone are one curve with its range.

examples:
  metajax report runs/rl2-gridnavi-seed-0
  metajax report runs/maml-sinusoid-seed-* runs/imaml-sinusoid-seed-* --output both.html
"""

_EXPORT = """\
Write the policy of a trained run to one file: programs for CPUs, GPUs and TPUs with the weights
inside, which metajax.load_policy or jax.export alone reads back. A policy with a memory adapts
while it acts; one of gradient steps is exported as it is before them, or with --task after them.

examples:
  metajax export runs/rl2-gridnavi-seed-0
  metajax export runs/maml-point-navigation-seed-0 --task 7 --mode --output adapted.zip
"""

_TABLE = """\
Run the missing cells of a table, and print the table.

examples:
  metajax table rl2-bandits
  metajax table snail --profile full --only 'maml/n=10,*' --seeds 0
"""

_LIST = """\
List algorithms, task families and config sections, the options of one of them, or the tables.

examples:
  metajax list
  metajax list evaluate --json
  metajax list tables
"""

_BENCH = """\
Measure environment steps per second of whole meta-iterations, end to end.

examples:
  metajax bench --num-tasks 40 --streams 20 --horizon 100
  metajax bench --sweep --json --plot throughput.png
  metajax bench --set outer=trpo --set fisher-tasks=8
  metajax bench --algorithm cavia --yardstick maml
  metajax bench --algorithm cavia --yardstick maml

A line of --json has env_steps_per_second (median over the repeats, with _min and _max),
compile_seconds, fraction_of_matmul_ceiling (necessary arithmetic over the rate of matrix
products at the same precision, measured in between; null if not counted),
peak_memory_bytes (memory_source says whether of the devices or, on a CPU, of the process,
with baseline_memory_bytes in use before), the setting and the environment.
"""


class Parser(argparse.ArgumentParser):
    """A parser that reports a mistake in one line, as for a config."""

    def error(self, message: str) -> NoReturn:
        raise SystemExit(failed(f"{message}; see {self.prog} --help", 2))


def parser() -> tuple[Parser, dict[str, Parser]]:
    """The parser of the command line, and the parsers of the commands by name."""
    style: dict[str, Any] = {
        "formatter_class": argparse.RawDescriptionHelpFormatter,
        "allow_abbrev": False,
    }
    main = Parser(prog="metajax", description=_MAIN, **style)
    text = "import MODULE first, to register task families and algorithms of your own"
    main.add_argument("--import", metavar="MODULE", help=text)
    main.add_argument("--version", action="version", version=f"metajax {__version__}")
    commands = main.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, summary: str, text: str) -> Parser:
        return commands.add_parser(name, help=summary, description=text, **style)

    _train(add("train", "meta-train from a config, then meta-test", _TRAIN))
    _evaluate(add("evaluate", "meta-test a trained run", _EVALUATE))
    _plot(add("plot", "redraw the pictures of a run", "Redraw the pictures of a run."))
    _report(add("report", "write an HTML page about runs", _REPORT))
    _export(add("export", "write the policy of a run to a file", _EXPORT))
    _table(add("table", "run the missing cells of a table, and print it", _TABLE))
    _list(add("list", "list algorithms, task families and their options", _LIST))
    _bench(add("bench", "measure environment steps per second", _BENCH))
    return main, commands.choices


def _train(one: Parser) -> None:
    text = "TOML file; optional to resume"
    one.add_argument("config", metavar="CONFIG", type=_path, nargs="?", help=text)
    _add_settings(
        one,
        "SECTION.OPTION=VALUE",
        "change a setting of the config, for example algorithm.num-tasks=64; repeatable; "
        "metajax list NAME shows the options of a section, family or algorithm",
    )
    text = "default: runs/CONFIG-seed-SEED"
    one.add_argument("--run-dir", metavar="DIR", type=_path, help=text)
    one.add_argument("--resume", action="store_true", help="continue from the last checkpoint")
    text = "with --resume: continue from iteration N and remove later checkpoints"
    one.add_argument("--checkpoint", metavar="N", type=int, help=text)
    one.add_argument("--overwrite", action="store_true", help="replace an existing run")
    _add_common(one)


def _evaluate(one: Parser) -> None:
    _add_run_dir(one)
    text = "checkpoint of iteration N; default: the last one"
    one.add_argument("--checkpoint", metavar="N", type=int, help=text)
    for option in catalogue.options_of(EvaluateOptions):
        if option["name"] in MEASURED:
            doc = option["doc"].rstrip(".")
            text = f"{doc[:1].lower()}{doc[1:]} ({catalogue.allowed(option)})"
            one.add_argument(f"--{option['name']}", metavar=MEASURED[option["name"]], help=text)
    text = "act by the mode of the policy instead of samples"
    one.add_argument("--mode", action="store_true", help=text)
    _add_settings(
        one,
        "evaluate.OPTION=VALUE",
        "change a setting of the evaluation, for example evaluate.family.goal-radius=0.3; "
        "repeatable",
    )
    text = "directory for evaluation.json and pictures; default: the run directory"
    one.add_argument("--output", metavar="DIR", type=_path, help=text)
    _add_common(one)


def _plot(one: Parser) -> None:
    _add_run_dir(one)
    _add_common(one)


def _report(one: Parser) -> None:
    text = "directories of runs"
    one.add_argument("run_dirs", metavar="RUN_DIR", type=_path, nargs="+", help=text)
    text = "file to write; default: report.html, for one run in its directory"
    one.add_argument("--output", metavar="FILE", type=_path, help=text)
    _add_common(one)


def _export(one: Parser) -> None:
    _add_run_dir(one)
    text = "file to write; default: policy.zip in the run directory"
    one.add_argument("--output", metavar="FILE", help=text)
    text = "checkpoint of iteration N; default: the last one"
    one.add_argument("--checkpoint", metavar="N", type=int, help=text)
    text = "first adapt in the held-out task of this seed, as [evaluate] of the config says"
    one.add_argument("--task", metavar="SEED", type=int, help=text)
    text = "act by the mode of the policy instead of samples"
    one.add_argument("--mode", action="store_true", help=text)
    text = "act in E streams side by side; default: in one, without an axis"
    one.add_argument("--streams", metavar="E", type=_count, help=text)
    _add_common(one)


def _table(one: Parser) -> None:
    many: dict[str, Any] = {"nargs": "+", "action": "extend", "default": []}
    text = "table to run: a file in --tables, without .toml"
    one.add_argument("name", metavar="NAME", nargs="?", help=text)
    text = "size of the table: quick for a laptop (default), or full"
    one.add_argument("--profile", choices=("quick", "full"), default="quick", help=text)
    text = "run only these rows or cells; 'ROW/*' for all columns"
    one.add_argument("--only", metavar="ROW[/COLUMN]", help=text, **many)
    text = "run only these seeds of the profile"
    one.add_argument("--seeds", metavar="SEED", type=int, help=text, **many)
    one.add_argument("--resume", action="store_true", help="continue interrupted training")
    one.add_argument(
        "--output",
        metavar="DIR",
        type=_path,
        help="directory for records, checkpoints and renderings; only its records count, so a "
        "new directory measures everything again; default: benchmarks/results/ (results/ beside "
        "--tables), runs/tables/trained/ and runs/tables/NAME/",
    )
    text = "directory of table definitions; default: %(default)s"
    default = "benchmarks/tables"
    one.add_argument("--tables", metavar="DIR", type=_path, default=default, help=text)
    _add_common(one)


def _list(one: Parser) -> None:
    text = "an algorithm, task family or config section; or tables"
    one.add_argument("name", metavar="NAME", nargs="?", help=text)
    _add_json(one)


def _bench(one: Parser) -> None:
    add = one.add_argument
    add("--algorithm", metavar="NAME", default="maml", help="default: %(default)s")
    add("--family", metavar="NAME", default="point-navigation", help="default: %(default)s")
    add("--num-tasks", metavar="N", type=_count, nargs="+", help="one or more; default: 40")
    text = "episodes per task and adaptation"
    add("--streams", metavar="E", type=_count, dest="num_streams", help=text)
    add("--horizon", metavar="T", type=_count, help="steps per episode")
    add("--inner-steps", metavar="K", type=int, help="adaptations per task")
    add("--hidden-sizes", metavar="UNITS", type=_count, nargs="+", help="layers of the MLP")
    text = "option of the algorithm, or family.OPTION=VALUE; repeatable"
    _add_settings(one, "OPTION=VALUE", text)
    add("--sweep", action="store_true", help="measure numbers of tasks from N up to 16384")
    text = "meta-iterations per timed call; default: enough to be measured well"
    add("--iterations", metavar="I", type=_count, help=text)
    add("--repeats", metavar="R", type=_count, default=5, help="timed calls; default: %(default)s")
    text = "devices to shard tasks over; default: all, on a CPU one host device per core"
    add("--devices", metavar="D", type=_count, help=text)
    add("--seed", type=int, default=0, help="default: %(default)s")
    text = (
        "timed in turns with it: another algorithm of the same sizes, or a Python file with "
        "yardstick(family, options) -> (init, step)"
    )
    add("--yardstick", metavar="NAME", help=text)
    add("--json", action="store_true", help="print one JSON object per line")
    add("--output", metavar="PATH", type=_path, help="file to append the records to")
    text = "picture of speed and memory over the number of tasks"
    add("--plot", metavar="PATH", type=_path, help=text)


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not possible; allowed: at least 1")
    return value


def _path(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("is empty, as a variable that is not set; allowed: a path")
    return text


def _add_run_dir(one: Parser) -> None:
    one.add_argument("run_dir", metavar="RUN_DIR", type=_path, help="directory of a run")


def _add_settings(one: Parser, metavar: str, text: str) -> None:
    one.add_argument("--set", metavar=metavar, action="append", default=[], help=text)


def _add_json(one: Parser) -> None:
    one.add_argument("--json", action="store_true", help="print the result as one JSON object")


def _add_common(one: Parser) -> None:
    _add_json(one)
    text = "compile anew instead of reading cached programs; also METAJAX_CACHE=off"
    one.add_argument("--no-cache", dest="cache", action="store_false", help=text)
