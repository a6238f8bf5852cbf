"""Tables of committed result files, and their places in Markdown documents.

A place is what stands between two lines of a document::

    <!-- table: NAME -->
    ...
    <!-- end -->
"""

from __future__ import annotations

import pathlib
import re
from collections.abc import Callable, Mapping
from typing import Any

from metajax.report import learning, records, statistics, tables

Table = tuple[list[str], list[list[str]]]

_PLACE = re.compile(r"(<!-- table: (\S+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
_OPEN = re.compile(r"<!-- table: (\S+) -->")


def fill(text: str, table: Callable[[str], str]) -> str:
    """A document with the present tables in their places.

    Args:
      text: of the document.
      table: the Markdown of a table by its name.

    Raises:
      ValueError: for a place that does not end.
    """
    places = [match.group(2) for match in _PLACE.finditer(text)]
    for name in _OPEN.findall(text):
        if name not in places:
            raise ValueError(f"table {name}: no <!-- end --> follows")
    return _PLACE.sub(lambda match: f"{match[1]}{table(match[2])}\n{match[4]}", text)


def render(name: str, definitions: Mapping[str, Any], results: pathlib.Path) -> Table:
    """Headers and rows of a table.

    Args:
      name: of the table.
      definitions: by name, ``kind`` ("learning" or "throughput") and ``rows``; see
        ``learning_table`` and ``throughput_table``.
      results: directory of the result files.

    Raises:
      ValueError: naming the table, for what is unknown, missing or inconsistent.
    """
    kinds = {"learning": learning_table, "throughput": throughput_table}
    if name not in definitions:
        allowed = ", ".join(definitions)
        raise ValueError(f"table {name}: is not defined; allowed: {allowed}")
    definition = definitions[name]
    if definition.get("kind") not in kinds:
        allowed = ", ".join(kinds)
        raise ValueError(f"table {name}: kind {definition.get('kind')!r}; allowed: {allowed}")

    def read(file: str) -> list[dict[str, Any]]:
        found = records.read(results / f"{file}.jsonl")
        if not found:
            raise ValueError(f"{results / file}.jsonl has no records")
        return found

    try:
        return kinds[definition["kind"]](definition["rows"], read)
    except ValueError as error:
        raise ValueError(f"table {name}: {error}") from None


def learning_table(rows: list[dict[str, Any]], read: Callable[[str], list[Any]]) -> Table:
    """Returns after 0..K gradient steps, one method a row.

    Args:
      rows: each with ``label`` and either ``results`` (a result file) and perhaps
        ``actions`` ("sampled", "mode" or "untrained"), or ``published``, the list of
        returns after 0..K steps that a paper states; such a row says so.
      read: the records of a result file.
    """
    measured: list[tuple[str, list[statistics.Estimate] | list[float], list[str]]] = []
    for row in rows:
        label = row["label"]
        if "published" in row:
            measured.append((f"{label} (published)", row["published"], [""] * 4))
            continue
        found = read(row["results"])
        kind = row.get("actions", "sampled")
        estimates = learning.seed_estimates(label, found, kind)
        cost = [str(len(found)), *([""] * 3 if kind == "untrained" else _cost(found))]
        measured.append((label, estimates, cost))
    steps = max(len(values) for _, values, _ in measured)
    headers = ["method", *(_steps(step) for step in range(steps))]
    cells = []
    for label, values, cost in measured:
        returns = [_value(value) for value in values] + [""] * (steps - len(values))
        cells.append([label, *returns, *cost])
    return [*headers, "seeds", "iterations", "env steps", "training time"], cells


def throughput_table(rows: list[dict[str, Any]], read: Callable[[str], list[Any]]) -> Table:
    """Speed and memory, one setting a row.

    Args:
      rows: each with ``label`` and ``results``, whose records become a row each.
      read: the records of a result file.
    """
    cells = []
    for row in rows:
        for record in read(row["results"]):
            fraction = record["fraction_of_matmul_ceiling"]
            cells.append(
                [
                    row["label"],
                    f"{record['setting']['num-tasks']:,}",
                    f"{record['env_steps_per_second']:,.0f}",
                    "" if fraction is None else f"{100 * fraction:.0f}%",
                    f"{record['compile_seconds']:.1f} s",
                    f"{record['peak_memory_bytes'] / 2**20:,.0f} MiB",
                ]
            )
    speed = ["env steps/s", "of matrix-product rate"]
    return ["setting", "tasks", *speed, "compilation", "peak memory"], cells


def _cost(found: list[dict[str, Any]]) -> list[str]:
    """Iterations, environment steps and time of the mean seed."""
    env_steps, seconds = (
        sum(record[name] for record in found) / len(found) for name in ("env_steps", "run_seconds")
    )
    return [f"{found[0]['iterations']:,}", tables.count(env_steps), tables.duration(seconds)]


def _steps(number: int) -> str:
    return f"{number} step" if number == 1 else f"{number} steps"


def _value(value: statistics.Estimate | float) -> str:
    if not isinstance(value, statistics.Estimate):
        return f"{value:.2f}"
    width = value.half_width
    return f"{value.value:.2f}" if width != width else f"{value.value:.2f} ± {width:.2f}"
