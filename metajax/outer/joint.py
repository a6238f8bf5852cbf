"""Joint training: one learner on the experience of all tasks, without meta-learning."""

from collections.abc import Callable

import jax

from metajax.core import metrics
from metajax.core.algorithm import Outer
from metajax.core.family import Key, Tree
from metajax.core.options import check
from metajax.core.problem import Life, Noise, Problem, even_points
from metajax.outer.gradient.displacement import adapted_weights


def joint(problem: Problem, *, renew: Callable[[Tree], Tree] | None = None) -> Outer:
    """Ordinary training of one learner, ``num_adaptations`` a meta-iteration.

    There is one phi for all tasks, in the carry: replay, target network and optimiser go on
    from one meta-iteration to the next. Theta is the weights. The tasks are those of
    ``problem.family``: episodes in tasks of their own (``metajax.tasks.mixture``), or tasks
    side by side (``metajax.data.side_by_side``), whose chunks are merged into one so that the
    loss is a mean over tasks. All of it runs on one device.

    Args:
      problem: A lifetime whose theta is the learner's initial weights.
      renew: ``(phi) -> phi`` at the start of a new trial in new tasks, which each
        meta-iteration then begins. Default: one lifetime goes on.

    Returns:
      the ``Outer``. Its ``info`` has ``env_steps`` and ``returns``: at the end of the
      iteration, ``[1]``, or at the points of the iteration's trial.

    Raises:
      OptionError: for a learner of which not all of theta adapts, or a trial without adaptation.

    Source: the multi-task objective of Fakoor et al. (2020), "Meta-Q-Learning", section 3.1.
    """
    number, weights_of = problem.num_adaptations, adapted_weights(problem.learner)
    check(number > 0, "num_adaptations", number, "at least 1, as adaptations train theta")

    def init(key: Key, theta: Tree) -> Life:
        key_start, key_task = jax.random.split(key)
        return problem.start(key_start, theta, problem.family.sample(key_task))

    def update(key, theta, carry):
        key_chunks, key_adapt, key_task, key_open = jax.random.split(key, 4)
        if renew is not None:
            task = problem.family.sample(key_task)
            state = problem.source.open(key_open, theta, task)
            carry = Life(task, renew(carry.phi), state)
        keys = Noise(jax.random.split(key_chunks, number), jax.random.split(key_adapt, number))
        carry, _, measured = problem.proceed(keys, theta, carry)
        points = [-1]
        if renew is not None and problem.num_points is not None:
            points = even_points(number - 1, problem.num_points)
        info = {
            "returns": measured.score[jax.numpy.asarray(points)],
            "env_steps": metrics.over_rows({"env_steps": measured.steps})["env_steps"],
        }
        return weights_of(theta, carry.phi), carry, info

    return Outer(init, update)
