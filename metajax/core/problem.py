"""A learning problem inside one task, and the one loop of the package: collect, adapt, again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from metajax.core.family import DataFamily, Family, Key, TaskFamily, Tree
from metajax.core.layout import divisor, one_task_at_a_time
from metajax.core.options import OptionError
from metajax.core.types import Chunk, Learner, Measured, ReplayKeys, Source, Trial


class Life(NamedTuple):
    """A trial in progress.

    Attributes:
      task: The task of the trial.
      phi: State of the learner.
      source: State of the source: where its streams have got to.
    """

    task: Tree
    phi: Tree
    source: Tree


class Noise(NamedTuple):
    """Randomness of adaptations: keys ``[K]``, or the noise of one adaptation."""

    chunk: Tree
    adapt: Tree
    judge: Tree = None


class Problem(NamedTuple):
    """A learner in the tasks of a family, with its kind of trial.

    ``metajax.fresh``, ``continuing`` and ``lifetime`` build one for an environment,
    ``few_shot`` one for labelled examples.

    Attributes:
      family: Where tasks come from: a ``TaskFamily`` or a ``DataFamily``.
      learner: The learner that adapts.
      source: Where the chunks it adapts to come from.
      num_adaptations: K, adaptations of a whole trial.
      num_streams: E, parallel streams of a chunk.
      judge: Source of separate chunks to measure returns on. Default: the chunks that are
        adapted to.
      num_points: Number of measurements after the first one, spread evenly over the
        adaptations. Default: one after each adaptation.
      axis: Unit that ``Trial.returns`` counts: "adaptations", "episodes" or "points".
      rebuild: ``(family, learner, *, num_adaptations, num_streams, explore) -> Problem`` of
        the same kind.
    """

    family: Any
    learner: Learner
    source: Source
    num_adaptations: int = 1
    num_streams: int = 1
    judge: Source | None = None
    num_points: int | None = None
    axis: str = "adaptations"
    rebuild: Callable[..., Problem] | None = None

    def start(self, key: Key, theta: Tree, task: Tree) -> Life:
        """A trial before its first chunk."""
        key_open, key_begin = jax.random.split(key)
        return self._started(key_open, key_begin, theta, task)

    def advance(self, noise: Noise, theta: Tree, life: Life) -> tuple[Life, Tree]:
        """One adaptation: collects a chunk and adapts to it; the trial after it, and the chunk.

        The noise is that of this adaptation, drawn by ``source.noise`` and ``learner.noise``.
        """
        adapt = self.learner.adapt
        adapt = one_task_at_a_time(adapt) if self.learner.singly else adapt
        state, chunk = self.source.next(noise.chunk, theta, life.phi, life.task, life.source)
        return Life(life.task, adapt(noise.adapt, theta, life.phi, chunk), state), chunk

    def proceed(self, keys: Noise, theta: Tree, life: Life) -> tuple[Life, Tree, Measured]:
        """As many adaptations as there are keys.

        Returns the trial after them, their chunks and measurements, leaves ``[K, ...]``.
        """
        num_adaptations = len(keys.chunk)

        def adaptation(life, inputs):
            index, noise = inputs
            after, chunk = self.advance(noise, theta, life)
            judged = None
            if self.judge is not None:
                judged = self._judged(noise.judge, theta, life, index)
            return after, (chunk, judged)

        def draw(inputs):
            index, (chunk, adapt, judge) = inputs
            noise = Noise(self.source.noise(chunk, life.task), self.learner.noise(adapt), judge)
            return index, noise

        inputs = jnp.arange(num_adaptations), keys
        life, (chunks, judged) = scan_blocks(adaptation, life, inputs, draw, self.source.block)
        state, measured = self.source.measure(life.source, chunks)
        if self.judge is not None:
            measured = measured._replace(score=judged)
        return life._replace(source=state), chunks, measured

    def run(self, key: Key, theta: Tree, task: Tree) -> Trial:
        """One whole trial: K adaptations, then a last chunk.

        Nothing in the ``Trial`` carries gradients to theta; ``replay`` does. The last return is NaN
        where the adapted weights, or observations of the last chunk, are not finite: some action
        always comes out of a policy, and earns a return like any other.
        """
        theta = jax.lax.stop_gradient(theta)
        key_open, key_begin, key_adapt, key_chunks, key_judge = jax.random.split(key, 5)
        number = self.num_adaptations
        chunk_keys = jax.random.split(key_chunks, number + 1)
        judge_keys = jax.random.split(key_judge, number + 1)
        keys = Noise(chunk_keys[:-1], jax.random.split(key_adapt, number), judge_keys[:-1])
        start = self._started(key_open, key_begin, theta, task)
        life, support, measured = self.proceed(keys, theta, start)
        collect = self.source.query or self.source.next
        noise = self.source.noise(chunk_keys[-1], task)
        state, query = collect(noise, theta, life.phi, task, life.source)
        state, last = self.source.measure(state, _as_one(query))
        if self.judge is not None:
            last = last._replace(score=self._judged(judge_keys[-1], theta, life, number)[None])
        returns = jnp.concatenate([measured.score, last.score]).reshape(-1)
        if self.num_points is not None:
            returns = returns[even_points(number, self.num_points)]
        sound = self._is_sound(theta, life.phi, query)
        returns = returns.at[-1].set(jnp.where(sound, returns[-1], jnp.nan))
        return Trial(
            returns=returns,
            env_steps=jnp.sum(measured.steps, dtype=jnp.int32) + last.steps[0],
            phi=life.phi,
            support=support,
            query=query,
            keys=ReplayKeys(key_begin, key_adapt),
            source=state,
        )

    def run_sampled(self, key: Key, theta: Tree) -> tuple[Trial, dict[str, jax.Array]]:
        """One trial in a newly sampled task, and its report for the log of an outer rule."""
        key_task, key_trial = jax.random.split(key)
        trial = self.run(key_trial, theta, self.family.sample(key_task))
        return trial, {"returns": trial.returns, "env_steps": trial.env_steps}

    def varied(
        self,
        family: Family | None = None,
        *,
        num_adaptations: int | None = None,
        num_streams: int | None = None,
        explore: bool = True,
        records: tuple[str, ...] = (),
    ) -> Problem:
        """The same kind of trial with other settings, as a meta-test asks for.

        Args:
          family: Family of other tasks with the same spaces. Default: the present one.
          num_adaptations: K. Default: the present number.
          num_streams: E. Default: the present number.
          explore: Measure sampled actions; otherwise measure the mode of the policy.
          records: Optional fields of chunks to record beside those the actor asks for.

        Raises:
          OptionError: for a family of other spaces, or impossible sizes.
        """
        if family is not None:
            check_same_spaces(family, self.family)
        if self.rebuild is None:
            raise OptionError("rebuild", "is missing; give the Problem one, as metajax.fresh does")
        learner = self.learner
        if records and learner.actor is not None:
            wanted = tuple({**dict.fromkeys(learner.actor.records), **dict.fromkeys(records)})
            learner = learner._replace(actor=learner.actor._replace(records=wanted))
        return self.rebuild(
            self.family if family is None else family,
            learner,
            num_adaptations=self.num_adaptations if num_adaptations is None else num_adaptations,
            num_streams=self.num_streams if num_streams is None else num_streams,
            explore=explore,
        )

    def _started(self, key_open: Key, key_begin: Key, theta: Tree, task: Tree) -> Life:
        phi = self.learner.begin(key_begin, theta)
        return Life(task, phi, self.source.open(key_open, theta, task))

    def _is_sound(self, theta: Tree, phi: Tree, query: Tree) -> jax.Array:
        """Whether the adapted learner, and what it saw last, are finite numbers."""
        weights = () if self.learner.weights is None else self.learner.weights(theta, phi)
        if not isinstance(query, Chunk):
            return all_finite(weights)
        finite = jnp.isfinite(query.observation).reshape(*query.mask.shape, -1).all(axis=-1)
        return all_finite(weights) & jnp.all(finite | ~query.mask)

    def _judged(self, key: Key, theta: Tree, life: Life, index: jax.Array | int) -> jax.Array:
        """The judge's score of the learner, where one is due."""
        judge = self.judge
        assert judge is not None

        def score():
            state = judge.open(key, theta, life.task)
            noise = judge.noise(key, life.task)
            state, chunk = judge.next(noise, theta, life.phi, life.task, state)
            return judge.measure(state, _as_one(chunk))[1].score[0]

        if self.num_points is None:
            return score()
        due = jnp.any(index == even_points(self.num_adaptations, self.num_points))
        return jax.lax.cond(due, score, lambda: jnp.zeros_like(jax.eval_shape(score)))


def all_finite(tree: Tree) -> jax.Array:
    """Bool scalar, whether no number of the tree is NaN or infinite."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return jnp.array([jnp.isfinite(leaf).all() for leaf in leaves], bool).all()


def _as_one(chunk: Tree) -> Tree:
    """The chunk as the only one of ``[K, ...]``."""
    return jax.tree.map(lambda leaf: leaf[None], chunk)


def even_points(last: int, num_points: int) -> np.ndarray:
    """From 0 to ``last`` in even steps, int64 ``[num_points + 1]``; known when compiled."""
    return np.arange(num_points + 1, dtype=np.int64) * last // num_points


def check_same_spaces(given: Family, trained: Family) -> None:
    """Raises OptionError for a held-out family that does not fit the trained learner."""
    fields = ("observation_shape", "action_space")
    if isinstance(trained, DataFamily):
        fields = ("input_shape", "num_outputs", "classes")
    for field in fields:
        mine, theirs = getattr(trained.spec, field), getattr(given.spec, field, None)
        if mine != theirs:
            raise OptionError(
                "family",
                f"{given.spec.name} has {field} {theirs}; allowed: {mine}, that of "
                f"{trained.spec.name}, which the policy was built for",
            )


def environment(family: Family, name: str) -> TaskFamily:
    """The family, if it is an environment.

    Raises:
      OptionError: for a family of labelled examples; ``name`` is the method that needs more.
    """
    if not isinstance(family, TaskFamily):
        raise OptionError(
            "family",
            f"{family.spec.name} holds labelled examples; allowed: an environment, as {name} "
            "acts in its tasks",
        )
    return family


def scan_blocks(
    step: Callable[[Tree, Tree], tuple[Tree, Tree]],
    carry: Tree,
    keys: Tree,
    draw: Callable[[Tree], Tree],
    block: int,
) -> tuple[Tree, Tree]:
    """``lax.scan`` of steps whose noise is drawn before them, a block at a time.

    A random generator inside a loop costs more than a small policy; the noise of a long loop
    drawn all at once costs more memory than everything else.

    Args:
      step, carry: ``(carry, inputs) -> (carry, outputs)``, and the initial carry.
      keys: Leaves ``[K, ...]``, from which the inputs of K steps are drawn.
      draw: ``(keys) -> inputs`` of one step.
      block: Largest number of steps of a block; it does not change the result.

    Returns:
      the last carry, and outputs ``[K, ...]``.
    """
    number = len(jax.tree.leaves(keys)[0])
    size = divisor(number, block) if number else 1

    def steps(carry, keys):
        return jax.lax.scan(step, carry, jax.vmap(draw)(keys))

    blocks = jax.tree.map(lambda leaf: leaf.reshape(-1, size, *leaf.shape[1:]), keys)
    carry, outputs = jax.lax.scan(steps, carry, blocks)
    return carry, jax.tree.map(lambda leaf: leaf.reshape(number, *leaf.shape[2:]), outputs)
