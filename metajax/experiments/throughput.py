"""``metajax bench``: environment steps a second, end to end, and tables of them.

Nothing here imports jax: each setting is measured by ``metajax.experiments.measurement`` in a
process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from metajax.algorithms import ALGORITHMS
from metajax.core import files
from metajax.core.options import OptionError, suggest
from metajax.experiments.table_definition import ThroughputTable
from metajax.run import config as configs
from metajax.run import extensions, machine, records, tables
from metajax.run.config import LAYOUT, Config
from metajax.run.console import failed, say
from metajax.run.tables import Grid

SWEEP = (40, 64, 256, 1024, 4096, 16384)
# What a process that was killed for its memory ends with, and one that foresaw it.
_OUT_OF_MEMORY = (-9, 137, 3)
# Options that the algorithm and the measurement take as they are.
_OF_ALGORITHM = ("num_streams", "horizon", "inner_steps", "hidden_sizes", "devices")
_OF_MEASUREMENT = ("iterations", "repeats", "seed", "yardstick")
# Settings that stand in the label of a row of a table whose records differ in them.
_TOLD_APART = {"name": "{}", "family": "{}", "lifetime": "lifetimes of {:,} transitions"}
_RATIO = "times its yardstick"
_COLUMNS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "tasks": lambda one: f"{one['setting'].get('num-tasks', 1):,}",
    "env steps/s": lambda one: f"{one['env_steps_per_second']:,.0f}",
    "range": lambda one: "{:,.0f} to {:,.0f}".format(
        *(one[f"env_steps_per_second_{end}"] for end in ("min", "max"))
    ),
    _RATIO: lambda one: _shown(one.get("ratio"), "{:.2f}"),
    "s/iteration": lambda one: f"{one['seconds_per_iteration']:.3g}",
    "GFLOP/iteration": lambda one: _shown(one["flops_per_iteration"], "{:.4g}", 1e-9),
    "of matrix-product rate": lambda one: _shown(one["fraction_of_matmul_ceiling"], "{:.0f}%", 100),
    "compilation": lambda one: f"{one['compile_seconds']:.1f} s",
    "peak memory": lambda one: f"{one['peak_memory_bytes'] / 2**20:,.0f} MiB",
    "on": lambda one: machine.place(one.get("environment") or {}),
}
_IN_TABLES = [one for one in _COLUMNS if one not in ("range", "s/iteration", "GFLOP/iteration")]


class MeasurementError(Exception):
    """A measurement that ended without a record, with its last words and exit code."""

    def __init__(self, words: str, code: int) -> None:
        super().__init__(words)
        self.code = code


def bench_command(options: argparse.Namespace) -> int:
    """Measures what the options of ``metajax bench`` say; returns the exit code.

    Raises:
      OptionError: for a mistake in them.
    """
    settings = _settings(options)
    _check_writable(options)
    measured: list[dict[str, Any]] = []
    code, path = 0, options.output
    try:
        for config in settings:
            how = {name: getattr(options, name) for name in _OF_MEASUREMENT}
            record = run_measurement(config, options.devices, **how)
            measured.append(record)
            if options.json:
                print(records.to_json(record), flush=True)
            elif len(settings) > 1:
                number, rate = record["setting"].get("num-tasks"), record["env_steps_per_second"]
                say(f"{number} tasks: {rate:,.0f} environment steps a second")
            if options.output:
                records.append(path, record)
    except MeasurementError as error:
        ends = error.code in _OUT_OF_MEMORY
        failed(f"{error}; the sweep ends here" if ends else str(error))
        code = 0 if ends and measured else 2 if error.code == 2 else 1
    except KeyboardInterrupt:
        code = 130
    except OSError as error:
        code = failed(f"{path} cannot be written ({error.strerror})")
    if measured and not options.json:
        print(table(measured))
    if measured and options.plot:
        from metajax.experiments import pictures

        try:
            pictures.throughput(options.plot, measured)
            say(f"wrote {options.plot}")
        except OSError as error:
            code = failed(f"{options.plot} cannot be written ({error.strerror})")
    return code


def run_measurement(config: Config, devices: int | None = None, **how: Any) -> dict[str, Any]:
    """Measures a config in a process of its own, with so many host devices on a CPU.

    ``how`` are arguments of ``measurement.measure``, with the file of the yardstick.

    Raises:
      MeasurementError: if the process did not end with a record.
    """
    argument = {"config": config.to_dict(), "imports": extensions.loaded(), **how}
    done = subprocess.run(
        [sys.executable, "-m", "metajax.experiments.measurement", json.dumps(argument)],
        env=_environment(devices),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
    )
    if not done.returncode:
        return json.loads(done.stdout)
    words = [line for line in done.stderr.splitlines() if line.strip()]
    last = words[-1] if words else "it said nothing"
    if done.returncode in (-9, 137):
        last = "out of memory: killed by the system"
    elif done.returncode not in (2, 3):
        last = f"the measurement failed (exit code {done.returncode}): {last}"
    raise MeasurementError(last, done.returncode)


def table(measured: Sequence[dict[str, Any]]) -> str:
    """The records as a table for a terminal, and what they were measured on."""
    unused = ("on",) if any("ratio" in record for record in measured) else (_RATIO, "on")
    headers = [name for name in _COLUMNS if name not in unused]
    rows = [[_COLUMNS[name](record) for name in headers] for record in measured]
    setting, where = measured[0]["setting"], measured[0]["environment"]
    shown = ("outer", "family", "num-streams", "horizon", "inner-steps", "hidden-sizes")
    title = ", ".join([setting["name"], *(f"{k} {setting[k]}" for k in shown if k in setting)])
    rate = measured[0]["matmul_flops_per_second"] / 1e9
    foot = (
        f"  {where['device']}, {where['num_devices']} jax device(s), {where['num_cores']} cores, "
        f"jax {where['versions']['jax']}; matrix products {rate:,.0f} GFLOP/s; "
        f"peak memory of the {measured[0]['memory_source']}"
    )
    return f"{title}\n{tables.text(Grid(headers, rows))}\n{foot}"


def grid(table: ThroughputTable, results: pathlib.Path) -> Grid:
    """Speed and memory, one record a row.

    A record that was measured beside a yardstick says how many times as fast it was. Of
    several records of one setting on one machine the last counts.

    Raises:
      OptionError: without records, or where those of a row have several settings.
    """
    latest: dict[tuple[str, ...], tuple[Mapping[str, Any], dict[str, str]]] = {}
    for name, file in table.results.items():
        path = results / f"{file}.jsonl"
        found = records.read(path)
        if not found:
            raise OptionError(f"table {table.name}", f"{path} has no records")
        with records.shaped(path):
            differing = [
                one for one in _TOLD_APART if len({each["setting"].get(one) for each in found}) > 1
            ]
            for record in found:
                setting = record["setting"]
                told = [_TOLD_APART[one].format(setting[one]) for one in differing]
                label = ", ".join([name, *told])
                cells = {"setting": label, **{one: _COLUMNS[one](record) for one in _IN_TABLES}}
                key = label, cells["tasks"], cells["on"]
                _check_same(latest.get(key, ({}, {}))[0], setting, f"{path.name}: {label}")
                latest[key] = setting, cells
    rows = [cells for _, cells in latest.values()]
    headers = [one for one in rows[0] if one != _RATIO or any(cells[one] for cells in rows)]
    return Grid(headers, [[cells[name] for name in headers] for cells in rows])


def _check_same(one: Mapping[str, Any], other: Mapping[str, Any], where: str) -> None:
    """Refuses a row of records that differ in more than their layout."""
    for name in one.keys() & other.keys() - {*LAYOUT}:
        if one[name] != other[name]:
            raise OptionError(
                where,
                f"has records with {name} {one[name]} and {other[name]}; allowed: one setting in a "
                "row; write the others to another file",
            )


def _shown(value: float | None, form: str, unit: float = 1) -> str:
    return "" if value is None else form.format(value * unit)


def _settings(options: argparse.Namespace) -> list[Config]:
    """Checked configs, one a number of tasks."""
    chosen = {name: getattr(options, name) for name in _OF_ALGORITHM}
    algorithm = {name: value for name, value in chosen.items() if value is not None}
    algorithm["name"] = options.algorithm
    sections = {"family": {"name": options.family}, "algorithm": algorithm}
    changes = [one if "." in one.partition("=")[0] else f"algorithm.{one}" for one in options.set]
    numbers = options.num_tasks or [40]
    if options.sweep:
        numbers = sorted({*numbers, *(size for size in SWEEP if size > min(numbers))})
    sizes = (f"algorithm.num-tasks={number}" for number in numbers)
    _check_yardstick(options.yardstick)
    return [configs.from_dict(sections, [*changes, size]) for size in sizes]


def _check_yardstick(name: str | None) -> None:
    if not (name is None or name in ALGORITHMS or pathlib.Path(name).is_file()):
        known = ALGORITHMS.names()
        allowed = f"{suggest(name, known)}allowed: a Python file, or one of {', '.join(known)}"
        raise OptionError("--yardstick", f'"{name}" is neither a file nor an algorithm; {allowed}')


def _check_writable(options: argparse.Namespace) -> None:
    """Refuses files that could not be written once all is measured."""
    for name in ("output", "plot"):
        if (given := getattr(options, name)) is None:
            continue
        path = pathlib.Path(given)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=path.parent):
                pass
            if path.exists():
                os.close(files.open_to_append(path))
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


def _environment(devices: int | None) -> dict[str, str]:
    """The environment of a measurement, with so many host devices or one for each core."""
    flag = "--xla_force_host_platform_device_count"
    flags = os.environ.get("XLA_FLAGS", "").split()
    if devices is not None:
        flags = [one for one in flags if not one.startswith(flag)]
    if not any(one.startswith(flag) for one in flags):
        flags.append(f"{flag}={devices or machine.num_cores()}")
    # With a cache the time to compile would be that of reading a file.
    return {**os.environ, "XLA_FLAGS": " ".join(flags), "JAX_ENABLE_COMPILATION_CACHE": "false"}
