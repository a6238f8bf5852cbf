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


def _module_and_parameters(kind, dtype):
    module = kind(H)
    key_weights, key_bias, key_xs = jax.random.split(jax.random.key(0), 3)
    xs = jax.random.normal(key_xs, (T, B, F), dtype)
    parameters = module.init(key_weights, xs)["params"]
    bias = jax.random.normal(key_bias, parameters["bias"].shape)
    parameters = jax.tree.map(lambda leaf: leaf.astype(dtype), {**parameters, "bias": bias})
    return module, parameters, xs


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
    zeros = jnp.zeros((B, H), jnp.float64)
    carry = zeros if kind is GRU else (zeros, zeros)
    expected = []
    for x in xs:
        carry, hidden = cell.apply({"params": dense}, carry, x)
        expected.append(hidden)
    hidden = module.apply({"params": parameters}, xs)
    np.testing.assert_allclose(hidden, np.stack(expected), rtol=1e-12)


def test_step_by_step_equals_the_whole_trial(kind):
    module, parameters, xs = _module_and_parameters(kind, jnp.float32)
    whole = module.apply({"params": parameters}, xs)

    @jax.jit
    def step(memory, x):
        return module.apply({"params": parameters}, memory, x, method="step")

    memory = module.initial_memory()
    for time in range(T):
        hidden, memory = step(memory, xs[time, 1])
        np.testing.assert_allclose(hidden, whole[time, 1], rtol=1e-5, atol=1e-6)


def test_a_gated_readout_is_what_numpy_makes_of_the_hidden_states(kind, x64):
    _, _, xs = _module_and_parameters(kind, jnp.float64)
    module = GatedReadout(kind(H), 6)
    parameters = module.init(jax.random.key(1), xs)["params"]
    parameters = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), parameters)
    whole = np.asarray(module.apply({"params": parameters}, xs))
    assert whole.shape == (T, B, 6)

    def dense(name, x):
        return np.asarray(x) @ parameters[name]["kernel"] + parameters[name]["bias"]

    encoded = np.maximum(dense("encoder", xs), 0)
    hidden = kind(H).apply({"params": parameters["memory"]}, jnp.asarray(encoded))
    asked = hidden * 2 / (1 + np.exp(-dense("gate", xs)))
    expected = np.maximum(dense("readout", np.concatenate([hidden, asked], -1)), 0)
    np.testing.assert_allclose(whole, expected, rtol=1e-10, atol=1e-12)
    assert (expected > 0).any()
    memory = module.initial_memory()
    for time in range(T):
        features, memory = module.apply({"params": parameters}, memory, xs[time, 1], method="step")
        np.testing.assert_allclose(features, whole[time, 1], rtol=1e-10, atol=1e-12)


@functools.cache
def _gradient_of_a_plain_scan(kind):
    module, parameters, xs = _module_and_parameters(kind, jnp.float64)
    weigh = _weigh()

    def plain(parameters, xs):
        start = jax.tree.map(lambda leaf: jnp.zeros((B, H)), module.initial_memory())

        def step(carry, x):
            weights = module.bind({"params": parameters})._weights(F)
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
