"""Learned optimisers from run directories, in optax loops."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import metajax
from metajax.algorithms import ALGORITHMS
from metajax.run import checkpoints
from metajax.run.config import from_dict
from metajax.run.directory import RunDirectory

# Without dormancy, which optax loops do not tell.
AGENT = {"lifetime": 16, "num-steps": 2, "rule-sizes": [2], "inputs": ["progress", "layer"]}
SMALL = {
    "l2o-actor-critic": AGENT,
    "l2o-dqn": {**AGENT, "batch-size": 2, "buffer-size": 16, "learning-starts": 2},
    "lstm-optimizer": {"inner-steps": 2, "window": 1, "lstm-size": 2},
    "mlp-optimizer": {"inner-steps": 2, "window": 1, "rule-sizes": [2]},
    "lstm-meta-learner": {"inner-steps": 1, "lstm-size": 2, "hidden-sizes": []},
}
OPTIMIZERS = [
    name for name in metajax.list_algorithms() if hasattr(ALGORITHMS.get(name), "optimizer_of")
]


def _saved(path, name):
    """A run directory with a checkpoint, and its theta."""
    sizes = {"num-tasks": 2, "num-streams": 2, **SMALL.get(name, {})}
    family = {"name": "dark-room" if "lifetime" in sizes else "quadratics", "size": 2}
    config = from_dict({"family": family, "algorithm": {"name": name, **sizes}})
    algorithm = config.build()[0]
    # A whole state would take seconds to compile.
    like = jax.eval_shape(algorithm.init, jax.random.key(0))
    state = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), like)
    state = state._replace(theta=jax.jit(algorithm.learner.init)(jax.random.key(0)))
    run = RunDirectory(path)
    run.write_config(config)
    checkpoints.save(run.checkpoints, 1, state, keep=1)
    return config.algorithm.options, state.theta


def _loss(params, bend, steepness):
    """A parabola without bend, Rosenbrock's function with a bend of 1 and a steepness of 100."""
    x, y = params["x"], params["y"]
    return jnp.square(1 - x) + steepness * jnp.sum(jnp.square(y - bend * jnp.square(x)))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_optimizer_of_a_run_in_an_optax_loop(name, tmp_path):
    """On both functions, compiled once, with the steps of the theta that was saved."""
    options, theta = _saved(tmp_path, name)
    traces = []

    def step_of(optimizer):
        tx = optax.chain(optax.clip_by_global_norm(10.0), optimizer)

        @jax.jit
        def step(params, state, bend, steepness):
            traces.append(1)
            value, gradient = jax.value_and_grad(_loss)(params, bend, steepness)
            updates, state = tx.update(gradient, state, params, value=value)
            return optax.apply_updates(params, updates), state

        return tx.init, step

    def minimized(optimizer, *function):
        init, step = optimizer
        params = {"x": np.float32(-0.5), "y": np.ones(2, np.float32)}
        state = jax.tree.map(np.asarray, init(params))
        for _ in range(3):
            params, state = step(params, state, *map(np.float32, function))
        return jax.device_get(params)

    loaded = step_of(metajax.load_run(tmp_path).optimizer)
    ends = [minimized(loaded, bend, steepness) for bend, steepness in ((0, 1), (1, 100))]
    assert len(traces) == 1
    assert ends[0]["x"] != ends[1]["x"]
    mine = step_of(optax.with_extra_args_support(options.optimizer_of(theta)))
    jax.tree.map(np.testing.assert_array_equal, minimized(mine, 1, 100), ends[1])


def test_a_run_without_an_optimizer(tmp_path):
    _saved(tmp_path, "maml")
    with pytest.raises(metajax.OptionError, match='algorithm: "maml" is no optimiser; allowed'):
        _ = metajax.load_run(tmp_path).optimizer
