"""The contracts of the outer side: estimators, objectives, outer rules, whole algorithms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import jax

from metajax.core.family import Key, Tree
from metajax.core.options import OptionError
from metajax.core.problem import Problem
from metajax.core.types import Learner, Term, Trial

Info = dict[str, jax.Array]

Terms = Mapping[str, tuple[float | jax.Array, Term]]
"""Terms of an objective and their weights, by name."""


class EstimateFn(Protocol):
    """One meta-gradient: ``(gradients, carry, info)``."""

    def __call__(self, key: Key, theta: Tree, carry: Tree, /) -> tuple[Tree, Tree, Info]: ...


class Estimator(NamedTuple):
    """Meta-gradients from trials: fresh ones, or lifetimes that go on in the carry.

    Attributes:
      init: ``(key, theta) -> carry``.
      estimate: ``(key, theta, carry) -> (gradients, carry, info)``.
    """

    init: Callable[[Key, Tree], Tree]
    estimate: EstimateFn


class Objective(NamedTuple):
    """A meta-objective over collected trials.

    Attributes:
      collect: ``(key, theta) -> (item, info)`` for one task: the data of the loss, without
        gradients.
      prepare: ``(items) -> items``, the one place that may mix tasks.
      loss: ``(theta, item) -> (loss, info)``; differentiable in theta.
      predict: ``(theta, item) -> distribution`` on the query chunk, for a trust region; items
        then hold the ``prediction`` of the theta that collected them.
      divergence: ``(item, old, new) -> scalar``, mean KL(old || new) of two predictions.
      total: ``(theta, items [n, ...]) -> (loss, info)`` summed over tasks, for an
        objective that evaluates tasks together faster than one after another.
    """

    collect: Callable[[Key, Tree], tuple[Tree, Info]]
    prepare: Callable[[Tree], Tree]
    loss: Callable[[Tree, Tree], tuple[jax.Array, Info]]
    predict: Callable[[Tree, Tree], Tree] | None = None
    divergence: Callable[[Tree, Tree, Tree], jax.Array] | None = None
    total: Callable[[Tree, Tree], tuple[jax.Array, Info]] | None = None


class UpdateFn(Protocol):
    """One meta-iteration: ``(theta, carry, info)``."""

    def __call__(self, key: Key, theta: Tree, carry: Tree, /) -> tuple[Tree, Tree, Info]: ...


def as_trained(theta: Tree, carry: Tree) -> Tree:
    """Theta itself: the ``deploy`` of most outer rules."""
    del carry
    return theta


class Outer(NamedTuple):
    """How theta improves.

    Attributes:
      init: ``(key, theta) -> carry``.
      update: ``(key, theta, carry) -> (theta, carry, info)``.
      deploy: ``(theta, carry) -> theta`` of a meta-test: with replay samples, normalisers,
        averaged weights. Default: theta as it is.
    """

    init: Callable[[Key, Tree], Tree]
    update: UpdateFn
    deploy: Callable[[Tree, Tree], Tree] = as_trained


def check_trainable(theta: Tree) -> None:
    """Raises OptionError for a theta without a number, of which there is nothing to train."""
    if not jax.tree.leaves(theta):
        problem = "has no theta to train; allowed: metajax.outer.untrained, which only reports"
        raise OptionError("learner", problem)


class MetaState(NamedTuple):
    """The complete training state: the contents of a checkpoint.

    Attributes:
      theta: The meta-parameters.
      carry: State of the outer rule (optimiser moments, running baselines, ...).
    """

    theta: Tree
    carry: Tree

    def __repr__(self) -> str:
        parts = (f"{name}: {_size(tree)}" for name, tree in self._asdict().items())
        return f"MetaState({', '.join(parts)})"


class MetaAlgorithm(NamedTuple):
    """A problem under an outer rule: the object that users hold.

    Attributes:
      problem: The learner, its family and its kind of trial.
      init: ``(key) -> MetaState``.
      step: ``(key, state) -> (state, info)``, one meta-iteration. ``info`` maps names to logged
        values, mostly scalars. ``returns``, ``[K + 1]``, is the mean return of the training tasks
        after 0..K adaptations, or of each episode of a trial; ``env_steps`` counts transitions.
      adapt: ``(key, theta, task, *, family=None, num_adaptations=None,
        num_streams=None, explore=True) -> Trial``: a whole trial in one task.
        With ``explore=False`` returns are those of the policy's mode. Where a trial
        adapts, they are measured in separate episodes, and adaptation still uses
        sampled actions; a memory goes through the whole trial with the mode's actions.
      deploy: ``(state) -> theta`` of a meta-test.
      microbatch: Largest number of tasks of a meta-test in one block of the program. Default:
        chosen for the device.
      schedules: Names in ``info`` of learned settings, worth a picture.
      headline: Name in ``info`` of what training improves, and what it is called, where that is
        not ``returns``.
    """

    problem: Problem
    init: Callable[[Key], MetaState]
    step: Callable[[Key, MetaState], tuple[MetaState, Info]]
    adapt: Callable[..., Trial]
    deploy: Callable[[MetaState], Tree] = lambda state: state.theta
    microbatch: int | None = None
    schedules: tuple[str, ...] = ()
    headline: tuple[str, str] | None = None

    @property
    def family(self) -> Any:
        """The family to train on."""
        return self.problem.family

    @property
    def learner(self) -> Learner:
        """The inner half."""
        return self.problem.learner

    @property
    def axis(self) -> str:
        """Unit that returns count: "adaptations", "episodes", or "points" of a lifetime."""
        return self.problem.axis


def _size(tree: Tree) -> str:
    leaves = jax.tree.leaves(tree)
    numbers = sum(getattr(leaf, "size", 1) for leaf in leaves)
    return f"{numbers:,} numbers in {len(leaves)} arrays"
