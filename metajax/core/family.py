"""Task families: an environment, or a source of labelled examples, and a distribution of tasks.

Shape letters, used in every docstring:

====  =====================================================================
N     tasks in a meta-batch
E     parallel streams of experience inside one task
T     environment steps of one chunk
K     adaptations in one trial
A     actions: the number of choices, or the length of the action vector
O     features of one observation (stands for the whole observation shape)
P     members of a population
====  =====================================================================

A *task* is one pytree of arrays that fixes one MDP or one data set. An *episode* runs from
reset to termination or truncation. A *return* is undiscounted unless its name says otherwise.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol

import jax
from jax.core import Tracer

Key = jax.Array
Tree = Any


@dataclasses.dataclass(frozen=True)
class Discrete:
    """Actions ``0 .. num_actions - 1`` (int32 scalars)."""

    num_actions: int


@dataclasses.dataclass(frozen=True)
class Box:
    """Actions as float32 vectors; ``low`` and ``high`` are per-axis bounds.

    The bounds describe the actuators. Families clip the actions they receive, so a policy may
    propose values outside.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]

    def __post_init__(self) -> None:
        for name in ("low", "high"):  # a family needs a hash, which lists and arrays lack
            object.__setattr__(self, name, tuple(float(bound) for bound in getattr(self, name)))

    @property
    def size(self) -> int:
        """Length A of the action vector."""
        return len(self.low)


@dataclasses.dataclass(frozen=True)
class Tabular:
    """Finite state space, shown one-hot by the observations.

    Attributes:
      num_states: S, also the length of an observation. A bandit has one state, and
        episodes of one step.
      rewards: Reward distribution given state and action, "bernoulli" or "gaussian".
    """

    num_states: int
    rewards: str


@dataclasses.dataclass(frozen=True)
class Grid:
    """Map of a family of square grids, for pictures.

    Attributes:
      size: Side in cells.
      cell: ``observation [O] -> [2]``, the cell of the agent: x to the right and y upwards, from 0.
      marks: ``task -> {name: [2]}``, cells of a task to find.
      walls: Cells that cannot be entered.
    """

    size: int
    cell: Callable[[jax.Array], jax.Array]
    marks: Callable[[Tree], dict[str, jax.Array]]
    walls: tuple[tuple[int, int], ...] = ()


@dataclasses.dataclass(frozen=True)
class Spec:
    """Static description of a family of MDPs.

    Attributes:
      name: Name in messages and result files.
      observation_shape: Shape of one observation.
      action_space: ``Discrete`` or ``Box``.
      episode_length: Time limit of one episode, in steps.
      episodes_per_trial: Episodes of one trial by the family's own definition.
      random_return: Expected return of the uniform random policy, if known.
      oracle_return: Expected return of the policy that knows the task, if known.
      optimal_return: ``task -> scalar``, the expected return of an episode of the
        best policy that knows the task, if it can be computed.
      tabular: State and reward description that the classical algorithms need; None for
        families with infinitely many states.
      plane: ``task -> [2]``, the goal of a task in families whose observation starts with a
        position in the plane; pictures use it.
      grid: Map of a family whose observation tells the cell; pictures use it.
      arms: ``task -> [A]``, expected reward of each arm of a bandit; pictures use it.
      observation_dtype: Dtype of the observations; replay buffers keep it.
      num_indices: S, if an observation ``[1]`` is the index of one of S states; policies then
        read it one-hot, and those without a hidden layer are tables.
    """

    name: str
    observation_shape: tuple[int, ...]
    action_space: Discrete | Box
    episode_length: int
    episodes_per_trial: int = 1
    random_return: float | None = None
    oracle_return: float | None = None
    optimal_return: Callable[[Tree], jax.Array] | None = None
    tabular: Tabular | None = None
    plane: Callable[[Tree], jax.Array] | None = None
    grid: Grid | None = None
    arms: Callable[[Tree], jax.Array] | None = None
    observation_dtype: str = "float32"
    num_indices: int | None = None

    def __post_init__(self) -> None:
        # Compiled programs are cached by the spec, and lists and arrays have no hash.
        object.__setattr__(self, "observation_shape", tuple(self.observation_shape))
        for name in ("random_return", "oracle_return"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, Tracer):
                object.__setattr__(self, name, float(value))

    @property
    def score(self) -> str:
        """Name of the score of a trial."""
        return "return"


class TimeStep(NamedTuple):
    """Output of the environment after a reset or a step, for one stream.

    Attributes:
      observation: ``[O]``, the observation to act on next. After the end of an
        episode, ``TaskFamily.step`` puts the first observation of the next one here.
      reward: Float32 scalar; 0 after a reset.
      terminated: Bool; the episode ended in a terminal state (no bootstrap).
      truncated: Bool; the time limit cut the episode (bootstrap).
      final_observation: ``[O]``, the observation that the step led to, before any reset. Equal to
        ``observation`` except at the end of an episode. Free inside ``jax.jit`` where unread.
    """

    observation: jax.Array
    reward: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    final_observation: jax.Array

    @property
    def done(self) -> jax.Array:
        """Whether the episode ended with this step, for either reason."""
        return self.terminated | self.truncated


class SampleFn(Protocol):
    """Draws a task."""

    def __call__(self, key: Key, /) -> Tree: ...


class ResetFn(Protocol):
    """Starts an episode: ``(state, timestep)``."""

    def __call__(self, key: Key, task: Tree, /) -> tuple[Tree, TimeStep]: ...


class StepFn(Protocol):
    """Takes one environment step: ``(state, timestep)``."""

    def __call__(
        self, key: Key, task: Tree, state: Tree, action: jax.Array, /
    ) -> tuple[Tree, TimeStep]: ...


Restarts = Literal["own", "step", "chunk"]


class TaskFamily(NamedTuple):
    """An environment and a distribution of tasks over it.

    Attributes:
      spec: Static description.
      sample: ``(key) -> task``.
      reset: ``(key, task) -> (state, timestep)``.
      step: ``(key, task, state, action) -> (state, timestep)``; starts the next
        episode of the same task by itself.
      advance: The same without the reset: after the end of an episode the
        state is the terminal one. Fresh trials use ``advance``, since drawing a reset at
        every step can cost more than the step (see ``with_auto_reset``).
      restarts: When the first state of the next episode is drawn.
        "step": anew at every step, ahead of the loop; for cheap resets.
        "chunk": once a chunk for every stream, so that episodes that end in the same chunk
        restart alike; for resets that cost more than a step.
        "own": by ``step`` alone, for families whose state outlives the end of an episode.
      oracle: ``(task, state) -> action``, an optimal action of who sees the task; None where it
        is not known. Demonstrations are made of it.
    """

    spec: Spec
    sample: SampleFn
    reset: ResetFn
    step: StepFn
    advance: StepFn
    restarts: Restarts = "own"
    oracle: Callable[[Tree, Tree], jax.Array] | None = None


# --- Supervised families -----------------------------------------------------------------


class Examples(NamedTuple):
    """Labelled examples of one task.

    Attributes:
      inputs: ``[n, ...]``.
      targets: ``[n, ...]``: values to predict, or int32 classes.
    """

    inputs: jax.Array
    targets: jax.Array


@dataclasses.dataclass(frozen=True)
class DataSpec:
    """Static description of a family of data sets.

    Attributes:
      name: Name in messages and result files.
      input_shape: Shape of one input.
      num_outputs: Length of the prediction for one input: regression targets, or classes.
      classes: Whether targets are classes; the score is then the accuracy, otherwise minus the
        mean squared error.
    """

    name: str
    input_shape: tuple[int, ...]
    num_outputs: int
    classes: bool = False

    @property
    def score(self) -> str:
        """Name of the score of a trial."""
        return "accuracy" if self.classes else "negative squared error"


class DrawFn(Protocol):
    """Draws n labelled examples of one task."""

    def __call__(self, key: Key, task: Tree, num_examples: int, /) -> Examples: ...


class DataFamily(NamedTuple):
    """A distribution over data sets.

    Attributes:
      spec: Static description.
      sample: ``(key) -> task``.
      draw: ``(key, task, n) -> Examples`` with leaves ``[n, ...]``. Classes come in turn, so
        that n examples of n / k classes hold k of each.
      finite: Whether a task has few examples, of which one draw repeats none. Support and
        query examples are then drawn together.
      pool: The classes of all tasks as a single task ``()``, whose examples are drawn at
        random from all of them. None for a family whose classes belong to one task alone.
      bayes: ``(support, inputs) -> predictions [n, outputs]`` of the best predictor that knows
        the distribution of tasks and sees a support set; None where it cannot be computed.
    """

    spec: DataSpec
    sample: SampleFn
    draw: DrawFn
    finite: bool = False
    pool: DataFamily | None = None
    bayes: Callable[[Examples, jax.Array], jax.Array] | None = None


Family = TaskFamily | DataFamily
