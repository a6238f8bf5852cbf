"""metajax: high-throughput meta-reinforcement learning in JAX.

A learner that adapts inside a task, and a rule that improves it across thousands
of tasks, as one jitted program. This list is the public interface; names are
loaded when they are first used, so that ``import metajax`` is quick.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

_NAMES = {
    "metajax.algorithms": ("list_algorithms", "make"),
    "metajax.composition": ("compose",),
    "metajax.core.algorithm": ("Estimator", "MetaAlgorithm", "MetaState", "Objective", "Outer"),
    "metajax.core.family": (
        *("Box", "DataFamily", "DataSpec", "Discrete", "Examples", "Spec", "Tabular"),
        *("TaskFamily", "TimeStep"),
    ),
    "metajax.core.layout": ("Layout",),
    "metajax.core.options": ("OptionError",),
    "metajax.core.problem": ("Problem",),
    "metajax.core.replay": ("replay",),
    "metajax.core.types": (
        *("Actor", "ActorInput", "ActorOutput", "Chunk", "Learner", "Measured", "Outputs"),
        *("Source", "Trial"),
    ),
    "metajax.data.continuing": ("continuing",),
    "metajax.data.demonstrated": ("demonstrated",),
    "metajax.data.few_shot": ("few_shot",),
    "metajax.data.fresh": ("fresh",),
    "metajax.data.lifetime": ("lifetime",),
    "metajax.evaluation": ("Evaluation", "evaluate"),
    "metajax.exporting": ("Policy", "load_policy", "policy"),
    "metajax.run.checkpoints": ("CheckpointError",),
    "metajax.run.loading": ("LoadedRun", "load_metrics", "load_run"),
    "metajax.training": ("initial_state", "train"),
}
_HOME = {name: module for module, names in _NAMES.items() for name in names}
_ROOMS = ("algorithms", "experiments", "inner", "losses", "networks", "outer", "tasks", "zoo")

__all__ = ["__version__", *_HOME, *_ROOMS]  # pyright: ignore[reportUnsupportedDunderAll]

if TYPE_CHECKING:
    from metajax import algorithms, experiments, inner, losses, networks, outer, tasks, zoo
    from metajax.algorithms import list_algorithms, make
    from metajax.composition import compose
    from metajax.core.algorithm import Estimator, MetaAlgorithm, MetaState, Objective, Outer
    from metajax.core.family import (
        Box,
        DataFamily,
        DataSpec,
        Discrete,
        Examples,
        Spec,
        Tabular,
        TaskFamily,
        TimeStep,
    )
    from metajax.core.layout import Layout
    from metajax.core.options import OptionError
    from metajax.core.problem import Problem
    from metajax.core.replay import replay
    from metajax.core.types import (
        Actor,
        ActorInput,
        ActorOutput,
        Chunk,
        Learner,
        Measured,
        Outputs,
        Source,
        Trial,
    )
    from metajax.data.continuing import continuing
    from metajax.data.demonstrated import demonstrated
    from metajax.data.few_shot import few_shot
    from metajax.data.fresh import fresh
    from metajax.data.lifetime import lifetime
    from metajax.evaluation import Evaluation, evaluate
    from metajax.exporting import Policy, load_policy, policy
    from metajax.run.checkpoints import CheckpointError
    from metajax.run.loading import LoadedRun, load_metrics, load_run
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
