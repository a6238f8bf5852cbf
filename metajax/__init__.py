"""metajax: high-throughput meta-reinforcement learning in JAX.

A learner that adapts inside a task, and a rule that improves it across thousands
of tasks, as one jitted program. This list is the public interface; names are
loaded when they are first used, so that ``import metajax`` is quick.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

_HOME = {
    "make": "metajax.algorithms",
    "list_algorithms": "metajax.algorithms",
    "compose": "metajax.composition",
    "Trials": "metajax.composition",
    "fresh": "metajax.composition",
    "continuing": "metajax.composition",
    "lifetimes": "metajax.composition",
    "train": "metajax.training",
    "initial_state": "metajax.training",
    "evaluate": "metajax.evaluation",
    "Evaluation": "metajax.evaluation",
    "OptionError": "metajax.core.options",
    "run_trial": "metajax.core.problem",
    "replay": "metajax.core.problem",
    "load_run": "metajax.run.loading",
    "LoadedRun": "metajax.run.loading",
    "CheckpointError": "metajax.run.checkpoints",
    "TaskMap": "metajax.core.layout",
}
_TYPES = (
    "ActorInput",
    "ActorOutput",
    "Box",
    "Chunk",
    "Discrete",
    "Estimator",
    "Learner",
    "MetaAlgorithm",
    "MetaState",
    "Objective",
    "Outer",
    "Outputs",
    "Source",
    "Spec",
    "Tabular",
    "TaskFamily",
    "TimeStep",
    "Trial",
)
_ROOMS = (
    "algorithms",
    "core",
    "data",
    "experiments",
    "inner",
    "losses",
    "networks",
    "outer",
    "tasks",
)
_HOME.update(dict.fromkeys(_TYPES, "metajax.core.types"))

__all__ = ["__version__", *_HOME, *_ROOMS]  # pyright: ignore[reportUnsupportedDunderAll]

if TYPE_CHECKING:
    from metajax import algorithms, experiments, inner, losses, networks, outer, tasks
    from metajax.algorithms import list_algorithms, make
    from metajax.composition import Trials, compose, continuing, fresh, lifetimes
    from metajax.core.layout import TaskMap
    from metajax.core.options import OptionError
    from metajax.core.problem import replay, run_trial
    from metajax.core.types import (
        ActorInput,
        ActorOutput,
        Box,
        Chunk,
        Discrete,
        Estimator,
        Learner,
        MetaAlgorithm,
        MetaState,
        Objective,
        Outer,
        Outputs,
        Source,
        Spec,
        Tabular,
        TaskFamily,
        TimeStep,
        Trial,
    )
    from metajax.evaluation import Evaluation, evaluate
    from metajax.run.checkpoints import CheckpointError
    from metajax.run.loading import LoadedRun, load_run
    from metajax.training import initial_state, train


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"metajax.{name}")
    if name in _HOME:
        value = getattr(importlib.import_module(_HOME[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'metajax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
