"""Reward prediction from the features of a memory: an auxiliary term of RL2."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toys

import metajax
from metajax.algorithms.memory.reward_prediction import reward_error
from metajax.core.types import Chunk, Outputs

SMALL = {"num_tasks": 4, "hidden_size": 3, "num_minibatches": 2, "num_epochs": 2}


@jax.jit
def _error(kernel, bias, features, action):
    """Two steps of one stream, with rewards 1 and 2, and a third that never happened."""
    outputs = Outputs((), jnp.zeros(()), jnp.zeros(()), features=features[:, None])
    mask, reward = jnp.array([[True], [True], [False]]), jnp.array([[1.0], [2.0], [0.0]])
    nothing = jnp.zeros(mask.shape)
    chunk = Chunk(nothing, action, reward, nothing, nothing, mask, nothing)
    return reward_error({"reward": {"kernel": kernel, "bias": bias}}, outputs, chunk)


def test_by_hand():
    """Coefficients of the two steps: [1, 2.5, 0], [2, 0.5, 3]."""
    kernel, bias = np.array([[1.0, 2.0, 0.0], [2.0, 0.0, 3.0]]), np.array([0.0, 0.5, 0.0])
    features = np.array([[1.0, 0.0], [0.0, 1.0], [7.0, 7.0]])
    # Predicted 1 + 2.5 and 2 + 3 by the actions' own; errors 2.5 and 3.
    assert _error(kernel, bias, features, np.array([[0], [1], [1]])) == (2.5**2 + 3**2) / 4
    # 1 + 2.5 * 2 - 0 and 2 + 0.5 * 0 + 3 * -1; errors 5 and -3.
    box = np.array([[[2.0, -1.0]], [[0.0, -1.0]], [[9.0, 9.0]]])
    assert _error(kernel, bias, features, box) == (5**2 + 3**2) / 4


@pytest.mark.parametrize("name", ["arms", "line"])
def test_its_gradient_reaches_the_memory(name, request):
    family = request.getfixturevalue(name)
    algorithm = metajax.make("rl2-reward-prediction", family, **SMALL)

    @jax.jit
    def run():
        theta = algorithm.learner.init(jax.random.key(0))
        kernel = theta["reward"]["kernel"]
        theta["reward"]["kernel"] = jax.random.normal(jax.random.key(1), kernel.shape)
        chunk = algorithm.adapt(jax.random.key(2), theta, family.sample(jax.random.key(3))).query

        def error(theta):
            return reward_error(theta, algorithm.learner.predict(theta, (), chunk), chunk)

        return jax.grad(error)(theta)

    gradient = jax.device_get(run())
    for part in ("memory", "reward"):
        assert all(np.abs(leaf).max() > 1e-5 for leaf in jax.tree.leaves(gradient[part]))
    for part in ("heads", "value"):
        assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradient[part]))


@pytest.mark.further
def test_without_weight_it_is_rl2(line, assert_same):
    key = jax.random.key(0)
    auxiliary = metajax.make("rl2-reward-prediction", line, **SMALL, reward_coefficient=0.0)
    state, history = metajax.train(auxiliary, key, 2)
    plain, plain_history = metajax.train(metajax.make("rl2", line, **SMALL), key, 2)
    assert not np.any(state.theta.pop("reward")["kernel"])
    assert (history.pop("reward_error") > 0).all()
    assert_same((state.theta, history), (plain.theta, plain_history))


@pytest.mark.slow
def test_it_learns_to_predict_what_only_a_memory_can_know():
    """Two arms, one of which pays: only the reward of the first pull is not known before."""
    num_pulls = 6
    family = toys.arms(episode_length=1)
    family = family._replace(spec=dataclasses.replace(family.spec, episodes_per_trial=num_pulls))
    sizes = {"num_tasks": 128, "hidden_size": 16, "learning_rate": 1e-2}
    algorithm = metajax.make("rl2-reward-prediction", family, **sizes)
    _, history = metajax.train(algorithm, jax.random.key(0), 60)
    assert history["reward_error"][-5:].mean() == pytest.approx(0.125 / num_pulls, abs=0.005)
