"""Result files: one JSON object a line, and where each line comes from."""

from __future__ import annotations

import errno
import functools
import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from metajax.run.numbers import plain

_PACKAGES = ("metajax", "jax", "jaxlib", "flax", "optax", "gymnax", "numpy")


class Unreadable(ValueError):
    """A file of results that is damaged; the message names the place."""


@functools.cache
def environment() -> dict[str, Any]:
    """What a result depends on besides its settings.

    Returns:
      ``revision`` (the git commit of the package's source, None outside a checkout) and
      ``dirty`` (whether the package differs from it); ``device``, ``backend`` and
      ``num_devices`` of jax; ``platform``, ``processor`` and ``num_cores`` (that this process
      may use) of the machine; ``versions`` by name.
    """
    import jax

    revision, dirty = _revision()
    device, processor = jax.devices()[0], _processor()
    return {
        "revision": revision,
        "dirty": dirty,
        "device": processor if device.platform == "cpu" else device.device_kind,
        "backend": device.platform,
        "num_devices": jax.device_count(),
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": processor,
        "num_cores": num_cores(),
        "versions": {"python": platform.python_version(), **{p: _version(p) for p in _PACKAGES}},
    }


def num_cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def place(environment: Mapping[str, Any]) -> str:
    """A machine in words: ``"AMD EPYC, 2 cores"``, ``"8 x NVIDIA H200"``."""
    device = environment.get("device") or "a device that is not recorded"
    if environment.get("backend") == "cpu":
        return f"{device}, {environment.get('num_cores')} cores"
    number = environment.get("num_devices") or 1
    return device if number == 1 else f"{number} x {device}"


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
        *lines, last = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise Unreadable(f"{path}: not text ({error.reason})") from None
    except OSError as error:
        raise Unreadable(f"{path} cannot be read ({error.strerror})") from None
    records = []
    for number, line in enumerate([*lines, last] if _is_json(last) else lines, start=1):
        if line.strip():
            try:
                records.append(json.loads(line))
            except ValueError as error:
                raise Unreadable(f"{path}, line {number}: not JSON ({error})") from None
            if not isinstance(records[-1], dict):
                raise Unreadable(f"{path}, line {number}: not a JSON object")
    return records


def to_json(record: Any) -> str:
    """One line of JSON; see ``append`` for what is written how."""
    return json.dumps(plain(record), allow_nan=False)


def _is_json(text: str | bytes) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _revision() -> tuple[str | None, bool | None]:
    package = pathlib.Path(__file__).resolve().parents[1]

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(package), *arguments]
        how: dict[str, Any] = {"check": True, "capture_output": True, "text": True, "timeout": 20}
        return subprocess.run(command, stdin=subprocess.DEVNULL, **how).stdout.strip()

    try:
        # An installed copy may lie inside somebody else's repository.
        if git("ls-files", "--", "__init__.py") != "__init__.py":
            return None, None
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--", "."))
    except (OSError, subprocess.SubprocessError):
        return None, None


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return str(getattr(sys.modules.get(package), "__version__", "unknown"))


def _processor() -> str:
    """The processor's name as the machine gives it."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
