"""``metajax table``: runs what is missing of a table and shows it."""

from __future__ import annotations

import argparse
import json
import pathlib
import signal
from collections.abc import Callable, Sequence
from typing import Any

from metajax.core.files import replace
from metajax.core.kinds import one_line
from metajax.core.options import OptionError
from metajax.experiments import rendering, table_definition, table_results
from metajax.experiments.table_cells import Cell, cells, narrowed, only
from metajax.experiments.table_definition import RecordsTable, Table, ThroughputTable
from metajax.run import machine, records, shipped, tables
from metajax.run.console import command, failed, say
from metajax.run.signals import raising

# Exit codes after signals.
_INTERRUPTED = (130, 143)


def table_command(options: argparse.Namespace, prepare_jax: Callable[[], None]) -> int:
    """Runs and shows one table; returns the exit code.

    Args:
      options: those of ``metajax table --help``.
      prepare_jax: called before jax is imported, where something is missing.

    Raises:
      OptionError: for a mistake in the definition or the arguments.
    """
    places = table_definition.places(options.tables)
    if options.name is None:
        known = ", ".join(table_definition.names(*places)) or f"none in {places[0]}"
        raise OptionError("NAME", f"is missing; allowed: {known}")
    name, own = options.name, None
    if name.endswith(".toml"):
        name, own = pathlib.Path(name).stem, pathlib.Path(name).parent
    table = table_definition.load(name, *places, own=own)
    file = f"{table.name}.toml"
    if text := shipped.shadowing(table.directory / file, shipped.tables() / file):
        say(text)
    work, ready = pathlib.Path("runs", "tables", table.name), []
    results = table_definition.results_of(table.directory, places)
    if options.output is not None:
        results = pathlib.Path(options.output)
        work = results / "runs" / table.name
    elif table.directory == shipped.tables():  # where nothing is written
        ready, results = [results], work.parent / "results"
    try:
        if not isinstance(table, Table):
            return _show_records(table, options, [*ready, results][0])
        wanted = only(table, options.profile, options.only, options.seeds)
        for profile in table.profiles:
            cells(table, profile)  # a mistake in the other profile is one as well
        sources = [*table.shared, *(one / f"{table.name}.jsonl" for one in (*ready, results))]
        file = sources[-1]
        _mend(file)
        known = _read(sources)
        with records.shaped(file):
            missing = [cell for cell in wanted if not any(map(cell.is_of, known))]
        done = len(wanted) - len(missing)
        places = dict.fromkeys(str(one.parent) for one in sources)
        there = f"; {done} recorded in {' and '.join(places)}"
        number = f"{len(missing)} of {len(wanted)} to run"
        say(f"{table.name}, profile {options.profile}: {number}{there if done else ''}")
        code = 0
        if missing:
            prepare_jax()
            code = _run(missing, options, file, work.parent / "trained")
        with records.shaped(file):
            return _show(table, wanted, options, sources, work, code)
    except records.Unreadable as error:
        return failed(str(error))


def _read(sources: Sequence[pathlib.Path]) -> list[dict[str, Any]]:
    return [record for file in sources for record in records.read(file)]


def _mend(file: pathlib.Path) -> None:
    """Sets damaged lines aside, so that they are measured again."""
    try:
        if text := records.mend(file):
            say(text)
    except OSError as error:
        problem = f"{error.filename or file} cannot be written ({error.strerror})"
        raise records.Unreadable(f"{problem}, to set damaged lines of {file} aside") from None


def _show_records(
    table: ThroughputTable | RecordsTable, options: argparse.Namespace, results: pathlib.Path
) -> int:
    is_of_speeds = isinstance(table, ThroughputTable)
    made_by = "metajax bench" if is_of_speeds else table.made_by
    for name in ("only", "seeds"):
        if getattr(options, name):
            raise OptionError(f"--{name}", f"this table is rendered from records of {made_by}")
    for name in table.results.values() if is_of_speeds else [table.records]:
        _mend(results / f"{name}.jsonl")
    grid = rendering.of_records(table, results)
    plain = {"table": table.name, "headers": grid.headers, "rows": grid.rows}
    print(json.dumps(plain) if options.json else tables.text(grid, table.title))
    return 0


def _run(
    missing: Sequence[Cell], options: argparse.Namespace, file: pathlib.Path, trained: pathlib.Path
) -> int:
    from metajax.experiments import table_runner
    from metajax.run.checkpoints import CheckpointError

    say(f"on {machine.place(machine.environment())}")
    stop = table_runner.Interrupted(128 + signal.SIGTERM)
    try:
        with raising(signal.SIGTERM, stop):
            failures = table_runner.run_cells(
                missing, options.profile, file, trained, resume=options.resume, progress=say
            )
    except (KeyboardInterrupt, table_runner.Interrupted) as reason:
        say(f"interrupted; what is done is saved; continue with: {_again(options)}")
        return reason.args[0] if reason.args else 130
    except CheckpointError as error:
        return failed(str(error))
    except OSError as error:
        problem = f"{error.filename or file} cannot be written ({error.strerror})"
        return failed(f"{problem}; continue with: {_again(options)}")
    if failures:
        for one in failures:
            say(one_line(f"failed: {one}"))
        number = f"{len(failures)} of {len(missing)} cells failed"
        return failed(f"{number}; try them again with: {_again(options)}")
    return 0


def _show(
    table: Table,
    wanted: Sequence[Cell],
    options: argparse.Namespace,
    sources: Sequence[pathlib.Path],
    work: pathlib.Path,
    code: int,
) -> int:
    """Prints the wanted cells and writes renderings of all of them; returns the exit code."""
    known, files = _read(sources), [sources[-1]]
    lines = table_results.lines(table, options.profile, known)
    grid = rendering.grid(table, options.profile, lines)
    if code not in _INTERRUPTED:
        from metajax.experiments import pictures

        measured = table_results.by_label(table, options.profile, known)
        stem = work / f"{table.name}-{options.profile}"
        try:
            work.mkdir(parents=True, exist_ok=True)
            for ending, write in ((".md", tables.markdown), (".tex", tables.latex)):
                files.append(stem.with_name(stem.name + ending))
                replace(files[-1], write(grid) + "\n")
            files += pictures.of_table(stem, table, grid.headers[1:], lines, measured)
        except OSError as error:
            problem = f"{error.filename or work} cannot be written ({error.strerror})"
            code = failed(f"{problem}; records are intact")
    if options.only or options.seeds:
        table = narrowed(table, options.profile, wanted)
        lines = table_results.lines(table, options.profile, known)
        grid = rendering.grid(table, options.profile, lines)
    written = [str(path) for path in files if path.is_file()]
    if options.json:
        summary = {"table": table.name, "profile": options.profile, "metric": table.metric}
        summary |= {"interrupted": code in _INTERRUPTED, "failed": code == 1}
        print(records.to_json(summary | {"lines": _plain(lines, grid), "files": written}))
        return code
    print(tables.text(grid, f"{table.title} ({table.source})"))
    print("\n".join(f"in {path}" for path in written))
    return code


def _plain(lines: Sequence[table_results.Line], grid: tables.Grid) -> list[dict[str, Any]]:
    """The lines for ``--json``."""
    shown = []
    for line in lines:
        values = [None if one is None else one._asdict() for one in line.values]
        about = {name: getattr(line, name) for name in ("row", "label", "block", "kind")}
        shown.append({**about, "values": dict(zip(grid.headers[1:], values, strict=False))})
    return shown


def _again(options: argparse.Namespace) -> str:
    """The command that continues."""
    words = ["table", options.name, "--profile", options.profile]
    for name in ("only", "seeds"):
        words += [f"--{name}", *getattr(options, name)] if getattr(options, name) else []
    for name in ("tables", "output"):
        given = getattr(options, name)
        words += [f"--{name}", given] if given is not None else []
    return command(*words, "--resume")
