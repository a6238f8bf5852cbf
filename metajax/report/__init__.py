"""Records of runs, statistics over them, and tables and pictures for people.

``records`` and ``tables`` import neither jax nor matplotlib; ``plots`` loads
matplotlib when it draws.
"""

import importlib
from typing import TYPE_CHECKING, Any

__all__ = [
    "arithmetic",
    "learning_curves",
    "plots",
    "records",
    "rendering",
    "statistics",
    "tables",
    "throughput",
]

if TYPE_CHECKING:
    from metajax.report import (
        arithmetic,
        learning_curves,
        plots,
        records,
        rendering,
        statistics,
        tables,
        throughput,
    )


def __getattr__(name: str) -> Any:
    if name in __all__:
        return importlib.import_module(f"metajax.report.{name}")
    raise AttributeError(f"module 'metajax.report' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
