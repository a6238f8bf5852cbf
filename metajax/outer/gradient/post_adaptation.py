"""The score after adaptation as a meta-objective: the goal of MAML."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from metajax import losses
from metajax.core.algorithm import Objective, Terms
from metajax.core.family import Key, Tree
from metajax.core.options import OptionError
from metajax.core.problem import Problem
from metajax.core.replay import DERIVATIVES, replay
from metajax.core.types import Learner, Loss, ReplayKeys
from metajax.outer.gradient.reach import reads


class TrialItem(NamedTuple):
    """A collected trial as ``post_adaptation`` needs it.

    Attributes:
      support: Chunks that were adapted to, leaves ``[K, T, E, ...]``.
      query: The chunk after the last adaptation, leaves ``[T, E, ...]``.
      keys: Randomness of the adaptations.
      prediction: Action distribution that acted in the query chunk; None without an actor.
      credit: Factor of the log-probability of the support chunks in the ``emaml`` term
        (scalar, 0 unless an estimator fills it in).
    """

    support: Tree
    query: Tree
    keys: ReplayKeys
    prediction: Tree
    credit: jax.Array


def post_adaptation(
    problem: Problem,
    loss: Loss = losses.policy_gradient_loss,
    *,
    terms: Terms | None = None,
    support_terms: Terms | None = None,
    derivative: str = "exact",
    every_step: bool | jax.Array = False,
) -> Objective:
    """The loss on the query chunk after K adaptations, as a function of theta.

    Args:
      problem: The learner in its tasks. With K = 0 this is joint training on all tasks.
      loss: Loss of the adapted learner on the query chunk.
      terms: Further terms on the query chunk, each reported by its name.
      support_terms: Terms on the support chunks, each the mean over the K of them, as the
        learner that meets the chunk predicts it, before it adapts to it.
      derivative: One of ``metajax.core.replay.DERIVATIVES``.
      every_step: Use the mean loss after 0..K adaptations instead of the last alone: the
        multi-step loss of Antoniou et al. (2019), "How to train your MAML", section
        4, with equal weights and including the policy before any adaptation, which keeps
        that policy from running away. Each loss is that of the chunk collected next, or of the
        query chunk where a source draws that one apart (``Source.query``). An array ``[K + 1]``
        gives them other weights.

    Source: Finn et al. (2017), equation 4 and algorithm 3.

    Raises:
      OptionError: when traced, for "first-order" and a theta that the adaptation alone reads.
    """
    learner, actor = problem.learner, problem.learner.actor
    adapt = DERIVATIVES[derivative](learner.adapt)
    terms, support_terms = dict(terms or {}), dict(support_terms or {})
    several = every_step is not False

    def collect(key: Key, theta: Tree):
        trial, info = problem.run_sampled(key, theta)
        prediction = None
        if actor is not None:
            prediction = learner.predict(theta, trial.phi, trial.query).distribution
        item = TrialItem(trial.support, trial.query, trial.keys, prediction, jnp.zeros(()))
        return jax.lax.stop_gradient((item, info))

    def adapted(theta, item, observe=lambda phi, chunk: None):
        if derivative == "first-order":
            _check_read(learner, theta, item)
        phi = learner.begin(item.keys.begin, theta)
        phi, observed = replay(
            learner, theta, phi, item.support, item.keys.adapt, adapt=adapt, observe=observe
        )
        return learner.predict(theta, phi, item.query), observed

    def meta_loss(theta, item):
        def before(phi, chunk):
            value, on_support = None, None
            if several:
                judged = chunk if problem.source.query is None else item.query
                value = loss(learner.predict(theta, phi, judged), judged)
            if support_terms:
                outputs = learner.predict(theta, phi, chunk)
                on_support = losses.evaluated(support_terms, theta, outputs, chunk)
            return value, on_support

        outputs, (earlier, on_support) = adapted(theta, item, before)
        value = loss(outputs, item.query)
        if several:
            each = jnp.append(earlier, value)
            value = jnp.mean(each) if every_step is True else jnp.sum(every_step * each)
        more, report = losses.evaluated(terms, theta, outputs, item.query)
        value += more
        if support_terms:
            more, found = jax.tree.map(jnp.mean, on_support)
            value, report = value + more, {**report, **found}
        return value, {"loss": value, **report}

    def divergence(item, old, new):
        assert actor is not None
        return losses.masked_mean(actor.divergence(old, new), item.query.mask)

    return Objective(
        collect=collect,
        prepare=lambda items: items,
        loss=meta_loss,
        predict=None if actor is None else lambda theta, item: adapted(theta, item)[0].distribution,
        divergence=None if actor is None else divergence,
    )


def _check_read(learner: Learner, theta: Tree, item: TrialItem) -> None:
    def unadapted(theta):
        return learner.predict(theta, learner.begin(item.keys.begin, theta), item.query)

    if not reads(unadapted, theta):
        raise OptionError(
            "derivative",
            '"first-order" leaves no gradient here, as the adaptation alone reads theta, which '
            'is that of a rule or of settings; allowed: "exact", "exact-remat"',
        )


def with_sampling_credit(
    objective: Objective, problem: Problem, derivative: str = "exact", *, mean: bool = False
) -> Objective:
    """Adds E-MAML's term: credit for the samples that the adaptation was given.

    ``-credit * sum log_prob(support)``, or with ``mean`` the mean over the samples. The credit of
    a task is its return after adaptation less a baseline, in the units of the objective
    (``backprop`` fills it in). Together with the ``score`` surrogate the gradient of the sum is
    that of the objective with sampled updates, ``E over support of V(adapted theta)``, and not of
    the one with expected updates that ``dice`` is right for.

    The sum is what the derivation gives, and its noise grows with the number of samples, since
    every sample is credited with all that the others have done. The mean, which published code
    takes, weighs the term down by that number.

    Source: Stadie et al. (2018), equation 9; Al-Shedivat et al. (2018), equation 7; of the mean the
    code of Rothfuss et al. (2019).
    """
    learner = problem.learner
    adapt = DERIVATIVES[derivative](learner.adapt)

    def loss(theta, item):
        def log_prob(phi, chunk):
            outputs = learner.predict(theta, phi, chunk)
            return jnp.sum(jnp.where(chunk.mask, outputs.log_prob, 0))

        value, info = objective.loss(theta, item)
        phi = learner.begin(item.keys.begin, theta)
        _, log_probs = replay(
            learner, theta, phi, item.support, item.keys.adapt, adapt=adapt, observe=log_prob
        )
        number = jnp.sum(item.support.mask) if mean else 1
        return value - item.credit * jnp.sum(log_probs) / number, info

    return objective._replace(loss=loss)
