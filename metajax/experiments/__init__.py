"""Records of runs, statistics over them, and tables and pictures for people.

``tables`` imports neither jax nor matplotlib.
"""

import importlib
from typing import TYPE_CHECKING, Any

__all__ = [
    "arithmetic",
    "learning_curves",
    "rendering",
    "statistics",
    "tables",
    "throughput",
]

if TYPE_CHECKING:
    from metajax.experiments import (
        arithmetic,
        learning_curves,
        rendering,
        statistics,
        tables,
        throughput,
    )


def __getattr__(name: str) -> Any:
    if name in __all__:
        return importlib.import_module(f"metajax.experiments.{name}")
    raise AttributeError(f"module 'metajax.experiments' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
