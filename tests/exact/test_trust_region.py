"""The trust region's step against dense matrices."""

import jax
import jax.numpy as jnp
import mdp as m
import numpy as np
import optax
import pytest

from metajax import losses, outer
from metajax.core.layout import Layout
from metajax.core.options import OptionError
from metajax.outer.epochs import collect_trials

NUM_TASKS, NUM_STREAMS, SIZE = 6, 3, m.NUM_STATES * m.NUM_ACTIONS
BOUND, DAMPING = 0.01, 1e-3
THETA = m.THETA


def _objective(mdp, num_adaptations):
    learner = m.tabular_learner(optax.sgd(0.8))
    problem = m.problem_of(mdp, learner, num_adaptations, NUM_STREAMS)
    return outer.post_adaptation(problem, losses.ratio_loss)


def _mean(fn, items):
    return jnp.mean(jax.vmap(fn)(items), axis=0)


def _gradient(objective, items):
    """Of the mean loss, ``[P]``."""
    return jax.grad(lambda theta: _mean(lambda i: objective.loss(theta, i)[0], items))(
        THETA
    ).ravel()


def _curvature(objective, items):
    """``J' H J`` and the Hessian of the mean KL, ``[P, P]``."""

    def gauss_newton(item):
        prediction = objective.predict(THETA, item)
        jacobian = jax.jacobian(objective.predict)(THETA, item)
        outputs = prediction.size
        hessian = jax.hessian(lambda new: objective.divergence(item, prediction, new))(prediction)
        jacobian, hessian = jacobian.reshape(outputs, SIZE), hessian.reshape(outputs, outputs)
        return jacobian.T @ hessian @ jacobian

    def divergence(theta):
        return _mean(
            lambda item: objective.divergence(
                item, item.prediction, objective.predict(theta, item)
            ),
            items,
        )

    hessian = jax.hessian(divergence)(THETA).reshape(SIZE, SIZE)
    return _mean(gauss_newton, items), hessian


@pytest.mark.parametrize(
    ("num_adaptations", "fisher_tasks"),
    [*(pytest.param(one, None, marks=pytest.mark.further) for one in (0, 1)), (1, 2)],
)
def test_the_step_solves_the_dense_system(num_adaptations, fisher_tasks):
    objective = _objective(m.STOCHASTIC, num_adaptations)
    layout = Layout.build(NUM_TASKS, 3, 1, 1)
    rule = outer.trust_region(
        objective,
        layout,
        max_divergence=BOUND,
        damping=DAMPING,
        cg_iterations=20,
        fisher_tasks=fisher_tasks,
    )

    @jax.jit
    def everything(key):
        items, _ = collect_trials(objective, layout, key, THETA)
        few = jax.tree.map(lambda leaf: leaf[: fisher_tasks or NUM_TASKS], items)
        theta, carry, info = rule.update(key, THETA, ())
        assert carry == ()

        def judge(item):
            assert objective.predict is not None
            assert objective.divergence is not None
            divergence = objective.divergence(item, item.prediction, objective.predict(theta, item))
            before, after = (objective.loss(point, item)[0] for point in (THETA, theta))
            return jnp.stack([divergence, before, after])

        gradient, matrices = _gradient(objective, items), _curvature(objective, few)
        return theta, info, gradient, matrices, _mean(judge, items)

    theta, info, gradient, (fisher, hessian), judged = jax.device_get(everything(jax.random.key(0)))
    np.testing.assert_allclose(fisher, hessian, rtol=1e-8, atol=1e-12)
    damped = fisher + DAMPING * np.eye(SIZE)
    direction = np.linalg.solve(damped, gradient)
    length = np.sqrt(2 * BOUND / (direction @ damped @ direction))
    fraction = 0.8 ** (float(info["backtracks"]) - 1)
    step = (theta - THETA).reshape(SIZE)
    np.testing.assert_allclose(step, -fraction * length * direction, rtol=1e-5, atol=1e-9)

    divergence, before, after = judged
    np.testing.assert_allclose(info["divergence"], divergence, rtol=1e-6)
    np.testing.assert_allclose(info["loss"], before, rtol=1e-8)
    np.testing.assert_allclose(info["gradient_norm"], np.linalg.norm(gradient), rtol=1e-8)
    assert 0 < divergence <= BOUND
    assert after < before


def test_no_reward_no_step():
    barren = m.STOCHASTIC._replace(reward=np.zeros((2, 2)))
    rule = outer.trust_region(_objective(barren, 0), Layout.build(NUM_TASKS, num_devices=1))
    theta, _, info = jax.jit(rule.update)(jax.random.key(0), THETA, ())
    np.testing.assert_array_equal(theta, THETA)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(info))
    assert info["gradient_norm"] == 0


def test_a_step_that_helps_nowhere_is_not_taken():
    """A loss that grows in every direction, whatever its gradient says."""
    objective = _objective(m.STOCHASTIC, 0)

    def loss(theta, item):
        value, info = objective.loss(theta, item)
        moved = jnp.sum(jnp.abs(jax.lax.stop_gradient(theta) - THETA))
        return value + 100 * moved, info

    rule = outer.trust_region(
        objective._replace(loss=loss), Layout.build(NUM_TASKS, num_devices=1), backtracks=4
    )
    theta, _, info = jax.jit(rule.update)(jax.random.key(0), THETA, ())
    np.testing.assert_array_equal(theta, THETA)
    assert info["backtracks"] == 4
    assert info["divergence"] == 0


def test_an_objective_without_predictions_is_refused():
    objective = _objective(m.FIXED, 0)._replace(predict=None)
    with pytest.raises(OptionError, match="objective: predicts nothing to keep close to"):
        outer.trust_region(objective, Layout.build(NUM_TASKS, num_devices=1))


def test_fisher_tasks_out_of_range():
    with pytest.raises(OptionError, match="fisher_tasks"):
        outer.trust_region(
            _objective(m.FIXED, 0), Layout.build(NUM_TASKS, num_devices=1), fisher_tasks=7
        )
