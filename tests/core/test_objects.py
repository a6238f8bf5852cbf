"""Objects of optax and flax in the place of options."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import toys
from flax import nnx

import metajax
from metajax.algorithms import ALGORITHMS
from metajax.algorithms.common.optimizers import MetaOptimized
from metajax.core.options import OptionError, build

KEY = jax.random.key(0)
SCHEDULE = optax.piecewise_constant_schedule(8.0, {1: 0.5, 2: 0.5})
OPTIMIZED = [
    name for name in metajax.list_algorithms() if issubclass(ALGORITHMS.get(name), MetaOptimized)
]


@pytest.mark.parametrize("name", OPTIMIZED)
def test_every_algorithm_with_an_optimizer_takes_those_of_optax(name):
    cls, rule = ALGORITHMS.get(name), optax.adamw(1e-3)
    assert build(cls, {"optimizer": rule}).optimizer is rule
    assert build(cls, {"learning_rate": SCHEDULE}).learning_rate is SCHEDULE
    with pytest.raises(OptionError, match=r'allowed: "adam", .* or an optax.GradientTransf'):
        build(cls, {"optimizer": optax.adam})  # not called
    with pytest.raises(OptionError, match=r'learning-rate: "warm" does not fit.*number$'):
        build(cls, {"learning-rate": "warm"}, toml=True)


def _steps(updates_per_iteration=1, **options):
    rule = MetaOptimized(**options).meta_optimizer(updates_per_iteration)

    def step(state, gradient):
        update, state = rule.update(gradient, state)
        return state, update

    return jax.lax.scan(step, rule.init(jnp.float32(0)), jnp.ones(4))[1]


def test_a_schedule_is_one_of_meta_iterations():
    np.testing.assert_array_equal(_steps(learning_rate=SCHEDULE, optimizer="sgd"), [-8, -4, -2, -2])
    np.testing.assert_array_equal(
        _steps(2, learning_rate=SCHEDULE, optimizer="sgd"), [-8, -8, -4, -4]
    )


def test_an_optimizer_has_its_own_step_size():
    rule = optax.sgd(0.5)
    np.testing.assert_array_equal(_steps(optimizer=rule), [-0.5] * 4)
    np.testing.assert_array_equal(_steps(optimizer=rule, max_grad_norm=0.5), [-0.25] * 4)
    twice: Any = ({"learning_rate": 0.1}, {"learning_rate": SCHEDULE}, {"decay_iterations": 3})
    for given in twice:
        with pytest.raises(OptionError, match="is set; leave it out beside"):
            MetaOptimized(optimizer=rule, **given)
    with pytest.raises(OptionError, match="decay_iterations: is set; leave it out"):
        MetaOptimized(learning_rate=SCHEDULE, decay_iterations=3)
    assert dataclasses.replace(MetaOptimized(optimizer=rule), max_grad_norm=1.0).optimizer is rule


class Torso(nnx.Module):
    """Of flax.nnx, which holds its parameters."""

    def __init__(self, size, *, rngs):
        self.layer = nnx.Linear(2, size, rngs=rngs)

    def __call__(self, observation):
        return nnx.relu(self.layer(observation))


def test_a_module_of_nnx_goes_over_the_bridge():
    line = toys.line()
    maml = toys.make("maml", line, network=nnx.bridge.to_linen(Torso, 3))
    theta = jax.eval_shape(maml.init, KEY).theta
    assert theta["policy"]["torso"]["layer"]["kernel"].shape == (2, 3)
    jax.eval_shape(maml.step, KEY, jax.eval_shape(maml.init, KEY))
    for given in (Torso, Torso(3, rngs=nnx.Rngs(0))):
        with pytest.raises(OptionError, match=r"flax.nnx.bridge.to_linen\(Torso, \.\.\.\)"):
            toys.make("maml", line, network=given)
