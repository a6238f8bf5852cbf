"""Messages of the commands on standard error; results go to standard output."""

from __future__ import annotations

import shlex
import sys

from metajax.core.kinds import one_line
from metajax.run import extensions


def say(text: str) -> None:
    """Prints a line to standard error, flushed."""
    print(text, file=sys.stderr, flush=True)


def failed(message: str, code: int = 1) -> int:
    """Prints an error message in one line; returns the exit code."""
    say(one_line(f"metajax: {message}"))
    return code


def command(*words: object) -> str:
    """A command line for the user to type, with ``metajax`` and the ``--import`` options."""
    imports = [word for name in extensions.loaded() for word in ("--import", name)]
    return shlex.join(["metajax", *imports, *map(str, words)])


def is_out_of_memory(error: Exception) -> bool:
    """Whether ``error`` says that the machine, or the device in jax, ran out of memory."""
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)


def out_of_memory(error: Exception, less: str) -> str:
    """The message of an out-of-memory error; any other error is raised again.

    Args:
      error: The error.
      less: What to reduce, for example ``"fewer tasks"``.
    """
    if not is_out_of_memory(error):
        raise error
    return f"out of memory ({str(error).splitlines()[0]}); {less} need less"
