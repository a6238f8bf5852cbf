"""Implicit meta-gradients in closed form, and the memory that they take."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import quadratic
from vectors import raveled

import metajax
from metajax import inner, outer
from metajax.core.layout import Layout

STRENGTH, NUM_TASKS = 0.7, 3
KEY = jax.random.key(1)


def test_the_minimum_of_a_parabola():
    """For ``|w - c|^2 / 2`` the minimum is ``(c + s w) / (1 + s)``, s the proximal coefficient.

    Its loss is ``(s / (1 + s))^2 |w - c|^2 / 2``, the gradient of which is the meta-gradient.
    """
    start = np.arange(1.0, 1 + quadratic.SIZE)
    learner = quadratic.learner(
        rule=inner.proximal(lambda theta: optax.sgd(0.5), STRENGTH), updates=60
    )

    def slope(theta, fast, chunk):
        return jnp.mean(fast - chunk.observation, axis=(0, 1)) + STRENGTH * (fast - theta)

    learner = learner._replace(adapt=inner.implicit(learner.adapt, slope, cg_iterations=1))
    objective = outer.post_adaptation(quadratic.problem(learner, 1), quadratic.loss)
    estimator = outer.backprop(objective, Layout.build(NUM_TASKS, num_devices=1))

    @jax.jit
    def run(key, theta):
        keys = jax.random.split(key, NUM_TASKS)
        points = jax.vmap(lambda key: quadratic.family().sample(jax.random.split(key)[0]))(keys)
        return estimator.estimate(key, theta, ())[0], points

    gradient, points = jax.device_get(run(KEY, start))
    expected = (STRENGTH / (1 + STRENGTH)) ** 2 * np.mean(start - points, axis=0)
    np.testing.assert_allclose(gradient, expected, rtol=1e-10)


def _with_ones(inputs):
    """Inputs of a linear model with a bias, its first weight."""
    return np.concatenate([np.ones((len(inputs), 1)), inputs], axis=1)


def test_linear_regression():
    """With as many conjugate-gradient iterations as there are weights, a bias among them.

    Damping changes the meta-gradient and not the minimum.
    """
    size, damping = 4, 0.4
    family = metajax.tasks.make("quadratics", size=size)
    algorithm = metajax.make(
        "imaml",
        family,
        proximal_coefficient=STRENGTH,
        cg_iterations=size + 1,
        cg_damping=damping,
        updates_per_step=400,
        inner_lr=0.1,
        hidden_sizes=(),
        num_tasks=NUM_TASKS,
        num_streams=size - 1,
        optimizer="sgd",
        learning_rate=1.0,
        devices=1,
    )

    @jax.jit
    def run(key):
        state = algorithm.init(jax.random.key(0))
        theta = jax.tree.map(lambda leaf: leaf.astype(float), state.theta)
        after, info = algorithm.step(key, state._replace(theta=theta))

        def trial(key):
            key_task, key_trial = jax.random.split(key)
            return algorithm.adapt(key_trial, theta, family.sample(key_task))

        trials = jax.vmap(trial)(jax.random.split(key, NUM_TASKS))
        return theta, after.theta, info["loss"], trials

    theta, after, loss, trials = jax.device_get(run(KEY))
    (start, _), (end, _) = raveled(theta), raveled(after)
    gradients, values = [], []
    for task in range(NUM_TASKS):
        support, query = (
            jax.tree.map(lambda leaf, task=task: leaf[task], chunk)
            for chunk in (trials.support, trials.query)
        )
        inputs, asked = _with_ones(support.inputs[0]), _with_ones(query.inputs)
        hessian, unit = 2 * inputs.T @ inputs / len(inputs), np.eye(size + 1)
        moment = 2 * inputs.T @ support.targets[0] / len(inputs)
        weights = np.linalg.solve(hessian + STRENGTH * unit, moment + STRENGTH * start[:, None])
        error = asked @ weights - query.targets
        values.append(np.mean(error**2))
        coefficient = STRENGTH + damping
        slope = 2 * asked.T @ error / len(error)
        gradients.append(coefficient * np.linalg.solve(hessian + coefficient * unit, slope))
    np.testing.assert_allclose(loss, np.mean(values), rtol=1e-9)
    np.testing.assert_allclose(start - end, np.mean(gradients, axis=0)[:, 0], rtol=1e-8)


def test_memory_does_not_grow_with_the_updates():
    """In bytes of the compiled meta-gradient of one task."""

    def memory(name, updates):
        algorithm = metajax.make(
            name,
            metajax.tasks.make("sinusoid"),
            hidden_sizes=(16, 16),
            num_streams=50,
            updates_per_step=updates,
        )
        learner = algorithm.learner
        objective = outer.post_adaptation(algorithm.problem, metajax.losses.squared_error)
        key = jax.random.key(0)
        theta = jax.eval_shape(learner.init, key)
        item, _ = jax.eval_shape(objective.collect, key, theta)
        gradient = jax.jit(jax.grad(objective.loss, has_aux=True)).lower(theta, item).compile()
        return gradient.memory_analysis().temp_size_in_bytes

    maml, implicit = ([memory(name, updates) for updates in (4, 16)] for name in ("maml", "imaml"))
    assert implicit[1] < 1.05 * implicit[0]
    assert maml[1] > 2 * maml[0]
    assert implicit[1] < maml[1]
