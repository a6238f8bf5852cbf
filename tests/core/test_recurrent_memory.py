"""Recurrent memories against flax's cells, and their own backward pass against autodiff."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metajax.networks import GRU, LSTM, GatedReadout
from metajax.networks.recurrent import cell_step

T, B, F, H = 12, 3, 4, 5


@functools.cache
def _module_and_parameters(kind, dtype):
    module = kind(H)

    @jax.jit
    def draw(key):
        key_weights, key_bias, key_xs = jax.random.split(key, 3)
        xs = jax.random.normal(key_xs, (T, B, F), dtype)
        parameters = module.init(key_weights, xs)["params"]
        bias = jax.random.normal(key_bias, parameters["bias"].shape)
        parameters = jax.tree.map(lambda leaf: leaf.astype(dtype), {**parameters, "bias": bias})
        return parameters, xs

    return module, *jax.device_get(draw(jax.random.key(0)))


@functools.partial(jax.jit, static_argnums=0)
def _stepwise(module, parameters, xs):
    """One stream ``[T, F]``, step by step."""

    def step(memory, x):
        features, memory = module.apply({"params": parameters}, memory, x, method="step")
        return memory, features

    return jax.lax.scan(step, module.initial_memory(), xs)[1]


@functools.partial(jax.jit, static_argnums=0)
def _whole(module, parameters, xs):
    return module.apply({"params": parameters}, xs)


def _flax_cell(kind, parameters):
    """The same weights in flax's own cell."""
    n = 3 if kind is GRU else 4
    inputs, hidden = (np.split(parameters[one], n, -1) for one in ("input", "hidden"))
    bias = np.split(parameters["bias"], 4)
    if kind is GRU:
        dense = {
            "ir": {"kernel": inputs[0], "bias": bias[0]},
            "iz": {"kernel": inputs[1], "bias": bias[1]},
            "in": {"kernel": inputs[2], "bias": bias[2]},
            "hr": {"kernel": hidden[0]},
            "hz": {"kernel": hidden[1]},
            "hn": {"kernel": hidden[2], "bias": bias[3]},
        }
        return nn.GRUCell(H), dense
    names = ("i", "f", "g", "o")
    dense = {f"i{name}": {"kernel": inputs[i]} for i, name in enumerate(names)}
    dense |= {f"h{name}": {"kernel": hidden[i], "bias": bias[i]} for i, name in enumerate(names)}
    return nn.LSTMCell(H), dense


@pytest.fixture(params=[GRU, LSTM])
def kind(request):
    return request.param


def test_it_is_the_cell_of_flax(kind, x64):
    module, parameters, xs = _module_and_parameters(kind, jnp.float64)
    cell, dense = _flax_cell(kind, parameters)
    zeros = np.zeros((B, H))
    carry = zeros if kind is GRU else (zeros, zeros)

    @jax.jit
    def by_flax(dense, xs):
        return jax.lax.scan(lambda carry, x: cell.apply({"params": dense}, carry, x), carry, xs)[1]

    hidden = _whole(module, parameters, xs)
    np.testing.assert_allclose(hidden, by_flax(dense, xs), rtol=1e-12)


def test_step_by_step_equals_the_whole_trial(kind):
    module, parameters, xs = _module_and_parameters(kind, jnp.float32)
    whole = jax.device_get(_whole(module, parameters, xs))
    hidden = _stepwise(module, parameters, xs[:, 1])
    np.testing.assert_allclose(hidden, whole[:, 1], rtol=1e-5, atol=1e-6)


def test_a_gated_readout_is_what_numpy_makes_of_the_hidden_states(kind, x64):
    _, _, xs = _module_and_parameters(kind, jnp.float64)
    module = GatedReadout(kind(H), 6)
    parameters = jax.device_get(jax.jit(module.init)(jax.random.key(1), xs)["params"])
    parameters = jax.tree.map(lambda leaf: leaf.astype(np.float64), parameters)
    whole = jax.device_get(_whole(module, parameters, xs))
    assert whole.shape == (T, B, 6)

    def dense(name, x):
        return x @ parameters[name]["kernel"] + parameters[name]["bias"]

    encoded = np.maximum(dense("encoder", xs), 0)
    hidden = jax.device_get(_whole(kind(H), parameters["memory"], encoded))
    asked = hidden * 2 / (1 + np.exp(-dense("gate", xs)))
    expected = np.maximum(dense("readout", np.concatenate([hidden, asked], -1)), 0)
    np.testing.assert_allclose(whole, expected, rtol=1e-10, atol=1e-12)
    assert (expected > 0).any()
    features = _stepwise(module, parameters, xs[:, 1])
    np.testing.assert_allclose(features, whole[:, 1], rtol=1e-10, atol=1e-12)


@functools.cache
def _gradient_of_a_plain_scan(kind):
    module, parameters, xs = _module_and_parameters(kind, jnp.float64)
    weigh = _weigh()

    def plain(parameters, xs):
        start = jax.tree.map(lambda leaf: jnp.zeros((B, H)), module.initial_memory())

        def step(carry, x):
            weights = module.bind({"params": parameters}).weights(F)
            carry, _ = cell_step(module.gates, weights, carry, x)
            return carry, carry[0]

        return jnp.sum(weigh * jax.lax.scan(step, start, xs)[1] ** 2)

    return jax.jit(jax.grad(plain, (0, 1)))(parameters, xs)


def _weigh():
    return jax.random.normal(jax.random.key(1), (T, B, H), jnp.float64)


@pytest.mark.parametrize("rows", [1, 3 * B, 10**6, "all at once"])
def test_the_backward_pass_equals_that_of_a_plain_scan(kind, rows, x64, monkeypatch):
    if rows == "all at once":  # as on an accelerator
        monkeypatch.setattr("metajax.networks.recurrent._stay_in_cache", lambda: False)
    else:
        monkeypatch.setattr("metajax.networks.recurrent._CHUNK_ROWS", rows)
    module, parameters, xs = _module_and_parameters(kind, jnp.float64)

    def mine(parameters, xs):
        return jnp.sum(_weigh() * module.apply({"params": parameters}, xs) ** 2)

    got = jax.jit(jax.grad(mine, (0, 1)))(parameters, xs)
    expected = _gradient_of_a_plain_scan(kind)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9), got, expected)
