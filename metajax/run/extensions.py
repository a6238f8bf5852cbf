"""Modules of a user's own, which register algorithms and task families by name.

``metajax --import my_tasks train mine.toml`` imports ``my_tasks`` from the working directory
or from where Python finds it, before anything else. What it registers is then known to every
command, to configs and to tables::

    from metajax.algorithms import ALGORITHMS
    from metajax.tasks import FAMILIES

    FAMILIES.register("my-family", MyFamily)
    ALGORITHMS.register("my-algorithm", MyAlgorithm)
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from metajax.core.options import OptionError

_loaded: list[str] = []


def loaded() -> list[str]:
    """Names of the modules that this process was told to import.

    A process that it starts, or a command that it tells the user to type, has to be given them.
    """
    return [*_loaded]


def load(names: Sequence[str]) -> None:
    """Imports modules by name, which then are among ``loaded``.

    Raises OptionError for a module that is not found.
    """
    if names and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    for name in names:
        try:
            if "" in name.split("."):  # to importlib this is relative to another module
                raise ModuleNotFoundError(name=name)
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise
            raise OptionError(
                "--import",
                f'"{name}" is not found; allowed: a module of {os.getcwd()} or of this Python',
            ) from None
        if name not in _loaded:
            _loaded.append(name)
