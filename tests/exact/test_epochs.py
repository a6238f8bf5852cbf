"""Several passes over one batch, reduced to cases with known answers."""

import jax
import jax.numpy as jnp
import mdp as m
import numpy as np
import optax
import pytest

from metajax import losses, outer
from metajax.core.algorithm import Objective
from metajax.core.layout import Layout
from metajax.core.options import OptionError

NUM_TASKS = 6


def test_one_pass_with_an_open_ratio_is_one_gradient_step():
    """At the parameters that collected, every ratio is 1: ``once`` on the same trials."""
    problem = m.problem_of(m.STOCHASTIC, m.tabular_learner(optax.sgd(0.8)), 1, 3)
    layout = Layout.build(NUM_TASKS, 3, 1, 1)
    clipped, plain = (
        outer.post_adaptation(problem, loss)
        for loss in (losses.clipped_loss(1e6), losses.policy_gradient_loss)
    )
    passes = outer.epochs(clipped, optax.sgd(0.5), layout, num_epochs=1, num_minibatches=1)
    single = outer.once(outer.backprop(plain, layout), optax.sgd(0.5))

    @jax.jit
    def both(key, theta):
        first, _, info = passes.update(key, theta, passes.init(key, theta))
        key_collect = jax.random.split(key)[0]
        second, _, expected = single.update(key_collect, theta, single.init(key, theta))
        return (first, info), (second, expected)

    theta = jnp.asarray(m.THETA)
    (actual, info), (expected, expected_info) = both(jax.random.key(0), theta)
    np.testing.assert_allclose(actual, expected, rtol=1e-10)
    np.testing.assert_allclose(info["returns"], expected_info["returns"], rtol=1e-12)
    np.testing.assert_allclose(info["gradient_norm"], expected_info["gradient_norm"], rtol=1e-9)
    assert info["env_steps"] == expected_info["env_steps"] == 2 * NUM_TASKS * 3 * m.LENGTH
    assert np.abs(actual - theta).max() > 1e-3


@pytest.mark.parametrize("num_minibatches", [1, 3])
def test_every_pass_sees_every_task_once(num_minibatches):
    """Each task asks for its own coordinate of theta and no other."""
    num_epochs = 3
    objective = Objective(
        collect=lambda key, theta: (jnp.zeros(()), {"env_steps": jnp.int32(1)}),
        prepare=lambda items: jnp.arange(items.shape[0]),
        loss=lambda theta, item: (-theta[item], {"loss": -theta[item]}),
        predict=lambda theta, item: (),
        divergence=lambda item, old, new: jnp.zeros(()),
    )
    rule = outer.epochs(
        objective,
        optax.sgd(1.0),
        Layout.build(NUM_TASKS, num_devices=1),
        num_epochs=num_epochs,
        num_minibatches=num_minibatches,
    )
    theta = jnp.zeros(NUM_TASKS)
    key = jax.random.key(0)
    moved, _, info = jax.jit(rule.update)(key, theta, rule.init(key, theta))
    np.testing.assert_allclose(moved, num_epochs * num_minibatches / NUM_TASKS, rtol=1e-12)
    assert info["env_steps"] == NUM_TASKS


def test_minibatches_must_divide_the_tasks():
    with pytest.raises(OptionError, match="num_minibatches"):
        outer.epochs(None, optax.sgd(1.0), Layout.build(6, num_devices=1), num_minibatches=4)  # type: ignore[arg-type]
