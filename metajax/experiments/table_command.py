"""``metajax table``: runs what is missing of a table and shows it."""

from __future__ import annotations

import argparse
import json
import pathlib
import signal
from collections.abc import Callable, Sequence
from typing import Any

from metajax.core.options import OptionError
from metajax.experiments import rendering, table_results
from metajax.experiments.table_cells import Cell, cells, only, read_records
from metajax.experiments.table_definition import Table, ThroughputTable, load, names
from metajax.run import records
from metajax.run.console import command, failed, say

# Exit codes after signals.
_INTERRUPTED = (130, 143)


def table_command(options: argparse.Namespace, prepare_jax: Callable[[], None]) -> int:
    """Runs and shows one table; returns the exit code.

    jax is loaded only if something is missing.

    Args:
      options: ``name``, ``profile``, ``only``, ``seeds``, ``resume``, ``json``, ``tables`` (the
        directory of definitions), ``output`` (a directory, or None for
        ``benchmarks/results`` and ``runs/tables``).
      prepare_jax: to be called before jax is imported.

    Raises:
      OptionError: for a mistake in the definition or the arguments.
    """
    try:
        return _table(options, prepare_jax)
    except records.Unreadable as error:
        return failed(str(error))


def _table(options: argparse.Namespace, prepare_jax: Callable[[], None]) -> int:
    directory = pathlib.Path(options.tables)
    if options.name is None:
        known = ", ".join(names(directory)) or f"none in {directory}"
        raise OptionError("NAME", f"is missing; allowed: {known}")
    table = load(options.name, directory)
    results, work = directory.parent / "results", pathlib.Path("runs", "tables", options.name)
    if options.output is not None:
        results = pathlib.Path(options.output)
        work = results / "runs" / options.name
    if isinstance(table, ThroughputTable):
        for name in ("only", "seeds"):
            if getattr(options, name):
                problem = "this table is rendered from records of metajax bench"
                raise OptionError(f"--{name}", problem)
        grid = rendering.throughput_grid(table, results)
        plain = {"table": table.name, "headers": grid.headers, "rows": grid.rows}
        print(json.dumps(plain) if options.json else rendering.text(grid, table.title))
        return 0
    wanted = only(table, options.profile, options.only, options.seeds)
    for profile in table.profiles:
        cells(table, profile)  # a mistake in the other profile is one as well
    known = read_records(table, results)
    missing = [cell for cell in wanted if not any(cell.is_of(one) for one in known)]
    done = len(wanted) - len(missing)
    there = f"; {done} recorded in {results}" if done else ""
    say(f"{table.name}, profile {options.profile}: {len(missing)} of {len(wanted)} to run{there}")
    code = 0
    if missing:
        prepare_jax()
        code = _run(missing, table, options, results, work)
    return _show(table, options, results, work, code)


def _run(
    missing: Sequence[Cell],
    table: Table,
    options: argparse.Namespace,
    results: pathlib.Path,
    work: pathlib.Path,
) -> int:
    from metajax.experiments import table_runner
    from metajax.run.checkpoints import CheckpointError

    def terminate(*_: Any) -> None:
        raise table_runner.Interrupted(128 + signal.SIGTERM)

    say(f"on {records.place(records.environment())}")
    before = signal.signal(signal.SIGTERM, terminate)
    file, trained = results / f"{table.name}.jsonl", work.parent / "trained"
    try:
        failures = table_runner.run_cells(
            missing, options.profile, file, trained, resume=options.resume, progress=say
        )
    except (KeyboardInterrupt, table_runner.Interrupted) as stop:
        say(f"interrupted; what is done is saved; continue with: {_again(options)}")
        return getattr(stop, "exit_code", 130)
    except CheckpointError as error:
        return failed(str(error))
    except OSError as error:
        where = error.filename or file
        return failed(
            f"{where} cannot be written ({error.strerror}); continue with: {_again(options)}"
        )
    finally:
        signal.signal(signal.SIGTERM, before)
    if failures:
        lines = "\n".join(f"  {one}" for one in failures)
        return failed(
            f"{len(failures)} of {len(missing)} cells failed:\n{lines}\n"
            f"try them again with: {_again(options)}"
        )
    return 0


def _show(
    table: Table,
    options: argparse.Namespace,
    results: pathlib.Path,
    work: pathlib.Path,
    code: int,
) -> int:
    """Prints the table and writes its renderings; returns the exit code."""
    known = read_records(table, results)
    lines = table_results.lines(table, options.profile, known)
    grid = rendering.grid(table, options.profile, lines)
    files = [results / f"{table.name}.jsonl"]
    if code not in _INTERRUPTED:
        try:
            files += _write(work, table, options.profile, grid, lines, known)
        except OSError as error:
            where = error.filename or work
            code = failed(f"{where} cannot be written ({error.strerror}); records are intact")
    written = [str(path) for path in files if path.is_file()]
    if options.json:
        print(json.dumps(_summary(table, options.profile, lines, written, code)))
        return code
    print(rendering.text(grid, f"{table.title} ({table.source})"))
    print("\n".join(f"in {path}" for path in written))
    return code


def _write(
    work: pathlib.Path,
    table: Table,
    profile: str,
    grid: rendering.Grid,
    lines: Sequence[table_results.Line],
    known: Sequence[dict[str, Any]],
) -> list[pathlib.Path]:
    """Markdown, LaTeX and pictures; returns their paths."""
    stem = f"{table.name}-{profile}"
    work.mkdir(parents=True, exist_ok=True)
    files = []
    for ending, write in (("md", rendering.markdown), ("tex", rendering.latex)):
        files.append(work / f"{stem}.{ending}")
        files[-1].write_text(write(grid) + "\n", encoding="utf-8")
    files.append(work / f"{stem}.png")
    _draw(files[-1], table, profile, lines, known)
    learned = table_results.schedules(table, profile, known)
    if learned:
        from metajax.run import plots

        files.append(work / f"{stem}-schedules.png")
        plots.schedules(files[-1], learned)
    return files


def _draw(
    path: pathlib.Path,
    table: Table,
    profile: str,
    lines: Sequence[table_results.Line],
    known: Sequence[dict[str, Any]],
) -> None:
    from metajax.experiments import table_curves, table_plot

    if table.metric == "learning-curve":
        table_curves.draw(path, table, table_results.curves(table, profile, known))
        return
    headers = table_results.headers(table, profile, len(lines[0].values))
    table_plot.draw(path, f"{table.title} ({table.source})", headers, lines)


def _summary(
    table: Table,
    profile: str,
    lines: Sequence[table_results.Line],
    files: Sequence[str],
    code: int,
) -> dict[str, Any]:
    headers = table_results.headers(table, profile, len(lines[0].values))
    shown = [
        {
            "row": line.row,
            "label": line.label,
            "block": line.block,
            "kind": line.kind,
            "values": {
                header: None if one is None else one._asdict()
                for header, one in zip(headers, line.values, strict=True)
            },
        }
        for line in lines
    ]
    summary = {"table": table.name, "profile": profile, "metric": table.metric}
    summary |= {"interrupted": code in _INTERRUPTED, "failed": code == 1}
    summary |= {"lines": shown, "files": list(files)}
    return json.loads(records.to_json(summary))


def _again(options: argparse.Namespace) -> str:
    words = ["table", options.name, "--profile", options.profile]
    if options.only:
        words += ["--only", *options.only]
    if options.seeds:
        words += ["--seeds", *options.seeds]
    for name in ("tables", "output"):
        given = getattr(options, name)
        if given is not None and (name, str(given)) != ("tables", "benchmarks/tables"):
            words += [f"--{name}", given]
    return command(*words, "--resume")
