"""The multi-step loss is the mean of the losses after each number of adaptations."""

import jax
import numpy as np
import pytest
import toys

import metajax
from metajax import outer
from metajax.algorithms.gradient.maml import MAML


@pytest.mark.parametrize("num_adaptations", [0, 2])
def test_multi_step_loss_is_a_mean_over_the_steps(num_adaptations, line, key):
    learner = MAML(hidden_sizes=(4,)).learner(line)

    def objective(steps, every_step):
        problem = metajax.fresh(line, learner, num_adaptations=steps, num_streams=toys.NUM_STREAMS)
        return outer.post_adaptation(problem, every_step=every_step)

    whole = objective(num_adaptations, True)

    @jax.jit
    def collect(key):
        theta = learner.init(key)
        return theta, whole.collect(jax.random.key(1), theta)[0]

    theta, item = collect(key)

    def loss_after(steps, theta):
        """The plain loss of a trial that stops after ``steps`` of the adaptations."""
        support = jax.tree.map(lambda leaf: leaf[:steps], item.support)
        query = item.query
        if steps < num_adaptations:
            query = jax.tree.map(lambda leaf: leaf[steps], item.support)
        part = item._replace(support=support, query=query)
        return objective(steps, False).loss(theta, part)[0]

    def mean_loss(theta):
        return sum(loss_after(steps, theta) for steps in range(num_adaptations + 1)) / (
            num_adaptations + 1
        )

    def both(theta):
        multi = jax.value_and_grad(lambda theta: whole.loss(theta, item)[0])(theta)
        return multi, jax.value_and_grad(mean_loss)(theta)

    (value, gradient), (expected, expected_gradient) = jax.jit(both)(theta)
    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)
    jax.tree.map(
        lambda mine, theirs: np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5),
        gradient,
        expected_gradient,
    )
