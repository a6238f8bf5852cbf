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
  metajax train maml-point-navigation
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
  metajax train maml-point-navigation --set algorithm.num-tasks=64 --set train.seed=1
  metajax train mine.toml --run-dir runs/mine --overwrite
  metajax train --run-dir runs/maml-point-navigation-seed-1 --resume
  metajax train maml-point-navigation --seeds 5
  metajax train maml-point-navigation --seeds 0 3 7 --resume

With --seeds the runs go one after another, each in its own directory (CONFIG-seed-SEED in runs/,
or DIR-seed-SEED with --run-dir DIR), and a table of the mean with its 95% interval beside the
single seeds ends them. --overwrite replaces all of them. --resume leaves finished runs as they
are, continues those that were interrupted and starts the others. A seed that fails stops no
other: the end says which, and the exit code is that of the first failure.
"""

_EVALUATE = """\
Meta-test a trained run on held-out tasks, and replace evaluation.json and its pictures.
Settings that are not given are those in [evaluate] of the config of the run.

examples:
  metajax evaluate runs/maml-point-navigation-seed-0 --num-tasks 1000 --seed 1
  metajax evaluate runs/maml-point-navigation-seed-0 --checkpoint 100 --output runs/at-100
"""

_PLOT = """\
Redraw the pictures of a run, or compare several runs in one picture: the training curve, and the
meta-test along its axis. Runs that differ in nothing but their seed are one line, the mean of
them, with a band: its 95% interval over seeds, in the meta-test over held-out tasks as well. The
runs must be of one family; returns after adaptations and returns of episodes have panels of
their own.

examples:
  metajax plot runs/maml-point-navigation-seed-0
  metajax plot runs/maml-* runs/reptile-* --output methods.pdf
  metajax plot runs/maml-* --metric gradient_norm --by iterations
"""

_REPRODUCE = """\
Train a run once more, from its settings and its seed, in a new directory, and compare: every line
of its metrics, and theta at its last checkpoint. Says first what differs between the two machines.
Where nothing does, both must be equal bit for bit; elsewhere rounding differs, and each metric and
each array of theta may differ by 0.01 of its largest magnitude. Rounding grows with the iterations:
a prefix agrees where the whole does not. Exit code 0 where the runs agree, 1 where they do not.

examples:
  metajax reproduce runs/maml-point-navigation-seed-0
  metajax reproduce downloads/their-run --iterations 20 --run-dir runs/theirs
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
Run the missing cells of a table, and print the table; cells with a record are not run again. On
a narrow terminal the columns stand in several parts. A file of your own with extends =
"rl2-bandits" adds rows or columns to that table and takes its settings and results.

examples:
  metajax table rl2-bandits
  metajax table snail --profile full --only 'maml/n=10,*' --seeds 0
  metajax table my.toml --only mine
"""

_LIST = """\
List algorithms, task families and config sections, the options of one of them, or what comes
with metajax: configs, tables and a zoo of trained policies.

examples:
  metajax list
  metajax list evaluate --json
  metajax list configs
"""

_BENCH = """\
Measure environment steps per second of whole meta-iterations, end to end.

examples:
  metajax bench --num-tasks 40 --streams 20 --horizon 100
  metajax bench --sweep --json --plot throughput.png
  metajax bench --set outer=trpo --set fisher-tasks=8
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
    _reproduce(add("reproduce", "train a run once more and compare", _REPRODUCE))
    _plot(add("plot", "redraw the pictures of a run, or compare several", _PLOT))
    _report(add("report", "write an HTML page about runs", _REPORT))
    _export(add("export", "write the policy of a run to a file", _EXPORT))
    _table(add("table", "run the missing cells of a table, and print it", _TABLE))
    _list(add("list", "list algorithms, task families and their options", _LIST))
    _bench(add("bench", "measure environment steps per second", _BENCH))
    return main, commands.choices


def _train(one: Parser) -> None:
    text = "TOML file, or a name that metajax list configs shows; optional to resume"
    one.add_argument("config", metavar="CONFIG", type=_path, nargs="?", help=text)
    _add_settings(
        one,
        "SECTION.OPTION=VALUE",
        "change a setting of the config, for example algorithm.num-tasks=64; repeatable; "
        "metajax list NAME shows the options of a section, family or algorithm",
    )
    text = (
        "one number: so many runs, with the seeds from train.seed on (0 to N-1, or from 5 on with "
        "--set train.seed=5); several: the seeds themselves"
    )
    one.add_argument(
        "--seeds", metavar=("N", "SEED"), type=_seed, nargs="+", action="extend", help=text
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


def _reproduce(one: Parser) -> None:
    _add_run_dir(one)
    text = "only the first N; theta is compared where the run ends with them; default: all"
    one.add_argument("--iterations", metavar="N", type=_count, help=text)
    text = "largest difference, as a fraction of the largest magnitude; 0 is bit for bit"
    one.add_argument("--tolerance", metavar="X", type=_fraction, help=text)
    text = "directory to train in; default: runs/NAME-reproduced"
    one.add_argument("--run-dir", metavar="DIR", type=_path, dest="output", help=text)
    text = "continue a reproduction that was interrupted"
    one.add_argument("--resume", action="store_true", help=text)
    text = "replace an existing reproduction"
    one.add_argument("--overwrite", action="store_true", help=text)
    _add_common(one)


def _plot(one: Parser) -> None:
    text = "directory of a run; of several they are compared"
    one.add_argument("run_dirs", metavar="RUN_DIR", type=_path, nargs="+", help=text)
    text = "file of the comparison, .png, .pdf or .svg; default: comparison.png"
    one.add_argument("--output", metavar="FILE", type=_path, help=text)
    text = (
        "what the training curve shows, a column of metajax.load_metrics; default: the last return"
    )
    one.add_argument("--metric", metavar="NAME", type=_path, help=text)
    text = "what the training curve counts; default: env-steps"
    one.add_argument("--by", choices=("env-steps", "iterations"), help=text)
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
    one.add_argument("--output", metavar="FILE", type=_path, help=text)
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
    text = "table to run: a name in metajax list tables or of --tables, or a TOML file of your own"
    one.add_argument("name", metavar="NAME", nargs="?", help=text)
    text = "size of the table: quick for a laptop (default), or full"
    one.add_argument("--profile", choices=("quick", "full"), default="quick", help=text)
    text = "run and print only these rows or cells; 'ROW/*' for all columns"
    one.add_argument("--only", metavar="ROW[/COLUMN]", help=text, **many)
    text = "run and print only these seeds of the profile"
    one.add_argument("--seeds", metavar="SEED", type=int, help=text, **many)
    one.add_argument("--resume", action="store_true", help="continue interrupted training")
    one.add_argument(
        "--output",
        metavar="DIR",
        type=_path,
        help="directory for records, checkpoints and renderings; only its records count, so a "
        "new directory measures everything again, but for those of a table that is extended; "
        "default: benchmarks/results/ (results/ beside --tables or a file of your own, "
        "runs/tables/results/ for a table of metajax outside of its checkout), "
        "runs/tables/trained/ and runs/tables/NAME/",
    )
    text = "directory of table definitions; default: benchmarks/tables, then those of metajax"
    one.add_argument("--tables", metavar="DIR", type=_path, help=text)
    _add_common(one)


def _list(one: Parser) -> None:
    text = f"an algorithm, task family or config section; or {', '.join(catalogue.LISTS)}"
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


def _seed(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        problem = f'"{text}" is no integer; CONFIG stands before --seeds'
        raise argparse.ArgumentTypeError(problem) from None


def _fraction(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not possible; allowed: 0 to 1")
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
