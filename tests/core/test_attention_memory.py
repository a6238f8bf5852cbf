"""Attention memories against numpy, and their two forms against each other."""

from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metajax.core.options import OptionError
from metajax.networks import SNAIL, Transformer
from metajax.networks.attention import CausalAttention, rotate, toeplitz
from metajax.networks.snail import DenseBlock

T, B, F = 7, 3, 2

_BLOCKS = (("tc", 3), ("attention", 2, 4), ("attention", 2, 2))
_SMALL: dict[str, Any] = {"num_heads": 2, "size": 8, "mlp_size": 6}

MODULES = {
    "snail": SNAIL(T, input_size=3, blocks=_BLOCKS),
    "snail-longer-than-the-trial": SNAIL(20, input_size=3, blocks=_BLOCKS),
    "transformer-rotary": Transformer(T, positions="rotary", **_SMALL),
    "transformer-relative": Transformer(T, positions="relative", max_distance=3, **_SMALL),
    "transformer-rotary-window": Transformer(3, positions="rotary", **_SMALL),
    "transformer-relative-window": Transformer(3, positions="relative", **_SMALL),
}


@cache
def _with_parameters(module, dtype, *, num_steps=T):
    """Parameters drawn anew, since those that start at zero would hide mistakes."""
    random = np.random.default_rng(0)
    xs = random.normal(size=(num_steps, B, F)).astype(dtype)
    shapes = jax.eval_shape(module.init, jax.random.key(0), xs[:1])["params"]

    def draw(leaf):
        return (0.5 * random.normal(size=leaf.shape)).astype(dtype)

    return jax.tree.map(draw, shapes), xs


@partial(jax.jit, static_argnums=0)
def _whole(module, parameters, xs) -> Any:
    """All streams in parallel, ``[T, B, F]``."""
    return module.apply({"params": parameters}, xs)


@partial(jax.jit, static_argnums=0)
def _stepwise(module, parameters, xs):
    """One stream ``[T, F]``, step by step."""

    def step(memory, x):
        y, memory = module.apply({"params": parameters}, memory, x, method="step")
        return memory, y

    return jax.lax.scan(step, module.initial_memory(), xs)[1]


def _streams_stepwise(module, parameters, xs):
    """All streams ``[T, B, F]``, step by step."""
    return jax.vmap(lambda x: _stepwise(module, parameters, x), 1, 1)(xs)


@partial(jax.jit, static_argnums=0)
def _both_forms(module, parameters, xs):
    return _whole(module, parameters, xs), _streams_stepwise(module, parameters, xs)


@pytest.fixture(params=MODULES, scope="module")
def module(request):
    return MODULES[request.param]


def test_step_by_step_equals_the_whole_trial(module):
    parameters, xs = _with_parameters(module, np.float32)
    whole, stepwise = _both_forms(module, parameters, xs)
    np.testing.assert_allclose(stepwise, whole, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "module",
    [MODULES["snail"], MODULES["transformer-rotary"], MODULES["transformer-relative-window"]],
)
def test_both_forms_have_the_same_gradient(module, x64):
    parameters, xs = _with_parameters(module, np.float64)

    @jax.jit
    def both(parameters):
        def summed(form):
            def fn(parameters):
                ys = form(module, parameters, xs)
                weigh = jax.random.normal(jax.random.key(3), ys.shape)
                return jnp.sum(jnp.sin(weigh * ys)), ys

            return jax.grad(fn, has_aux=True)(parameters)

        return summed(_whole), summed(_streams_stepwise)

    got, expected = both(parameters)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-11), got, expected
    )


def test_the_future_changes_nothing_and_the_past_does(module):
    parameters, xs = _with_parameters(module, np.float32)
    later = xs + np.array(np.arange(T) == 3, np.float32)[:, None, None]
    before, after = (jax.device_get(_both_forms(module, parameters, one)[0]) for one in (xs, later))
    np.testing.assert_array_equal(before[:3], after[:3])
    assert np.all(np.max(np.abs(before - after)[3:6], axis=(1, 2)) > 1e-3)


@pytest.mark.parametrize("name", ["snail", "transformer-rotary"])
def test_a_stream_alone_equals_the_same_stream_among_others(name):
    module = MODULES[name]
    parameters, xs = _with_parameters(module, np.float32)
    whole = jax.device_get(_whole(module, parameters, xs))
    np.testing.assert_allclose(
        _whole(module, parameters, xs[:, 1:2]), whole[:, 1:2], rtol=1e-5, atol=1e-6
    )


# --- Attention ------------------------------------------------------------------


def _naive_attention(module, parameters, xs):
    """``[T, F]`` to ``[T, H V]``: loops over heads and steps, with complex rotations."""
    heads, size = module.num_heads, module.key_size
    kernel, bias = (np.asarray(parameters["projection"][one]) for one in ("kernel", "bias"))
    projected = (np.asarray(xs) @ kernel + bias).reshape(len(xs), heads, -1)
    out = np.zeros((len(xs), heads, module.value_size))
    for head in range(heads):
        query, key, value = np.split(projected[:, head], [size, 2 * size], axis=-1)
        if module.positions == "rotary":
            turns = [10000.0 ** (-2 * i / size) for i in range(size // 2)]
            turn = np.exp(1j * np.outer(np.arange(len(xs)), turns))
            query, key = ((a[:, : size // 2] + 1j * a[:, size // 2 :]) * turn for a in (query, key))
        for t in range(len(xs)):
            seen = range(max(0, t - module.context + 1), t + 1)
            scores = np.array([np.vdot(query[t], key[s]).real for s in seen]) / np.sqrt(size)
            if module.positions == "relative":
                table = np.asarray(parameters["distance_bias"])[head]
                scores += [table[min(t - s, len(table) - 1)] for s in seen]
            weights = np.exp(scores) / np.sum(np.exp(scores))
            out[t, head] = sum(w * value[s] for w, s in zip(weights, seen, strict=True))
    return out.reshape(len(xs), -1)


@pytest.mark.parametrize("positions", ["none", "rotary", "relative"])
@pytest.mark.parametrize("context", [3, T])
def test_cached_attention_equals_full_attention_in_numpy(positions, context, x64):
    module: Any = CausalAttention(2, 4, 3, context, positions, max_distance=2)
    parameters, xs = _with_parameters(module, np.float64)

    @jax.jit
    def both(parameters, xs):
        def step(memory, timed):
            y, memory = module.apply({"params": parameters}, memory, *timed, method="step")
            return memory, y

        times = jnp.arange(T, dtype=jnp.int32)
        stepwise = jax.lax.scan(step, module.initial_memory(), (times, xs[:, 0]))[1]
        return _whole(module, parameters, xs)[:, 0], stepwise

    whole, stepwise = both(parameters, xs)
    expected = _naive_attention(module, parameters, xs[:, 0])
    np.testing.assert_allclose(whole, expected, rtol=1e-10)
    np.testing.assert_allclose(stepwise, expected, rtol=1e-10)


def test_scores_with_rotary_positions_depend_on_the_distance_only(x64):
    query, key = np.random.default_rng(0).normal(size=(2, 6))
    turned = jax.jit(rotate)

    def score(t, s):
        return np.dot(turned(query, t), turned(key, s))

    np.testing.assert_allclose(score(12, 9), score(105, 102), rtol=1e-10)
    assert abs(score(12, 9) - score(12, 8)) > 1e-3
    np.testing.assert_allclose(np.linalg.norm(turned(key, 5)), np.linalg.norm(key))


@pytest.mark.parametrize("positions", ["rotary", "relative"])
def test_a_window_full_of_the_same_steps_reads_the_same_at_any_time(positions, x64):
    module: Any = CausalAttention(2, 4, 3, 3, positions)
    parameters, xs = _with_parameters(module, np.float64)
    repeated = np.concatenate([xs[:3], xs[3:6], xs[:1], xs[3:6]])
    ys = jax.device_get(_whole(module, parameters, repeated))
    np.testing.assert_allclose(ys[5], ys[9], rtol=1e-10)


def test_toeplitz_puts_values_by_distance():
    got = jax.jit(toeplitz)(np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))
    lower = np.tril(got)
    np.testing.assert_array_equal(lower[0], [[1, 0, 0], [2, 1, 0], [3, 2, 1]])
    np.testing.assert_array_equal(lower[1], [[4, 0, 0], [5, 4, 0], [6, 5, 4]])


# --- SNAIL ----------------------------------------------------------------------


def test_a_dilated_causal_convolution_by_hand():
    module = DenseBlock(filters=1, dilation=2)
    # Columns: candidate and gate of the present step, then of the step 2 before.
    parameters = {"taps": {"kernel": np.array([[1.0, 0.5, 10.0, -1.0]])}, "bias": np.ones(2)}
    xs = np.array([0.1, 0.2, 0.3, -0.4])[:, None, None]
    candidate = np.array([0.1 + 1, 0.2 + 1, 0.3 + 10 * 0.1 + 1, -0.4 + 10 * 0.2 + 1])
    gate = np.array([0.05 + 1, 0.1 + 1, 0.15 - 0.1 + 1, -0.2 - 0.2 + 1])
    expected = np.tanh(candidate) / (1 + np.exp(-gate))
    ys = jax.device_get(_whole(module, parameters, xs))
    np.testing.assert_allclose(ys[:, 0, 0], expected, rtol=1e-6)


@pytest.mark.parametrize(("length", "num_dilations"), [(1, 1), (2, 1), (8, 3), (9, 4), (100, 7)])
def test_the_convolutions_of_a_block_reach_back_over_the_whole_trial(length, num_dilations):
    module = SNAIL(length, input_size=1, blocks=(("tc", 1),))
    rings = module.initial_memory().layers
    assert [len(ring) - 1 for ring in rings] == [2**power for power in range(num_dilations)]
    assert sum(len(ring) - 1 for ring in rings) >= length - 1


def test_the_default_blocks_are_those_of_the_paper():
    module = SNAIL(100)
    ys = jax.eval_shape(
        lambda key: module.init_with_output(key, jnp.zeros((4, 2, 16)))[0], jax.random.key(0)
    )
    assert ys.shape == (4, 2, 32 + 2 * 7 * 32 + 32)


def _snail(length, num_blocks) -> Any:
    return SNAIL(length, input_size=3, blocks=_BLOCKS[:num_blocks])


def test_steps_past_the_length_see_the_last_steps():
    short, long = _snail(5, 1), _snail(8, 1)
    parameters, xs = _with_parameters(long, np.float32, num_steps=8)
    # Both have dilations 1, 2, 4, so that convolutions do not notice the end ...
    convolved = jax.device_get(_whole(long, parameters, xs))[:, 0]
    np.testing.assert_allclose(_stepwise(short, parameters, xs[:, 0]), convolved, rtol=1e-5)
    # ... and attention sees a window of 5.
    short = _snail(5, 2)
    parameters, xs = _with_parameters(short, np.float32, num_steps=1)
    xs = np.random.default_rng(4).normal(size=(8, F)).astype(np.float32)
    ys = np.asarray(_stepwise(short, parameters, xs))
    attention = CausalAttention(1, 2, 4, context=5)
    expected = _naive_attention(attention, parameters["layers_3"], ys[:, :-4])
    np.testing.assert_allclose(ys[:, -4:], expected, rtol=1e-4, atol=1e-6)


def test_a_whole_trial_past_the_length_is_refused():
    module = SNAIL(5, input_size=3, blocks=_BLOCKS)
    with pytest.raises(OptionError, match=r"length: 5 .* 7 steps"):
        jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((T, B, F)))


# --- Malformed fields ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: Transformer(10, size=30, num_heads=4), "size"),
        (lambda: Transformer(10, size=12, num_heads=4), "size"),
        (lambda: Transformer(10, positions="absolute"), "positions"),
        (lambda: Transformer(0), "context"),
        (lambda: Transformer(10, num_layers=0), "num_layers"),
        (lambda: CausalAttention(1, 3, 3, 5, "rotary"), "key_size"),
        (lambda: SNAIL(0), "length"),
        (lambda: SNAIL(10, input_size=0), "input_size"),
        (lambda: SNAIL(10, blocks=(("tc", 32), ("attention", 32))), "blocks"),
        (lambda: SNAIL(10, blocks=(("dense", 32),)), "blocks"),
        (lambda: SNAIL(10, blocks=(("tc", 0),)), "blocks"),
    ],
)
def test_impossible_fields_are_refused_when_the_module_is_made(make, field):
    with pytest.raises(OptionError) as caught:
        make()
    assert caught.value.field == field


def test_relative_positions_take_heads_of_an_odd_size():
    assert Transformer(10, size=12, num_heads=4, positions="relative").size == 12
