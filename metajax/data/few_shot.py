"""Few-shot trials: labelled examples, a support set to adapt to and a query set to be judged on."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from metajax.core.family import DataFamily, DataSpec, Examples, Family, Tree
from metajax.core.options import OptionError
from metajax.core.problem import Problem
from metajax.core.types import Learner, Measured, Source


class Shots(NamedTuple):
    """Examples of one chunk, with what the learner that met them scored on the query set.

    Attributes:
      inputs: ``[n, ...]``.
      targets: ``[n, ...]``.
      score: Scalar: accuracy, or minus the mean squared error, on the query set.
    """

    inputs: jax.Array
    targets: jax.Array
    score: jax.Array


class Split(NamedTuple):
    """The examples of a trial."""

    support: Examples
    query: Examples


def few_shot(
    family: Family,
    learner: Learner | Callable[[int], Learner],
    *,
    num_adaptations: int = 1,
    num_streams: int = 10,
    num_query: int = 10,
    explore: bool = True,
) -> Problem:
    """A learner that adapts to a few labelled examples of each task.

    All K adaptations see the same support set. After each of them the learner is scored on
    the query set, which is also the last chunk of the trial.

    Args:
      family: The data sets.
      learner: The learner that adapts; its ``predict`` gives ``[n, outputs]``. Or a function
        ``num_streams -> Learner``, where the number of support examples shapes its state.
      num_adaptations: K, adaptations of a trial.
      num_streams: Number of support examples (ways times shots for classes).
      num_query: Number of query examples.
      explore: Without meaning here; predictions have no samples.

    Raises:
      OptionError: for an environment.
    """
    del explore
    if not isinstance(family, DataFamily):
        raise OptionError(
            "family",
            f"{family.spec.name} is an environment; allowed: a family of labelled examples, "
            'such as metajax.tasks.make("sinusoid")',
        )
    made = learner if isinstance(learner, Learner) else learner(num_streams)

    def rebuild(family: Family, present: Learner, **sizes: Any) -> Problem:
        anew = learner if present is made else present
        return few_shot(family, anew, num_query=num_query, **sizes)

    return Problem(
        family,
        made,
        support_query(family, made, num_streams, num_query),
        num_adaptations,
        num_streams,
        axis="adaptations",
        rebuild=rebuild,
    )


def support_query(family: DataFamily, learner: Learner, num_support: int, num_query: int) -> Source:
    """The same support set at every adaptation, then the query set; see ``few_shot``."""

    def open_split(key, theta, task):
        del theta
        if family.finite:
            drawn = family.draw(key, task, num_support + num_query)
            return Split(
                jax.tree.map(lambda leaf: leaf[:num_support], drawn),
                jax.tree.map(lambda leaf: leaf[num_support:], drawn),
            )
        key_support, key_query = jax.random.split(key)
        return Split(
            family.draw(key_support, task, num_support), family.draw(key_query, task, num_query)
        )

    def of(part: Callable[[Split], Examples]):
        def chunk(noise, theta, phi, task, state):
            del noise, task
            predicted = learner.predict(theta, phi, state.query)
            value = score(family.spec, predicted, state.query.targets)
            return state, jax.lax.stop_gradient(Shots(*part(state), value))

        return chunk

    def measure(state, chunks):
        number, examples = chunks.inputs.shape[:2]
        return state, Measured(chunks.score, jnp.full(number, examples, jnp.int32))

    return Source(
        open=open_split,
        next=of(lambda split: split.support),
        measure=measure,
        query=of(lambda split: split.query),
    )


def score(spec: DataSpec, predicted: Tree, targets: jax.Array) -> jax.Array:
    """Accuracy of logits ``[n, classes]``, or minus the mean squared error of values."""
    if spec.classes:
        return jnp.mean(jnp.argmax(predicted, axis=-1) == targets, dtype=jnp.float32)
    return -jnp.mean(jnp.square(predicted - targets))
