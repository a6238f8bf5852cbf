"""Learned optimisers of agents make agents learn that hardly learn with what they begin as."""

import functools

import jax
import numpy as np
import pytest
import toys

import metajax

SIZES = {
    "num_tasks": 8,
    "num_streams": 2,
    "num_steps": 2,
    "lifetime": 80,
    "num_points": 10,
    "hidden_sizes": (4,),
    "rule_sizes": (8,),
    "population_size": 16,
    "perturbation_std": 0.1,
    "learning_rate": 0.1,
}
AGENTS = {
    "l2o-actor-critic": {"inner_lr": 3e-3},
    "l2o-dqn": {
        "inner_lr": 3e-3,
        "batch_size": 8,
        "buffer_size": 80,
        "learning_starts": 8,
        "target_period": 1,
        "epsilon": (1.0, 0.1),
        "epsilon_steps": 20,
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("name", AGENTS)
def test_a_learned_optimizer_of_agents_is_better_than_adam(name):
    algorithm = metajax.make(name, toys.arms(), **SIZES, **AGENTS[name])
    before = algorithm.init(jax.random.key(0)).theta
    state, _ = metajax.train(algorithm, jax.random.key(0), 40, block_size=40)
    evaluate = functools.partial(
        metajax.evaluate, algorithm, jax.random.key(1), num_tasks=200, explore=True
    )
    adam, learned = (evaluate(theta).returns[:, 1:].mean() for theta in (before, state.theta))
    print(name, np.round([adam, learned], 2))
    assert learned > adam + 0.1
