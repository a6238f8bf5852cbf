"""The functions of the library given something else: an error that names the argument."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toys

import metajax
from metajax.core import checks

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def reptile() -> Any:
    return toys.make("reptile", toys.line(), num_tasks=2)


@pytest.fixture(scope="module")
def state(reptile) -> Any:
    return metajax.initial_state(reptile, KEY)


@pytest.fixture(scope="module")
def other() -> Any:
    """A state of the same method with a wider network, and so another one's theta."""
    algorithm = toys.make("reptile", toys.line(), num_tasks=2, hidden_sizes=(5,))
    return metajax.initial_state(algorithm, KEY)


def refused(field: str, said: str, call, *arguments: Any, **options: Any) -> None:
    with pytest.raises(metajax.OptionError) as error:
        call(*arguments, **options)
    assert error.value.field == field
    assert said in str(error.value)
    assert len(str(error.value)) < 500


def test_what_is_not_a_theta_of_the_algorithm(reptile, state, other):
    for theta, said in (
        (other.theta, ", and should be float32["),
        (other, ", and should be float32["),
        (None, " is missing, and should be float32["),
        ({}, " is missing, and should be float32["),
        ({**state.theta._asdict()} if hasattr(state.theta, "_asdict") else 3, "belongs to"),
        (3, "belongs to something else"),
        ("theta", '"theta" holds no arrays'),
        (jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), state.theta), "[2, "),
        (jax.tree.map(lambda leaf: leaf.astype(jnp.int32), state.theta), "is int32["),
    ):
        refused("theta", said, metajax.evaluate, reptile, KEY, theta, num_tasks=2)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_tasks": 2.5}, "2.5 is not an integer"),
        ({"num_tasks": True}, "true is not an integer"),
        ({"num_tasks": None}, "None is not an integer"),
        ({"num_streams": "3"}, '"3" is not an integer'),
        ({"num_adaptations": 1.0}, "1.0 is not an integer"),
        ({"family": "line"}, '"line" is not a TaskFamily; allowed: one of metajax.tasks.make'),
    ],
)
def test_other_arguments_of_evaluate(reptile, state, options, said):
    refused(*options, said, metajax.evaluate, reptile, KEY, state, **options)


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (3, "3 is not a random key; allowed: one, for example jax.random.key(0)"),
        *((None, "None is not"), ("0", '"0" is not'), (jnp.ones(2), "is not a random key")),
        (jax.random.split(KEY, 3), "an array [3] of keys is not a random key"),
    ],
)
def test_what_is_not_a_key(reptile, state, key, said):
    refused("key", said, metajax.evaluate, reptile, key, state)
    refused("key", said, metajax.train, reptile, key, 1)
    refused("key", said, metajax.initial_state, reptile, key)


def test_keys_of_both_kinds_are_taken():
    for key in (KEY, jax.random.PRNGKey(0), np.zeros(2, np.uint32), jax.random.key(0, impl="rbg")):
        checks.check_key(key)
    jax.vmap(lambda key: checks.check_key(key))(jax.random.split(KEY, 2))


def test_what_is_not_an_algorithm(state):
    said = '"maml" is not a MetaAlgorithm; allowed: one of metajax.make'
    refused("algorithm", said, metajax.train, "maml", KEY, 1)
    refused("algorithm", said, metajax.evaluate, "maml", KEY, state)
    refused("algorithm", said, metajax.initial_state, "maml", KEY)
    refused("family", '"line" is not a TaskFamily', metajax.make, "maml", "line")


def test_what_is_not_a_state_of_the_algorithm(reptile, state, other):
    for given, said in (
        (state.theta, "is not a MetaState; allowed: a state of this algorithm"),
        *((3, "3 is not a MetaState"), ("last", '"last" is not a MetaState')),
        (other, ", and should be float32["),
        (state._replace(carry=()), "has another structure"),
        (metajax.MetaState(None, None), "is missing, and should be"),
    ):
        refused("state", said, metajax.train, reptile, KEY, 1, state=given)


def test_other_arguments_of_train(reptile, state):
    for options, said in (
        ({"num_iterations": 2.5}, "2.5 is not an integer"),
        ({"block_size": 1.5, "num_iterations": 3}, "1.5 is not an integer"),
        ({"start": None, "num_iterations": 3}, "None is not an integer"),
        ({"start": -1, "num_iterations": 3}, "allowed: at least 0"),
    ):
        refused(next(iter(options)), said, metajax.train, reptile, KEY, **options)


def test_on_block_inside_of_a_transformation(reptile, state):
    def trained(key, rate=None, **options):
        one = reptile if rate is None else toys.make("reptile", toys.line(), outer_step=rate)
        return metajax.train(one, key, 1, on_block=lambda *_: None, **options)[0].theta

    said = "cannot be called inside of jax.jit or jax.vmap"
    keys = jax.random.split(KEY, 2)
    refused("on_block", said, jax.vmap(trained), keys)
    refused("on_block", said, jax.jit(trained), KEY)
    refused("on_block", said, jax.vmap(lambda state: trained(KEY, state=state)), stacked(state))
    shown = jax.jit(lambda key: metajax.train(reptile, key, 1, progress=True)[1])
    refused("progress", "cannot be shown inside of jax.jit or jax.vmap", shown, KEY)


def stacked(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), tree)


def test_a_state_that_training_has_overwritten(reptile):
    used = metajax.initial_state(reptile, KEY)
    jax.tree.leaves(used.theta)[0].delete()
    said = "has been overwritten by training; copy what is used twice"
    refused("state", said, metajax.train, reptile, KEY, 1, state=used)
    refused("theta", said, metajax.evaluate, reptile, KEY, used)


@pytest.mark.parametrize("traced", [True, pytest.param(False, marks=pytest.mark.further)])
def test_thetas_are_evaluated_side_by_side(reptile, state, traced):
    """Traced alone, which does not compile; and with the returns of each."""
    thetas = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf + 0.1]), state.theta)

    def of(theta):
        return metajax.evaluate(reptile, KEY, theta, num_tasks=2, num_adaptations=1)

    every = jax.vmap(lambda theta: of(theta).returns)
    if traced:
        assert jax.eval_shape(every, thetas).shape == (2, 2, 2)
        return
    together, alone = every(thetas), of(state.theta).returns
    np.testing.assert_allclose(together[0], alone, rtol=1e-4, atol=1e-5)
    assert not np.allclose(together[1], alone)
