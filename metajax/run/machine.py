"""The machine that a result is computed on: its parts, its packages, its memory."""

from __future__ import annotations

import functools
import importlib.metadata
import math
import os
import pathlib
import platform
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from metajax import __version__

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "gymnax", "numpy")


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
        "versions": {
            "python": platform.python_version(),
            "metajax": __version__,  # of the code that runs; metadata may be of an older checkout
            **{one: _version(one) for one in _PACKAGES},
        },
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
        number = environment.get("num_cores")
        return f"{device}, {number} core{'' if number == 1 else 's'}"
    number = environment.get("num_devices") or 1
    return device if number == 1 else f"{number} x {device}"


def free_memory() -> float:
    """Bytes that are free on a device, or for a CPU in this process; infinite if unknown."""
    import jax

    device = jax.local_devices()[0]
    if device.platform != "cpu":
        stats = device.memory_stats() or {}
        return stats.get("bytes_limit", math.inf) - stats.get("bytes_in_use", 0)
    free = _kilobytes("/proc/meminfo", "MemAvailable:")
    limit, used = (_lines(f"/sys/fs/cgroup/memory.{name}") for name in ("max", "current"))
    if limit and used and limit[0].isdigit():
        free = min(free, int(limit[0]) - int(used[0]))
    return free


def peak_memory() -> tuple[int, str]:
    """Highest use so far in bytes, and whose: all devices together, or this process."""
    import jax

    devices = jax.local_devices()
    stats = [device.memory_stats() or {} for device in devices]
    if devices[0].platform != "cpu" and all("peak_bytes_in_use" in one for one in stats):
        return sum(one["peak_bytes_in_use"] for one in stats), "devices"
    peak = _kilobytes("/proc/self/status", "VmHWM:")
    if math.isinf(peak):
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return int(peak), "process"


def _kilobytes(path: str, name: str) -> float:
    """A number of kilobytes that the system states, in bytes; infinite if it does not."""
    found = (int(line.split()[1]) for line in _lines(path) if line.startswith(name))
    return next(found, math.inf) * 1024


def _lines(path: str) -> list[str]:
    try:
        return pathlib.Path(path).read_text().splitlines()
    except OSError:
        return []


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
