"""Result files: one JSON object a line."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from metajax.core.options import OptionError
from metajax.run import files
from metajax.run.numbers import plain


class Unreadable(ValueError):
    """A file of results that is damaged; the message names the place."""


def append(path: str | pathlib.Path, record: Mapping[str, Any]) -> None:
    """Adds a record as one line, all of it or nothing; creates the file and its directory.

    Processes may append to one file at the same time. Numbers that JSON does not know (NaN,
    infinity) are written as null, numpy arrays as lists. A last line that a killed process has
    not finished makes way.

    Raises:
      OSError: if it cannot be written, with the records before it untouched.
    """
    import fcntl

    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    line = to_json(record).encode() + b"\n"
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)  # until it is closed
        size = os.fstat(file).st_size
        last = os.pread(file, size, 0).rpartition(b"\n")[2]
        if last and _is_json(last):
            line = b"\n" + line
        else:
            size -= len(last)
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
      Unreadable: naming the file and the line that is not a JSON object.
    """
    path = pathlib.Path(path)
    if not path.exists():
        return []
    try:
        *lines, last = files.read(path).decode().split("\n")
    except UnicodeDecodeError as error:
        raise Unreadable(f"{path}: not text ({error.reason})") from None
    except OSError as error:
        raise Unreadable(f"{path} cannot be read ({error.strerror})") from None
    records = []
    for number, line in enumerate([*lines, last] if _is_json(last) else lines, start=1):
        if line.strip():
            try:
                records.append(files.parse_json(line))
            except ValueError as error:
                raise Unreadable(f"{path}, line {number}: not JSON ({error})") from None
            if not isinstance(records[-1], dict):
                raise Unreadable(f"{path}, line {number}: not a JSON object")
    return records


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


def _is_json(text: str | bytes) -> bool:
    try:
        files.parse_json(text)
    except ValueError:
        return False
    return True
