"""A tiny algorithm and family under the names "fake", for tests of the run.

As a program it is ``metajax`` with both registered. ``FAKE_KILL=point`` then
kills the process with SIGKILL at that point, the second time it comes there;
``FAKE_SLOW`` makes it wait after each block, ``FAKE_SLOW_SECONDS`` long.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
import signal
import sys
import time
import types
from typing import Any, Literal

from metajax.core.options import Count, Options, Positive

CONFIG = """
[family]
name = "fake"

[algorithm]
name = "fake"

[train]
num-iterations = 12
block-size = 2
checkpoint-every = 4

[evaluate]
num-tasks = 4
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FakeFamily(Options):
    """Numbers to guess.

    Attributes:
      scale: how far apart they are.
    """

    scale: Positive = 1.0

    @functools.lru_cache(maxsize=8)  # noqa: B019, equal values compile once
    def build(self) -> Any:
        import jax
        import jax.numpy as jnp

        from metajax.core.family import Discrete, Spec, TaskFamily
        from metajax.tasks.auto_reset import time_step

        def sample(key):
            return self.scale * jax.random.normal(key, (3,))

        def reset(*_):
            return (), time_step(jnp.zeros(3))

        return TaskFamily(Spec("fake", (3,), Discrete(2), 5), sample, reset, reset, reset)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fake(Options):
    """Guesses numbers.

    Attributes:
      num_tasks: guessed at once.
      rate: step size.
      kind: of guess.
      sizes: of nothing.
      deployed: added to the guess for a meta-test.
      nan_at: the iteration in which something is not a number.
      nan_in: what.
      network: (Python only).
    """

    num_tasks: Count = 4
    rate: Positive = 0.1
    kind: Literal["good", "bad"] = "good"
    sizes: tuple[Count, ...] = (2, 2)
    deployed: float = 0.0
    nan_at: int | None = None
    nan_in: Literal["theta", "loss"] = "theta"
    network: Any = dataclasses.field(default=None, metadata={"api": True})

    @functools.lru_cache(maxsize=8)  # noqa: B019, equal values compile once
    def build(self, family: Any) -> Any:
        import jax
        import jax.numpy as jnp

        from metajax.core.algorithm import MetaAlgorithm, MetaState
        from metajax.core.problem import Problem
        from metajax.core.types import Trial

        def init(key):
            carry = {"key": jax.random.split(key)[0], "count": jnp.int32(0), "none": jnp.zeros(0)}
            return MetaState({"w": jax.random.normal(key, (3,))}, carry)

        def step(key, state):
            keys = jax.random.split(jax.random.fold_in(key, state.carry["count"]), self.num_tasks)
            goal = jax.vmap(family.sample)(keys).mean(axis=0)
            noise = jax.random.normal(jax.random.fold_in(state.carry["key"], 1), (3,))
            count = state.carry["count"] + 1
            bad = jnp.where(count == (self.nan_at or -1), jnp.nan, 0.0)
            w = state.theta["w"] * (1 - self.rate) + self.rate * (goal + 0.1 * noise)
            loss = jnp.sum(w**2)
            w, loss = (w + bad, loss) if self.nan_in == "theta" else (w, loss + bad)
            carry = {**state.carry, "key": jax.random.split(state.carry["key"])[0], "count": count}
            info = {"returns": -jnp.stack([loss, loss / 2]), "loss": loss}
            return MetaState({"w": w}, carry), {**info, "env_steps": jnp.int32(10)}

        def adapt(key, theta, task, *, num_adaptations=None, **_):
            k = 1 if num_adaptations is None else num_adaptations
            left = (1 - self.rate) ** jnp.arange(k + 1)
            returns = -jnp.sum((theta["w"] - task) ** 2) * left
            nothing: Any = ()
            return Trial(returns, jnp.int32(10), theta, nothing, nothing, nothing)

        nobody: Any = None

        def deploy(state):
            return {"w": state.theta["w"] + self.deployed}

        return MetaAlgorithm(Problem(family, nobody, nobody), init, step, adapt, deploy)


def register() -> None:
    """Makes "fake" known to configs."""
    from metajax.algorithms import ALGORITHMS
    from metajax.tasks import FAMILIES

    ALGORITHMS.register("fake", Fake)
    FAMILIES.register("fake", FakeFamily)


def report() -> dict[str, types.ModuleType]:
    """Stand-ins for what draws and prints results, quick to import."""
    parts = {
        "machine": types.ModuleType("metajax.run.machine"),
        "plots": types.ModuleType("metajax.run.plots"),
        "tables": types.ModuleType("metajax.run.tables"),
    }
    vars(parts["machine"]).update(environment=dict, place=str, num_cores=lambda: 2)
    for name in ("adaptation_curve", "training_curves"):
        vars(parts["plots"])[name] = lambda path, *_, **__: pathlib.Path(path).write_text("png")
    vars(parts["tables"])["adaptation_table"] = lambda evaluation, baseline: (
        f"returns {evaluation.mean()}"
    )
    return {part.__name__: part for part in parts.values()}


def _kill_at(point: str) -> None:
    from metajax.run import checkpoints, directory

    module, name = {
        "metrics": (directory.RunDirectory, "append_metrics"),
        "arrays": (checkpoints, "_write_manifest"),
        "rename": (checkpoints, "remove"),
    }[point]
    original = getattr(module, name)
    calls = []

    def die(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 2:
            if point == "metrics":
                with open(arguments[0].metrics, "a") as file:
                    file.write('{"iteration": 3, "lo')
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments)

    setattr(module, name, die)


def _slow_down() -> None:
    from metajax.run import loop

    original = loop._Blocks.__call__

    def slowly(*arguments: Any, **more: Any) -> bool:
        print("waiting", file=sys.stderr, flush=True)
        time.sleep(float(os.environ.get("FAKE_SLOW_SECONDS", "0.1")))
        return original(*arguments, **more)

    setattr(loop._Blocks, "__call__", slowly)  # noqa: B010, no other way to type it


if __name__ == "__main__":
    register()
    sys.modules.update(report())
    if point := os.environ.get("FAKE_KILL"):
        _kill_at(point)
    if os.environ.get("FAKE_SLOW"):
        _slow_down()
    from metajax.cli import main

    raise SystemExit(main())
