"""A family and an algorithm whose every number can be done by hand, and tables of them.

With ``w`` the number that training moves and ``z`` the task, each episode of a trial
returns ``w (1 - w) + tilt w z``; who knows the task returns ``2 + z``.
"""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

from metajax.core.options import Count, Options
from metajax.experiments.table_definition import Table, load

TABLE = """
title = "Toys"
source = "A paper 2016"
metric = "total"
decimals = 2
family = { name = "toys" }
evaluate = { num-tasks = 6 }

[[columns]]
name = "two"
family = { num-episodes = 2 }

[[columns]]
name = "three"
family = { num-episodes = 3 }

[[rows]]
name = "optimum"
label = "optimum"
reference = "optimal-policy"

[[rows]]
name = "trained"
label = "trained"
algorithm = { name = "mover" }
train = { num-iterations = 4, block-size = 1, checkpoint-every = 1 }
published = [0.9, [1.25, 0.05]]

[[rows]]
name = "still"
label = "still"
algorithm = { name = "mover" }
tune = { start = [0.0, 0.4, 1.0] }

[profiles.quick]
columns = ["two"]

[profiles.full]
seeds = [0, 1]
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Toys(Options):
    """Numbers.

    Attributes:
      num_episodes: of a trial.
      spread: of the tasks.
      known: whether it is known what the best policy returns.
    """

    num_episodes: Count = 2
    spread: float = 0.0
    known: bool = True

    def build(self) -> Any:
        import jax
        import jax.numpy as jnp

        from metajax.core.family import Discrete, Spec, TaskFamily
        from metajax.tasks.auto_reset import time_step

        def reset(*_):
            return (), time_step(jnp.zeros(1))

        spec = Spec(
            "toys",
            (1,),
            Discrete(2),
            1,
            episodes_per_trial=self.num_episodes,
            random_return=0.5,
            optimal_return=(lambda task: 2.0 + task) if self.known else None,
        )
        sample = lambda key: self.spread * jax.random.normal(key)  # noqa: E731
        return TaskFamily(spec, sample, reset, reset, reset)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mover:
    """Moves a number by 0.1 an iteration.

    Attributes:
      start: where it starts.
      tilt: how much the task matters.
      size: of nothing, but it is a shape.
      steps: adaptations, if not zero: returns then count these.
      num_streams: episodes side by side then.
      num_episodes: of a trial; what the family says if not given.
      lives: whether trials are lifetimes.
    """

    start: float = 0.0
    tilt: float = 0.0
    size: int = 1
    steps: int = 0
    num_streams: int = 1
    num_episodes: int | None = None
    lives: bool = False

    def build(self, family: Any) -> Any:
        import jax.numpy as jnp

        from metajax.core.algorithm import MetaAlgorithm, MetaState
        from metajax.core.problem import Problem
        from metajax.core.types import Learner, Trial

        nothing: Any = ()
        learner = Learner(nothing, lambda key, theta: nothing, nothing, nothing)

        def init(key):
            del key
            return MetaState({"w": jnp.asarray(self.start, jnp.float32)}, jnp.int32(0))

        def step(key, state):
            del key
            info = {"returns": jnp.zeros(1), "env_steps": jnp.int32(10)}
            return MetaState({"w": state.theta["w"] + 0.1}, state.carry + 1), info

        def adapt(key, theta, task, *, family, **_):
            number = self.num_episodes or family.spec.episodes_per_trial
            number = self.steps + 1 if self.steps else number
            w = theta["w"] + 0 * jnp.sum(jnp.zeros(self.size))
            returns = jnp.full(number, w * (1 - w) + self.tilt * w * task)
            return Trial(returns, jnp.int32(number), nothing, nothing, nothing, nothing)

        axis = "adaptations" if self.steps else "points" if self.lives else "episodes"
        problem = Problem(family, learner, nothing, axis=axis)
        return MetaAlgorithm(problem, init, step, adapt)


def write(root: pathlib.Path, text: str = TABLE, name: str = "toys") -> pathlib.Path:
    """Writes a table below ``root``; returns the directory of tables."""
    directory = root / "benchmarks" / "tables"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{name}.toml").write_text(text)
    return directory


def read(root: pathlib.Path, text: str = TABLE) -> Table:
    """The table that ``write`` wrote."""
    table = load("toys", write(root, text))
    assert isinstance(table, Table)
    return table
