"""The contracts of the inner side: actors, learners, and sources of data.

Every contract is a ``NamedTuple`` of pure functions. A random key always comes first, then
the slow parameters ``theta``, the fast state ``phi``, then data. *theta* is learned across
tasks, *phi* is the state of the learner inside one task, *memory* is the carry of one stream
of experience. A *trial* is all interaction with one task; a *chunk* is the data between two
adaptations. Shape letters: see ``metajax.core.family``.

An absent part is ``None``; a state without contents is ``()``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from metajax.core.family import Key, Tree

# --- Acting ------------------------------------------------------------------------------


class ActorInput(NamedTuple):
    """Input of one decision, for one stream.

    Attributes:
      observation: ``[O]``.
      last_action: The previous action, across the ends of episodes; before the first action
        of a trial -1 for ``Discrete`` and 0 for ``Box``.
      last_reward: The reward of that action; 0 at the start of a trial.
      start: Bool; this is the first step of an episode.
    """

    observation: jax.Array
    last_action: jax.Array
    last_reward: jax.Array
    start: jax.Array


class ActorOutput(NamedTuple):
    """One decision for one stream.

    Attributes:
      action: The sampled action.
      mode: The most probable action, for evaluation without exploration.
      log_prob: Log-probability (density) of ``action``.
      value: Value estimate of the observation; None for an actor without one.
      distribution: Parameters of the action distribution; None where an actor does not tell.
    """

    action: jax.Array
    mode: jax.Array
    log_prob: jax.Array
    value: Any = None
    distribution: Any = None


class Chunk(NamedTuple):
    """The experience between two adaptations. Every leaf is ``[T, E, ...]``.

    Attributes:
      observation: ``[T, E, O]``; where ``mask`` is false the last one that was acted on.
      action: ``[T, E]`` or ``[T, E, A]``.
      reward: ``[T, E]``, 0 where ``mask`` is false.
      terminated, truncated: ``[T, E]``.
      mask: ``[T, E]``, true for transitions that happened; false for the padding after the
        end of an episode in a fresh trial.
      log_prob: ``[T, E]`` under the policy that acted.
      value: ``[T, E]``, values of the learner that acted; None without a value function.
      final_value: ``[T, E]``, value of the observation that each step led to before any
        reset, the bootstrap of a truncation inside a trial. Recorded on request.
      next_observation: ``[T, E, O]``, the observation that each step led to before any
        reset. Recorded on request. Networks read ``bootstrap_observation`` instead.
      advantage, target: ``[T, E]``, filled in by ``Actor.annotate``.
      scale: ``[T, E]``, the divisor of ``advantage`` (1 without normalisation), filled in
        by ``Actor.annotate``.
      distribution: Parameters of the distribution that acted, leaves ``[T, E, ...]``. Recorded
        on request.
    """

    observation: jax.Array
    action: jax.Array
    reward: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    mask: jax.Array
    log_prob: jax.Array
    value: Any = None
    final_value: Any = None
    next_observation: Any = None
    advantage: Any = None
    target: Any = None
    scale: Any = None
    distribution: Any = None

    @property
    def done(self) -> jax.Array:
        """``[T, E]``, where an episode ended, for either reason."""
        return self.terminated | self.truncated


def bootstrap_observation(steps: Any) -> jax.Array:
    """``[T, E, O]``, observations whose values steps bootstrap from; any finite one if terminated.

    Nothing is bootstrapped from a terminal observation. A network must not read it all the same,
    as the gradient of an unused NaN is NaN: the observation before the step takes its place.

    Args:
      steps: A ``Chunk``, or other steps with its fields ``observation``, ``next_observation`` and
        ``terminated``.
    """
    terminated = steps.terminated
    axes = range(terminated.ndim, steps.observation.ndim)
    return jnp.where(
        jnp.expand_dims(terminated, tuple(axes)), steps.observation, steps.next_observation
    )


class Outputs(NamedTuple):
    """Predictions of a policy for a chunk under the present parameters.

    Attributes:
      distribution: Parameters of the action distribution, leaves ``[T, E, ...]``.
      log_prob: ``[T, E]`` of the chunk's actions.
      entropy: ``[T, E]``, nats.
      value: ``[T, E]``, values of the observations, or action values of the chunk's actions;
        None for a learner without either.
      target: ``[T, E]``, temporal-difference targets of ``value``, without gradient; None for
        a learner without action values.
      expected_value: ``[T, E]``, mean of all action values under the distribution; None likewise.
      features: ``[T, E, F]``, the memory's output, for auxiliary losses; None without a memory.
    """

    distribution: Tree
    log_prob: jax.Array
    entropy: jax.Array
    value: Any = None
    target: Any = None
    expected_value: Any = None
    features: Any = None


class MemoryFn(Protocol):
    """Memory of one stream at the start of a trial."""

    def __call__(self, theta: Tree, /) -> Tree: ...


class ActFn(Protocol):
    """One decision: ``(ActorOutput, memory)``."""

    def __call__(
        self, noise: Tree, theta: Tree, phi: Tree, memory: Tree, seen: ActorInput, /
    ) -> tuple[ActorOutput, Tree]: ...


class DivergenceFn(Protocol):
    """``[T, E]`` Kullback-Leibler divergence KL(old || new) of action distributions, nats."""

    def __call__(self, old: Tree, new: Tree, /) -> jax.Array: ...


class AnnotateFn(Protocol):
    """A chunk with advantages and targets."""

    def __call__(self, theta: Tree, phi: Tree, chunk: Chunk, /) -> Chunk: ...


def unannotated(theta: Tree, phi: Tree, chunk: Chunk) -> Chunk:
    """The chunk as collected, for learners that compute their targets while they adapt."""
    del theta, phi
    return chunk


class Actor(NamedTuple):
    """The acting half of a learner: how it decides inside an environment.

    Attributes:
      memory: ``(theta) -> memory`` of one stream; ``()`` where there is none.
      act: ``(noise, theta, phi, memory, actor_input) -> (ActorOutput, memory)`` for one stream.
      divergence: ``(old, new) -> [T, E]`` Kullback-Leibler divergence between two
        ``Outputs.distribution``.
      noise: ``(key) -> noise`` of one decision. The engine draws the noise of a whole rollout
        before its loop: a random generator inside costs more than a small policy. Default:
        the key itself.
      annotate: ``(theta, phi, chunk) -> chunk`` with advantages and targets, once at collection. A
        baseline is fitted here and not in ``adapt``, which a trust region evaluates many times.
      records: Optional fields of ``Chunk`` to record, among "next_observation", "distribution"
        and "final_value" (the last costs a second decision at every step).
    """

    memory: MemoryFn
    act: ActFn
    divergence: DivergenceFn
    noise: Callable[[Key], Tree] = lambda key: key
    annotate: AnnotateFn = unannotated
    records: tuple[str, ...] = ()


# --- Learners ----------------------------------------------------------------------------


class InitFn(Protocol):
    """Initial theta."""

    def __call__(self, key: Key, /) -> Tree: ...


class BeginFn(Protocol):
    """phi at the start of a trial."""

    def __call__(self, key: Key, theta: Tree, /) -> Tree: ...


class AdaptFn(Protocol):
    """phi after one adaptation, differentiable in theta and phi."""

    def __call__(self, noise: Tree, theta: Tree, phi: Tree, data: Tree, /) -> Tree: ...


class PredictFn(Protocol):
    """Predictions for a chunk of data as one block."""

    def __call__(self, theta: Tree, phi: Tree, data: Tree, /) -> Tree: ...


class Learner(NamedTuple):
    """An adapter: the part of a method that changes inside one task.

    Attributes:
      init: ``(key) -> theta``.
      begin: ``(key, theta) -> phi``, at the start of a trial.
      adapt: ``(noise, theta, phi, data) -> phi``.
      predict: ``(theta, phi, data) -> predictions``: ``Outputs`` for a policy on a chunk. A
        learner with a memory takes a chunk that begins its trial.
      weights: ``(theta, phi) -> weights``, those of the network; None for a learner without
        adapted weights. Rules that follow the adapted weights need the structure of theta.
      actor: How the learner acts; None for a learner of labelled examples.
      noise: ``(key) -> noise`` of one adaptation, drawn outside of loops. Default: the key itself.
      singly: On CPU, loop over tasks instead of vmapping ``adapt``, so that one task's
        activations stay in cache.
    """

    init: InitFn
    begin: BeginFn
    adapt: AdaptFn
    predict: PredictFn
    weights: Callable[[Tree, Tree], Tree] | None = None
    actor: Actor | None = None
    noise: Callable[[Key], Tree] = lambda key: key
    singly: bool = True


# --- Data --------------------------------------------------------------------------------


class Measured(NamedTuple):
    """Measurements of K chunks.

    Attributes:
      score: ``[K]``, the score of the learner that met each chunk (undiscounted return; for
        labelled examples accuracy, or minus the loss), or ``[K, episodes]`` for chunks that are
        whole trials.
      steps: Int32 ``[K]``, transitions or examples in each chunk.
    """

    score: jax.Array
    steps: jax.Array


class OpenFn(Protocol):
    """State of a source at the start of a trial."""

    def __call__(self, key: Key, theta: Tree, task: Tree, /) -> Tree: ...


class NextFn(Protocol):
    """The next chunk: ``(state, chunk)``, without gradients."""

    def __call__(
        self, noise: Tree, theta: Tree, phi: Tree, task: Tree, state: Tree, /
    ) -> tuple[Tree, Tree]: ...


class MeasureFn(Protocol):
    """``(state, Measured)`` of the K chunks since the last measurement, leaves ``[K, ...]``."""

    def __call__(self, state: Tree, chunks: Tree, /) -> tuple[Tree, Measured]: ...


class Source(NamedTuple):
    """Where chunks of data come from.

    Attributes:
      open: ``(key, theta, task) -> state`` at the start of a trial.
      next: ``(noise, theta, phi, task, state) -> (state, chunk)``.
      measure: ``(state, chunks) -> (state, Measured)`` of the K chunks since the last
        measurement, ``[K, T, E, ...]``; outside of the loop that collects them. What goes on
        from one to the next, such as the return of an unfinished episode, is in the state.
      query: Like ``next``, for the chunk after the last adaptation. Default: ``next``.
      noise: ``(key, task) -> noise`` of one chunk. Default: the key itself.
      block: Number of chunks whose noise is drawn at once, outside of the loop over adaptations.
    """

    open: OpenFn
    next: NextFn
    measure: MeasureFn
    query: NextFn | None = None
    noise: Callable[[Key, Tree], Tree] = lambda key, task: key
    block: int = 1


class ReplayKeys(NamedTuple):
    """The randomness that ``replay`` needs to repeat the adaptations of a trial."""

    begin: Key
    adapt: Key


class Trial(NamedTuple):
    """One trial of a learner in one task: K adaptations, K + 1 chunks.

    Inside ``jax.jit`` only the parts that are read cost memory.

    Attributes:
      returns: Scores. Fresh trials: ``[K + 1]``, mean return of the E episodes (or score on
        the query examples) after k adaptations. Continuing trials: ``[episodes]``, a mean
        over E streams. Lifetimes: ``[points + 1]``, evenly spread over the lifetime.
      env_steps: Int32, transitions (or examples) collected.
      phi: The adapted state, after K adaptations.
      support: The chunks that were adapted to, leaves ``[K, T, E, ...]``.
      query: The chunk collected by the adapted learner, leaves ``[T, E, ...]``.
      keys: Keys with which ``replay`` repeats the adaptations exactly.
      source: State of the source after the query chunk.
    """

    returns: jax.Array
    env_steps: jax.Array
    phi: Tree
    support: Tree
    query: Tree
    keys: ReplayKeys
    source: Tree = ()


Loss = Callable[[Tree, Tree], jax.Array]
"""``(outputs, data) -> scalar``."""

Term = Callable[[Tree, Tree, Tree], jax.Array]
"""``(theta, outputs, data) -> scalar``: one named part of an objective."""
