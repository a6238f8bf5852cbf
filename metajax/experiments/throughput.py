"""``metajax bench`` and ``benchmarks/throughput.py``: environment steps a second, end to end.

Nothing here imports jax: each setting is measured by ``metajax.experiments.measurement``
in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from metajax.core.options import OptionError
from metajax.experiments import tables
from metajax.run import extensions, records

SWEEP = (40, 64, 256, 1024, 4096, 16384)
_EXAMPLES = """\
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures throughput; returns the exit code.

    Args:
      arguments: of the command line; by default those of the process.

    Returns:
      0; 1 where a measurement failed; 2 for a mistake in the arguments.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        settings = list(_settings(options))
        _check_writable(options)
    except OptionError as error:
        print(f"metajax bench: {error}", file=sys.stderr)
        return 2
    measured: list[dict[str, Any]] = []
    code = 0
    for toml in settings:
        try:
            record = run_measurement(
                toml,
                devices=options.devices,
                iterations=options.iterations,
                repeats=options.repeats,
                seed=options.seed,
            )
        except OutOfMemory as error:
            print(f"metajax bench: {error}; the sweep ends here", file=sys.stderr)
            code = 0 if measured else 1
            break
        except MeasurementError as error:
            print(f"metajax bench: {error}", file=sys.stderr)
            code = error.code
            break
        except KeyboardInterrupt:
            code = 130
            break
        measured.append(record)
        if options.json:
            print(records.to_json(record), flush=True)
        elif len(settings) > 1:
            print(_progress(record), file=sys.stderr, flush=True)
        try:
            if options.output:
                records.append(options.output, record)
        except OSError as error:
            code = _unwritten(options.output, error)
            break
    if measured and not options.json:
        print(table(measured))
    if measured and options.plot:
        from metajax.run import plots

        try:
            plots.throughput(options.plot, measured)
            print(f"wrote {options.plot}", file=sys.stderr)
        except OSError as error:
            code = _unwritten(options.plot, error)
    return code


def _unwritten(path: str, error: OSError) -> int:
    print(f"metajax bench: {path} cannot be written ({error.strerror})", file=sys.stderr)
    return 1


def _check_writable(options: argparse.Namespace) -> None:
    """Refuses files that could not be written once all is measured."""
    for name in ("output", "plot"):
        given = getattr(options, name)
        if given is None:
            continue
        path = pathlib.Path(given)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=path.parent):
                pass
            if path.exists():
                with open(path, "ab"):
                    pass
        except OSError as error:
            problem = f"{path} cannot be written ({error.strerror})"
            raise OptionError(f"--{name}", problem) from None
    if options.plot is not None:
        from matplotlib.backend_bases import FigureCanvasBase

        endings = sorted(FigureCanvasBase.get_supported_filetypes())
        ending = pathlib.Path(options.plot).suffix.removeprefix(".")
        if ending and ending.lower() not in endings:
            problem = f'"{options.plot}" is no picture; allowed endings: {", ".join(endings)}'
            raise OptionError("--plot", problem)


class MeasurementError(Exception):
    """A measurement did not end with a record; ``code`` is for the command to end with."""

    code = 1


class Mistake(MeasurementError):
    """An option does not fit."""

    code = 2


class OutOfMemory(MeasurementError):
    """A setting does not fit the memory."""


def run_measurement(
    toml: str,
    *,
    devices: int | None = None,
    iterations: int | None = None,
    repeats: int = 5,
    seed: int = 0,
) -> dict[str, Any]:
    """Measures a config in a process of its own.

    Args:
      toml: the config.
      devices: host devices of a CPU; one for each core by default.
      iterations: meta-iterations in one call; chosen by the number of tasks if None.
      repeats: calls that are timed.
      seed: of the run.

    Returns:
      the record.

    Raises:
      Mistake: if an option does not fit.
      OutOfMemory: if the process was killed for its memory, or foresaw it.
      MeasurementError: if it failed otherwise; its last words are in the message.
    """
    argument = {"config": toml, "iterations": iterations, "repeats": repeats, "seed": seed}
    argument["imports"] = extensions.loaded()
    done = subprocess.run(
        [sys.executable, "-m", "metajax.experiments.measurement", json.dumps(argument)],
        env=_environment(devices),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
    )
    words = [line for line in done.stderr.splitlines() if line.strip()]
    last = words[-1] if words else "it said nothing"
    if done.returncode in (3, -9, 137):
        raise OutOfMemory(last if done.returncode == 3 else "out of memory: killed by the system")
    if done.returncode == 2:
        raise Mistake(last)
    if done.returncode:
        raise MeasurementError(f"the measurement failed (exit code {done.returncode}): {last}")
    return json.loads(done.stdout)


def table(measured: Sequence[dict[str, Any]]) -> str:
    """The records as a table for a terminal, and what they were measured on."""
    rows = []
    for record in measured:
        low, high = record["env_steps_per_second_min"], record["env_steps_per_second_max"]
        fraction, flops = record["fraction_of_matmul_ceiling"], record["flops_per_iteration"]
        rows.append(
            (
                f"{record['setting'].get('num-tasks', '')}",
                f"{record['env_steps_per_second']:,.0f}",
                f"{low:,.0f} to {high:,.0f}",
                f"{record['seconds_per_iteration']:.3g}",
                f"{record['compile_seconds']:.1f}",
                "not counted" if flops is None else f"{flops / 1e9:.4g}",
                "not counted" if fraction is None else f"{100 * fraction:.0f}%",
                f"{record['peak_memory_bytes'] / 2**20:,.0f}",
            )
        )
    headers = ("tasks", "env steps/s", "range", "s/iteration", "compile s")
    headers = (*headers, "GFLOP/iteration", "of ceiling", "peak MiB")
    setting, where = measured[0]["setting"], measured[0]["environment"]
    shown = ("outer", "family", "num-streams", "horizon", "inner-steps", "hidden-sizes")
    known = [f"{name} {setting[name]}" for name in shown if name in setting]
    title = ", ".join([setting["name"], *known])
    rate = measured[0]["matmul_flops_per_second"] / 1e9
    foot = (
        f"  {where['device']}, {where['num_devices']} jax device(s), {where['num_cores']} cores, "
        f"jax {where['versions']['jax']}; matrix products {rate:,.0f} GFLOP/s; "
        f"peak memory of the {measured[0]['memory_source']}"
    )
    return f"{title}\n{tables.text(headers, rows)}\n{foot}"


def _settings(options: argparse.Namespace) -> Iterator[str]:
    """Checked configs, one a number of tasks."""
    from metajax.run.config import parse

    chosen = {
        "num-streams": options.streams,
        "horizon": options.horizon,
        "inner-steps": options.inner_steps,
        "hidden-sizes": options.hidden_sizes,
        "devices": options.devices,
    }
    overrides = [f"family.name={options.family}", f"algorithm.name={options.algorithm}"]
    overrides += [
        f"algorithm.{name}={value}" for name, value in chosen.items() if value is not None
    ]
    for one in options.set:
        overrides.append(one if "." in one.partition("=")[0] else f"algorithm.{one}")
    numbers = options.num_tasks or [40]
    if options.sweep:
        numbers = sorted({*numbers, *(size for size in SWEEP if size > min(numbers))})
    for number in numbers:
        yield parse("", [*overrides, f"algorithm.num-tasks={number}"]).to_toml()


def _environment(devices: int | None) -> dict[str, str]:
    environ = dict(os.environ)
    flag = "--xla_force_host_platform_device_count"
    flags = environ.get("XLA_FLAGS", "").split()
    if devices is not None:
        flags = [one for one in flags if not one.startswith(flag)]
    if not any(one.startswith(flag) for one in flags):
        flags.append(f"{flag}={devices or records.num_cores()}")
    environ["XLA_FLAGS"] = " ".join(flags)
    # Or the time to compile would be that of reading a file.
    environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"
    return environ


def _progress(record: dict[str, Any]) -> str:
    number, rate = record["setting"].get("num-tasks"), record["env_steps_per_second"]
    return f"{number} tasks: {rate:,.0f} environment steps a second"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        print(f"metajax bench: {message}; see metajax bench --help", file=sys.stderr)
        raise SystemExit(2)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not possible; allowed: at least 1")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="metajax bench",
        description="Measures environment steps a second of whole meta-iterations, end to end.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--algorithm", metavar="NAME", default="maml", help="default: maml")
    add("--family", metavar="NAME", default="point-navigation", help="default: point-navigation")
    add("--num-tasks", metavar="N", type=_positive, nargs="+", help="one or more; default: 40")
    add("--streams", metavar="E", type=_positive, help="episodes of a task and adaptation")
    add("--horizon", metavar="T", type=_positive, help="steps of an episode")
    add("--inner-steps", metavar="K", type=int, help="adaptations")
    add("--hidden-sizes", metavar="UNITS", type=_positive, nargs="+", help="of the MLP")
    add(
        "--set",
        metavar="OPTION=VALUE",
        action="append",
        default=[],
        help="any option of the algorithm, or family.OPTION=VALUE; may be given many times",
    )
    add("--sweep", action="store_true", help=f"numbers of tasks from N to {SWEEP[-1]:,}")
    add("--iterations", metavar="I", type=_positive, help="of one call; chosen by itself")
    add("--repeats", metavar="R", type=_positive, default=5, help="timed calls; default: 5")
    add(
        "--devices",
        metavar="D",
        type=_positive,
        help="that share the tasks; on a CPU host devices, one for each core by default",
    )
    add("--seed", type=int, default=0, help="default: 0")
    add("--json", action="store_true", help="print one JSON object a line")
    add("--output", metavar="PATH", help="also append the records to this file")
    add("--plot", metavar="PATH", help="draw speed and memory over the number of tasks")
    return parser
