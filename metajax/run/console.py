"""What commands say of their progress and failures, on standard error.

Results go to standard output, which may be piped.
"""

from __future__ import annotations

import shlex
import sys

from metajax.run import extensions


def say(text: str) -> None:
    """Writes a line at once."""
    print(text, file=sys.stderr, flush=True)


def failed(message: str, code: int = 1) -> int:
    """Says what went wrong; returns the exit code."""
    say(f"metajax: {message}")
    return code


def command(*words: object) -> str:
    """A command to be typed, ``metajax`` and the modules it was told to import before it."""
    imports = [word for name in extensions.loaded() for word in ("--import", name)]
    return shlex.join(["metajax", *imports, *map(str, words)])


def is_out_of_memory(error: Exception) -> bool:
    """Whether the machine or, as jax reports it, the device has no room left."""
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)


def out_of_memory(error: Exception, less: str) -> str:
    """The message of a failure for want of memory; others are raised again.

    Args:
      less: what would need less, as ``"fewer tasks"``.
    """
    if not is_out_of_memory(error):
        raise error
    return f"out of memory ({str(error).splitlines()[0]}); {less} need less"
