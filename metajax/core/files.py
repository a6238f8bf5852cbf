"""Files: written whole or not at all, never through a link, and read without waiting."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pathlib
import secrets
import shutil
import stat
import tomllib
from collections.abc import Iterator
from typing import IO, Any

UNFINISHED = ".unfinished"
"""Suffix of files being written, which a killed process leaves behind."""

Path = str | pathlib.Path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file to write that takes the place of ``path`` at the end, once it is on disk.

    A link at ``path`` is replaced, not followed. Raises OSError, which names ``path``, if it
    cannot be written; what was there before stays.
    """
    path = pathlib.Path(path)
    # Nobody can have put a link at a name that has just been drawn, nor is "x" led by one.
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(4)}{UNFINISHED}")
    try:
        with open(unfinished, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        if error.filename != str(unfinished):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        unfinished.unlink(missing_ok=True)


def replace(path: Path, text: str) -> None:
    """Writes a whole text, see ``replacing``."""
    with replacing(path) as file:
        file.write(text.encode())


def append(path: Path, data: bytes) -> None:
    """Adds to the end of a file, created if missing, and waits until it is on disk.

    Raises OSError if it cannot be written, or is no regular file.
    """
    with os.fdopen(open_to_append(path), "ab") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def open_to_append(path: Path) -> int:
    """The descriptor of a file to read and to add to, created if missing, untouched so far.

    Raises OSError if it cannot be opened, or is a link or no regular file.
    """
    # Without O_NONBLOCK a named pipe would wait for its other end.
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        file = os.open(path, flags, 0o666)
    except OSError as error:
        problem = "a link leads elsewhere" if error.errno == errno.ELOOP else error.strerror
        raise OSError(error.errno, problem, str(path)) from None
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(errno.EINVAL, "no regular file", str(path))
    return file


def lock(path: Path, *, wait: bool = True) -> int:
    """The descriptor of ``open_to_append``, locked by this process until it is closed.

    Raises:
      BlockingIOError: Unless ``wait``, if another process holds the lock.
      OSError: If it cannot be opened, or is a link or no regular file.
    """
    import fcntl

    while True:
        file = open_to_append(path)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if is_at(file, path):
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)  # removed or replaced in the meantime


def is_at(file: int, path: Path) -> bool:
    """Whether an open file is still the one at a path."""
    try:
        return os.path.samestat(os.fstat(file), os.lstat(path))
    except FileNotFoundError:
        return False


def delete(path: pathlib.Path) -> None:
    """Removes a file, a link (not what it leads to) or a directory, as far as possible."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def read(path: Path) -> bytes:
    """The contents of a regular file.

    Raises:
      OSError: If it cannot be read, or is a pipe or a device, of which reading may never end.
    """
    try:
        file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115, the name alone may fail
    except ValueError:  # a name that no file can have, with a null character
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), str(path)) from None
    with file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "Not a regular file", str(path))
        return file.read()


def parse_json(text: str | bytes) -> Any:
    """``json.loads``; raises ValueError also for what is nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def parse_toml(text: str) -> dict[str, Any]:
    """``tomllib.loads``; raises ValueError also for what is nested too deeply."""
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _without_waiting(path: str, flags: int) -> int:
    """Opens a file; to open a pipe waits for whoever writes to it."""
    return os.open(path, flags | os.O_NONBLOCK)
