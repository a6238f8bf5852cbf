"""Reading of files that somebody else may have put there."""

from __future__ import annotations

import errno
import json
import os
import pathlib
import stat
import tomllib
from typing import Any


def read(path: str | pathlib.Path) -> bytes:
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
