"""Result files: one JSON object a line."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from metajax.core import files
from metajax.core.options import OptionError
from metajax.run.config import digest
from metajax.run.numbers import plain


class Unreadable(ValueError):
    """A file of results that is damaged; the message names the place."""


def append(path: str | pathlib.Path, record: Mapping[str, Any]) -> None:
    """Adds a record as one line, all of it or nothing; creates the file and its directory.

    Processes may append to one file at the same time. Numbers that JSON does not know (NaN,
    infinity) are written as null, numpy arrays as lists. A last line that a killed process has
    not finished makes way.

    Raises:
      OSError: if it cannot be written, with the records before it untouched, or is a link.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    line = to_json(record).encode() + b"\n"
    file = files.lock(path)
    try:
        size = os.fstat(file).st_size
        last = os.pread(file, size, 0).rpartition(b"\n")[2]
        if _is_unfinished(last):
            size -= len(last)
        elif last:  # a whole record, or nothing of ours
            line = b"\n" + line
        os.ftruncate(file, size)
        if os.write(file, line) < len(line):
            os.ftruncate(file, size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        os.fsync(file)
    finally:
        os.close(file)


def read(path: str | pathlib.Path) -> list[dict[str, Any]]:
    """All records of a file, in order; an empty list if there is no file.

    A last line without its end, left by a process that was killed, is skipped.

    Raises:
      Unreadable: naming the file and the line that is not a JSON object, or whose ``digest`` is
        not that of its ``settings``.
    """
    found = []
    for number, _, record, problem in _lines(path):
        if record is None:
            raise Unreadable(f"{path}, line {number}: {problem}")
        found.append(record)
    return found


def mend(path: str | pathlib.Path) -> str:
    """Sets the damaged lines of a file aside, see ``set_aside``; the other records stay.

    Returns a line of text that names them, "" where there are none.

    Raises:
      Unreadable: if the file cannot be read.
      OSError: if there is damage, and no file can be written.
    """
    if all(record is not None for _, _, record, _ in _lines(path)):
        return ""
    file = files.lock(path)
    try:
        lines = _lines(path)
        text = set_aside(path, {number: line for number, line, one, _ in lines if one is None})
        with files.replacing(path) as mended:
            mended.writelines(line + b"\n" for _, line, one, _ in lines if one is not None)
    finally:
        os.close(file)
    return text


def set_aside(path: str | pathlib.Path, damaged: Mapping[int, bytes]) -> str:
    """Keeps damaged lines of a file, by their number, in ``NAME.damaged`` beside it.

    The caller takes them out of the file. Returns a line of text that names them. Raises
    OSError if they cannot be written.
    """
    files.append(aside(path), b"".join(line + b"\n" for line in damaged.values()))
    numbers = ", ".join(map(str, [*damaged][:9])) + (", ..." if len(damaged) > 9 else "")
    many = f"{len(damaged)} damaged lines ({numbers}) are"
    what = f"damaged line {numbers} is" if len(damaged) == 1 else many
    return f"{path}: {what} set aside in {aside(path).name}; the rest is kept"


def aside(path: str | pathlib.Path) -> pathlib.Path:
    """The file of the damaged lines of another."""
    path = pathlib.Path(path)
    return path.with_name(f"{path.name}.damaged")


def parse(line: bytes) -> tuple[dict[str, Any] | None, str]:
    """The record of a line and "", or None and what is wrong with it."""
    try:
        record = files.parse_json(line.decode())
    except UnicodeDecodeError as error:
        return None, f"not text ({error.reason})"
    except ValueError as error:
        return None, f"not JSON ({error})"
    if not isinstance(record, dict):
        return None, "not a JSON object"
    if {"digest", "settings"} <= record.keys() and record["digest"] != digest(record["settings"]):
        return None, "its digest is not that of its settings, so it was changed"
    return record, ""


@contextlib.contextmanager
def shaped(path: str | pathlib.Path) -> Iterator[None]:
    """A context that works with what a file holds, trusting that it has the expected shape.

    Raises:
      Unreadable: naming the file, for whatever goes wrong where values have another shape.
    """
    try:
        yield
    except (OptionError, Unreadable):
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        problem = f"{path} holds something of another shape ({type(error).__name__}: {error})"
        raise Unreadable(f"{problem}; repair or remove it") from error


def to_json(record: Any) -> str:
    """One line of JSON; see ``append`` for what is written how."""
    return json.dumps(plain(record), allow_nan=False)


def _lines(
    path: str | pathlib.Path,
) -> list[tuple[int, bytes, dict[str, Any] | None, str]]:
    """Number, text, record and problem of all lines but empty ones and an unfinished last one."""
    try:
        *lines, last = files.read(path).split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise Unreadable(f"{path} cannot be read ({error.strerror})") from None
    lines += [] if _is_unfinished(last) else [last]
    return [
        (number, line, *parse(line)) for number, line in enumerate(lines, start=1) if line.strip()
    ]


def _is_unfinished(line: bytes) -> bool:
    """Whether a line without its end is the beginning of a record, and not something else."""
    return line.startswith(b"{") and parse(line)[0] is None
