"""The contracts of the package: what a task family, a learner and an outer rule are.

Every contract is a ``NamedTuple`` of pure functions. A random key always comes
first, then the slow parameters ``theta``, the fast state ``phi``, then data.

Shape letters, used in every docstring:

====  =====================================================================
N     tasks in a meta-batch
E     parallel streams of experience inside one task
T     environment steps of one chunk
K     adaptations in one trial
A     actions: the number of choices, or the length of the action vector
O     features of one observation (stands for the whole observation shape)
====  =====================================================================

Words: a *task* is one pytree of arrays that fixes one MDP; an *episode* runs
from reset to termination or truncation; a *trial* is all interaction with one
task; a *chunk* is the experience between two adaptations. *theta* is learned
across tasks, *phi* is the state of the learner inside one task, *memory* is
the carry of one stream of experience. A *return* is undiscounted unless its
name says otherwise.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.core import Tracer

Key = jax.Array
Tree = Any


# --- Spaces and task families -------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Discrete:
    """Actions are the integers ``0 .. num_actions - 1`` (int32 scalars)."""

    num_actions: int


@dataclasses.dataclass(frozen=True)
class Box:
    """Actions are float32 vectors; ``low`` and ``high`` are per-axis bounds.

    The bounds describe the actuators. Families clip what they are given, so a
    policy may propose values outside.
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
    """That a family has finitely many states, which its observations show one-hot.

    Attributes:
      num_states: S, also the length of an observation. A bandit has one state, and
        episodes of one step.
      rewards: their distribution given state and action, "bernoulli" or "gaussian".
    """

    num_states: int
    rewards: str


@dataclasses.dataclass(frozen=True)
class Spec:
    """What is static about a task family.

    Attributes:
      name: how messages and result files call the family.
      observation_shape: shape of one observation.
      action_space: ``Discrete`` or ``Box``.
      episode_length: time limit of one episode, in steps.
      episodes_per_trial: episodes that a trial of the family is made of by
        its own definition.
      random_return: expected return of the uniform random policy, if known.
      oracle_return: expected return of the policy that knows the task, if known.
      optimal_return: ``task -> scalar``, the expected return of an episode of the
        best policy that knows the task, if it can be computed.
      tabular: for families of bandits and of small Markov decision processes, what
        the classical algorithms need to know.
      plane: for families whose observation starts with a position in the
        plane, the goal of a task, ``task -> [2]``; plots use it.
      observation_dtype: of the observations; replay buffers keep it.
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
    observation_dtype: str = "float32"

    def __post_init__(self) -> None:
        # Programs are kept by it, so that it needs a hash, which lists and arrays lack.
        object.__setattr__(self, "observation_shape", tuple(self.observation_shape))
        for name in ("random_return", "oracle_return"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, Tracer):
                object.__setattr__(self, name, float(value))


class TimeStep(NamedTuple):
    """What the environment tells after a reset or a step, for one stream.

    Attributes:
      observation: ``[O]``, what the learner acts on next. After the end of an
        episode, ``TaskFamily.step`` puts the first observation of the next one
        here.
      reward: float32 scalar; 0 after a reset.
      terminated: bool; the episode ended in a terminal state (no bootstrap).
      truncated: bool; the time limit cut the episode (bootstrap).
      final_observation: ``[O]``, where the step led before any reset. Equal to
        ``observation`` except at the end of an episode. Costs nothing inside
        ``jax.jit`` where it is not read.
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


class TaskFamily(NamedTuple):
    """An environment and a distribution of tasks over it.

    Attributes:
      spec: what is static.
      sample: ``(key) -> task``.
      reset: ``(key, task) -> (state, timestep)``.
      step: ``(key, task, state, action) -> (state, timestep)``; starts the next
        episode of the same task by itself.
      advance: the same without the reset: after the end of an episode the
        state is the terminal one. Fresh trials use it, since drawing a reset at
        every step can cost more than the step (see ``with_auto_reset``).
      auto_reset: ``step`` is ``advance`` and, at the end of an episode, a ``reset`` that
        depends on the task alone, which may then be drawn ahead. False where anything
        of the state survives the end of an episode.
    """

    spec: Spec
    sample: Callable[[Key], Tree]
    reset: Callable[[Key, Tree], tuple[Tree, TimeStep]]
    step: Callable[[Key, Tree, Tree, jax.Array], tuple[Tree, TimeStep]]
    advance: Callable[[Key, Tree, Tree, jax.Array], tuple[Tree, TimeStep]]
    auto_reset: bool = False


# --- Learners -----------------------------------------------------------------


class ActorInput(NamedTuple):
    """What a learner sees before a decision, for one stream.

    Attributes:
      observation: ``[O]``.
      last_action: the action before, across the ends of episodes. At the start of
        a trial there is none, written -1 for ``Discrete`` and 0 for ``Box``.
      last_reward: the reward of that action; 0 at the start of a trial.
      start: bool; this is the first step of an episode.
    """

    observation: jax.Array
    last_action: jax.Array
    last_reward: jax.Array
    start: jax.Array


class ActorOutput(NamedTuple):
    """One decision for one stream.

    Attributes:
      action: the sampled action.
      mode: the most probable action, for evaluation without exploration.
      log_prob: log-probability (density) of ``action``.
      value: value estimate of the observation, or ``()``.
    """

    action: jax.Array
    mode: jax.Array
    log_prob: jax.Array
    value: Any = ()


class Chunk(NamedTuple):
    """The experience between two adaptations, time first.

    Attributes:
      observation: ``[T, E, O]``.
      action: ``[T, E]`` or ``[T, E, A]``.
      reward: ``[T, E]``, 0 where ``mask`` is false.
      terminated, truncated: ``[T, E]``.
      mask: ``[T, E]``, true for transitions that happened. In a fresh trial an
        episode's padding after its end is false.
      log_prob: ``[T, E]`` under the policy that acted.
      last_observation: ``[E, O]``, the observation after the last transition of each
        stream: in a fresh trial what a truncated episode bootstraps from, elsewhere
        perhaps the first one of the next episode.
      value: ``[T, E]`` of the learner that acted, or ``()``.
      final_value: ``[T, E]``, its value of where each step led before any reset:
        what a truncation inside a trial bootstraps from; ``()`` unless asked for.
      next_observation: ``[T, E, O]``, where each step led before any reset, for
        learners that store transitions; ``()`` unless asked for.
      advantage, target: ``[T, E]`` once annotated, before that ``()``.
      scale: what the advantages were divided by (1 without normalisation), once
        annotated; before that ``()``.
    """

    observation: jax.Array
    action: jax.Array
    reward: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    mask: jax.Array
    log_prob: jax.Array
    last_observation: Any
    value: Any = ()
    final_value: Any = ()
    next_observation: Any = ()
    advantage: Any = ()
    target: Any = ()
    scale: Any = ()

    @property
    def done(self) -> jax.Array:
        """``[T, E]``, where an episode ended, for either reason."""
        return self.terminated | self.truncated


class Outputs(NamedTuple):
    """What ``Learner.unroll`` says of a chunk under the present parameters.

    Attributes:
      distribution: parameters of the action distribution, leaves ``[T, E, ...]``.
      log_prob: ``[T, E]`` of the chunk's actions.
      entropy: ``[T, E]``, nats.
      value: ``[T, E]`` of the observations, or for a learner of action values those of
        the chunk's actions; ``()`` for a learner without either.
      target: ``[T, E]``, what a learner of action values would move them to, not to be
        differentiated; ``()`` for the others.
      expected_value: ``[T, E]``, mean of all action values of the observations under the
        distribution; ``()`` for a learner without them.
    """

    distribution: Tree
    log_prob: jax.Array
    entropy: jax.Array
    value: Any = ()
    target: Any = ()
    expected_value: Any = ()


class Learner(NamedTuple):
    """A policy that adapts inside one task.

    Attributes:
      init: ``(key) -> theta``.
      begin: ``(key, theta) -> phi``, at the start of a trial.
      memory: ``(theta) -> memory`` of one stream; ``()`` where there is none.
      act: ``(noise, theta, phi, memory, actor_input) -> (ActorOutput, memory)`` for
        one stream.
      unroll: ``(theta, phi, memory, chunk) -> Outputs``, as whole blocks. A learner
        with a memory takes a chunk that begins its trial.
      annotate: ``(theta, phi, chunk) -> chunk`` with advantages and targets, at
        collection. Where those follow the weights, ``adapt`` computes its own.
      adapt: ``(draws, theta, phi, chunk) -> phi``, differentiable in theta, phi.
      weights: ``(phi) ->`` what has the structure of the initial weights.
      divergence: ``(old, new) -> [T, E]`` Kullback-Leibler divergence between
        two ``Outputs.distribution``.
      noise: ``(key) ->`` the randomness of one decision, which ``act`` gets. The
        engine draws that of a whole rollout before its loop: a random generator
        inside costs more than a small policy. By default the key itself.
      draw: ``(key) ->`` the randomness of one adaptation, which ``adapt`` gets; like
        ``noise`` drawn outside of loops. By default the key itself.
      singly: adapt one task after the other on a CPU, where gradients of a large
        chunk are fastest with one task's activations in the cache.
    """

    init: Callable[[Key], Tree]
    begin: Callable[[Key, Tree], Tree]
    memory: Callable[[Tree], Tree]
    act: Callable[[Tree, Tree, Tree, Tree, ActorInput], tuple[ActorOutput, Tree]]
    unroll: Callable[[Tree, Tree, Tree, Chunk], Outputs]
    annotate: Callable[[Tree, Tree, Chunk], Chunk]
    adapt: Callable[[Tree, Tree, Tree, Chunk], Tree]
    weights: Callable[[Tree], Tree]
    divergence: Callable[[Tree, Tree], jax.Array]
    noise: Callable[[Key], Tree] = lambda key: key
    draw: Callable[[Key], Tree] = lambda key: key
    singly: bool = True


class Source(NamedTuple):
    """Where chunks come from.

    Attributes:
      open: ``(key, theta, task) -> s`` at the start of a trial.
      next: ``(draws, theta, phi, task, s) -> (s, chunk)``.
      returns: ``(reward, done) -> Trial.returns``, both ``[K + 1, T, E]``: of all
        chunks of a trial, 0 and false where they are masked.
      axis: what ``Trial.returns`` counts: "adaptations", "episodes" or "points".
      draw: ``(key, task) ->`` the randomness of one chunk, which ``next`` gets; by default
        the key itself.
      drawn_together: chunks whose randomness is drawn at once, outside of the loop over
        adaptations.
    """

    open: Callable[[Key, Tree, Tree], Tree]
    next: Callable[[Tree, Tree, Tree, Tree, Tree], tuple[Tree, Chunk]]
    returns: Callable[[jax.Array, jax.Array], jax.Array]
    axis: str = "adaptations"
    draw: Callable[[Key, Tree], Tree] = lambda key, task: key
    drawn_together: int = 1


class Trial(NamedTuple):
    """One trial of a learner in one task: K adaptations, K + 1 chunks.

    Inside ``jax.jit`` only the parts that are read cost memory.

    Attributes:
      returns: ``[K + 1]``, mean return of the E episodes after k adaptations; in a
        continuing trial the return of each of its episodes, a mean over E streams; in a
        lifetime ``[points + 1]``, at points that are evenly spread over it.
      env_steps: int32, transitions that happened.
      phi: the adapted state, after K adaptations.
      support: the chunks that were adapted to, leaves ``[K, T, E, ...]``.
      query: the chunk collected by the adapted learner, leaves ``[T, E, ...]``.
      key: the key with which ``replay`` repeats the adaptations exactly.
      source: where its source has got to.
    """

    returns: jax.Array
    env_steps: jax.Array
    phi: Tree
    support: Chunk
    query: Chunk
    key: Key
    source: Tree = ()


# --- Outer rules and whole algorithms -----------------------------------------


class Estimator(NamedTuple):
    """Meta-gradients from trials: fresh ones, or such as go on in its carry.

    Attributes:
      init: ``(key, theta) -> carry``.
      estimate: ``(key, theta, carry) -> (gradients, carry, info)``.
    """

    init: Callable[[Key, Tree], Tree]
    estimate: Callable[[Key, Tree, Tree], tuple[Tree, Tree, dict[str, jax.Array]]]


class Objective(NamedTuple):
    """A meta-objective over collected trials.

    Attributes:
      collect: ``(key, theta) -> (item, info)`` for one task: everything that the
        loss needs, without gradients.
      prepare: ``(items) -> items``, the one place that may mix tasks.
      loss: ``(theta, item) -> (loss, info)``; differentiable in theta.
      predict: ``(theta, item) ->`` action distribution on the query chunk; for a trust region,
        whose items also have it as ``prediction`` of the theta that collected them.
      divergence: ``(item, old, new) ->`` mean KL(old || new) of two predictions.
      total: ``(theta, items [n, ...]) -> (loss, info)`` summed over tasks, for an
        objective that evaluates tasks together faster than one after another;
        None for the others.
    """

    collect: Callable[[Key, Tree], tuple[Tree, dict[str, jax.Array]]]
    prepare: Callable[[Tree], Tree]
    loss: Callable[[Tree, Tree], tuple[jax.Array, dict[str, jax.Array]]]
    predict: Callable[[Tree, Tree], Tree] | None = None
    divergence: Callable[[Tree, Tree, Tree], jax.Array] | None = None
    total: Callable[[Tree, Tree], tuple[jax.Array, dict[str, jax.Array]]] | None = None


class Outer(NamedTuple):
    """How theta improves.

    Attributes:
      init: ``(key, theta) -> carry``.
      update: ``(key, theta, carry) -> (theta, carry, info)``.
    """

    init: Callable[[Key, Tree], Tree]
    update: Callable[[Key, Tree, Tree], tuple[Tree, Tree, dict[str, jax.Array]]]


class MetaState(NamedTuple):
    """All that training carries: a checkpoint holds this and nothing else.

    Attributes:
      theta: the meta-parameters.
      carry: the outer rule's state (optimiser moments, running baselines, ...).
    """

    theta: Tree
    carry: Tree


class MetaAlgorithm(NamedTuple):
    """A learner under an outer rule on a task family: what users hold.

    Attributes:
      family: the family it trains on.
      learner: the inner half.
      init: ``(key) -> MetaState``.
      step: ``(key, state) -> (state, info)``, one meta-iteration. ``info`` maps
        names to what is logged, scalars mostly. ``returns``, ``[K + 1]``, is the mean
        return of the training tasks after 0..K adaptations, or of each episode of a
        trial; ``env_steps`` counts transitions.
      adapt: ``(key, theta, task, *, family=None, num_adaptations=None,
        num_streams=None, explore=True) -> Trial``: a whole trial in one task.
        With ``explore=False`` returns are those of the policy's mode. Where a trial
        adapts, they are measured in episodes of their own, and adaptation still uses
        sampled actions; a memory goes through the whole trial with the mode's actions.
      axis: what returns count: "adaptations", "episodes", or "points" of a lifetime.
      microbatch: tasks of a meta-test that may be one block of the program; None for
        what suits the device.
      schedules: names in ``info`` of settings that are learned, and worth a picture.
    """

    family: TaskFamily
    learner: Learner
    init: Callable[[Key], MetaState]
    step: Callable[[Key, MetaState], tuple[MetaState, dict[str, jax.Array]]]
    adapt: Callable[..., Trial]
    axis: str = "adaptations"
    microbatch: int | None = None
    schedules: tuple[str, ...] = ()
