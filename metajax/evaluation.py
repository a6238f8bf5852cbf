"""The meta-test protocol: how well theta adapts to tasks it has not seen."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import jax
import numpy as np

from metajax.core.algorithm import MetaAlgorithm, MetaState
from metajax.core.checks import (
    check_algorithm,
    check_family,
    check_integer,
    check_key,
    deployed,
    is_traced,
)
from metajax.core.family import Family, Key, TaskFamily, Tree
from metajax.core.frames import pandas
from metajax.core.layout import Layout
from metajax.core.problem import even_points
from metajax.core.types import Trial

if TYPE_CHECKING:
    from pandas import DataFrame


class Evaluation(NamedTuple):
    """Returns of a meta-test.

    Attributes:
      returns: ``[num_tasks, K + 1]`` numpy; mean undiscounted return of the
        episodes of a task after 0..K adaptations, or ``[num_tasks, episodes]``, the
        return of each episode of a continuing trial, or ``[num_tasks, P + 1]``, at points
        of a lifetime. The last is NaN in a task in which the adaptation diverged.
      axis: what the second axis counts: "adaptations", "episodes" or "points".
      explore: whether the policy that was measured sampled its actions.
      env_steps: transitions that happened, over all tasks.
      steps: ``[P + 1]``, how many transitions of its task a learner had adapted to at
        each of the "points"; None on the other axes.
      score: Name of what ``returns`` hold: "return", or for labelled examples "accuracy" or
        "negative squared error".
    """

    returns: np.ndarray
    axis: str
    explore: bool
    env_steps: int
    steps: np.ndarray | None = None
    score: str = "return"

    def __repr__(self) -> str:
        means = ", ".join(f"{one:.4g}" for one in self.mean())
        return f"Evaluation({self.score} {means} over {self.axis}, {len(self.returns)} tasks)"

    @property
    def num_adaptations(self) -> int:
        """K on the axis "adaptations"; elsewhere one less than there are returns."""
        return self.returns.shape[1] - 1

    @property
    def positions(self) -> np.ndarray:
        """``[K + 1]``, where on their axis the returns are.

        Adaptations count from 0, episodes from 1, and "points" are transitions.
        """
        if self.steps is not None:
            return self.steps
        return np.arange(self.returns.shape[1]) + (self.axis == "episodes")

    def mean(self) -> np.ndarray:
        """``[K + 1]``, over tasks."""
        return self.returns.mean(axis=0, dtype=np.float64)

    def interval(self) -> np.ndarray:
        """``[2, K + 1]``, 95% interval of the mean over tasks (normal approximation).

        NaN for a single task.
        """
        if len(self.returns) < 2:
            return np.full((2, self.returns.shape[1]), np.nan)
        error = self.returns.std(axis=0, ddof=1, dtype=np.float64) / np.sqrt(len(self.returns))
        return self.mean() + np.outer([-1.96, 1.96], error)

    def to_frame(self) -> "DataFrame":
        """The returns as a pandas frame, a row for each task and position.

        Its columns are ``task``, the axis (``adaptations``, ``episodes`` or ``points``) and the
        score.

        Raises:
          OptionError: If pandas is not installed.
        """
        number, length = self.returns.shape
        columns = {
            "task": np.repeat(np.arange(number), length),
            self.axis: np.tile(self.positions, number),
            self.score: self.returns.ravel(),
        }
        return pandas().DataFrame(columns)


@functools.lru_cache(maxsize=32)
def _meta_test(
    algorithm: MetaAlgorithm,
    family: Family,
    layout: Layout,
    num_adaptations: int | None,
    num_streams: int | None,
    explore: bool,
) -> Callable:
    def of_task(theta, key):
        key_task, key_trial = jax.random.split(key)
        trial = algorithm.adapt(
            key_trial,
            theta,
            family.sample(key_task),
            family=family,
            num_adaptations=num_adaptations,
            num_streams=num_streams,
            explore=explore,
        )
        steps = _steps_at_points(trial) if algorithm.axis == "points" else None
        return trial.returns, trial.env_steps, steps

    def run(key, theta):
        return layout.collect(of_task, theta, jax.random.split(key, layout.num_tasks))

    return jax.jit(run)


def evaluate(
    algorithm: MetaAlgorithm,
    key: Key,
    theta: Tree | MetaState,
    family: Family | None = None,
    *,
    num_tasks: int = 100,
    num_adaptations: int | None = None,
    num_streams: int | None = None,
    explore: bool = True,
) -> Evaluation:
    """Adapts to fresh tasks and measures the return after each adaptation.

    Args:
      algorithm: Algorithm whose learner adapts.
      key: Randomness of the tasks and their episodes; another one than that of training.
      theta: The ``MetaState`` that training ends with, of which ``algorithm.deploy`` makes the
        meta-parameters of a meta-test; or such meta-parameters.
      family: Family to draw the tasks from; of a finite one give the held-out split. Default:
        the training family.
      num_tasks: Number of tasks to average over.
      num_adaptations: K, which may be more than in training. Default: as trained.
      num_streams: E, episodes before each adaptation. Default: as trained.
      explore: Whether to measure sampled actions. False measures the policy's mode in episodes
        of their own; adaptation still learns from sampled actions.

    Returns:
      The ``Evaluation``, on the host. Inside of ``jax.vmap`` or ``jax.jit`` its ``returns``,
      ``env_steps`` and ``steps`` are traced: ``jax.vmap(lambda theta: evaluate(algorithm, key,
      theta).returns)(thetas)`` is ``[len(thetas), num_tasks, K + 1]``.

    Raises:
      OptionError: naming the argument that is of another kind, belongs to another algorithm, or
        is an impossible size; and for a family of other spaces.
    """
    check_algorithm(algorithm)
    check_key(key)
    if family is not None:
        check_family(family)
    check_integer("num_tasks", num_tasks, 1)
    if num_streams is not None:
        check_integer("num_streams", num_streams, 1)
    if num_adaptations is not None:
        check_integer("num_adaptations", num_adaptations, 0)
    theta = deployed(algorithm, theta)
    layout = Layout.padded(num_tasks, algorithm.microbatch)
    run = _meta_test(
        algorithm,
        algorithm.family if family is None else family,
        layout,
        num_adaptations,
        num_streams,
        explore,
    )
    # Training may have left theta on another number of devices.
    results = run(*layout.replicated((key, theta)))
    about = {"axis": algorithm.axis, "explore": explore, "score": algorithm.family.spec.score}
    if is_traced(results):
        returns, env_steps, steps = results
        steps = None if steps is None else steps[0]
        return Evaluation(returns=returns, env_steps=env_steps.sum(), steps=steps, **about)
    returns, env_steps, steps = jax.device_get(results)
    return Evaluation(
        returns=np.asarray(returns),
        env_steps=int(np.sum(env_steps, dtype=np.int64)),
        steps=None if steps is None else np.asarray(steps[0], np.int64),
        **about,
    )


def _steps_at_points(trial: Trial) -> np.ndarray:
    """Transitions that were adapted to at each point of a lifetime, which masks none."""
    num_adaptations, num_steps, num_streams = trial.support.reward.shape
    adapted = even_points(num_adaptations, len(trial.returns) - 1)
    return np.asarray(adapted * num_steps * num_streams, np.int32)


def optimal_returns(key: Key, family: Family, num_tasks: int) -> np.ndarray | None:
    """What the best policy that knows the task expects, in the tasks of an evaluation.

    Args:
      key, family, num_tasks: as ``evaluate`` gets them; the tasks are the same.

    Returns:
      ``[num_tasks]``, the expected return of one episode; None where the family
      cannot tell.
    """
    optimal = family.spec.optimal_return if isinstance(family, TaskFamily) else None
    if optimal is None:
        return None

    def of_task(_, key):
        return optimal(family.sample(jax.random.split(key)[0]))

    layout = Layout.padded(num_tasks)
    run = jax.jit(lambda key: layout.collect(of_task, (), jax.random.split(key, num_tasks)))
    return np.asarray(run(key))
