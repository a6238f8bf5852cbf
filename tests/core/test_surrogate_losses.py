"""Surrogates and clipping against other implementations and by hand."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import rlax

from metajax import inner, losses
from metajax.core.types import Chunk, Outputs

RANDOM = np.random.default_rng(0)
NOW, THEN, ADVANTAGE = RANDOM.normal(size=(3, 5, 3)).astype(np.float32)
MASK: Any = np.arange(5)[:, None] < np.array([5, 2, 4])
COUNT = 11


def _kept(values):
    return np.asarray(values, np.float64)[MASK]


def test_score_and_ratio_surrogates_by_hand():
    now, then, advantage = map(_kept, (NOW, THEN, ADVANTAGE))
    score = jax.jit(losses.score_surrogate)(NOW, ADVANTAGE, MASK)
    np.testing.assert_allclose(score, -np.sum(now * advantage) / COUNT, rtol=1e-5)
    np.testing.assert_allclose(
        jax.jit(losses.likelihood_ratio_surrogate)(NOW, THEN, ADVANTAGE, MASK),
        -np.sum(np.exp(now - then) * advantage) / COUNT,
        rtol=1e-5,
    )


def test_the_outer_loss_is_in_reward_units_over_the_whole_horizon():
    """``-sum(log_prob * advantage * scale) / (T E)``: padding divides but never adds."""
    outputs = Outputs((), NOW, np.zeros_like(NOW))
    empty: Any = np.zeros((5, 3), np.float32)
    flags: Any = np.zeros((5, 3), bool)
    chunk = Chunk(
        empty[..., None],
        empty,
        empty,
        flags,
        flags,
        MASK,
        empty,
        empty[0][:, None],
        advantage=np.where(MASK, ADVANTAGE, np.float32(1e6)),
        scale=np.float32(2.5),
    )
    expected = -2.5 * np.sum(_kept(NOW) * _kept(ADVANTAGE)) / 15
    actual = jax.jit(losses.policy_gradient_loss)(outputs, chunk)
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


@pytest.mark.parametrize("clip", [0.1, 0.5])
def test_clipped_surrogate_agrees_with_rlax(clip):
    def expected(now, then, advantage):
        return rlax.clipped_surrogate_pg_loss(jnp.exp(now - then), advantage, clip)

    def actual(log_prob):
        return losses.clipped_surrogate(log_prob, THEN, ADVANTAGE, MASK, clip)

    kept = (_kept(one).astype(np.float32) for one in (NOW, THEN, ADVANTAGE))
    loss, gradient = jax.device_get(jax.jit(jax.value_and_grad(actual))(NOW))
    of_rlax, its_gradient = jax.jit(jax.value_and_grad(expected))(*kept)
    np.testing.assert_allclose(loss, of_rlax, rtol=1e-5)
    np.testing.assert_allclose(gradient[MASK], its_gradient, rtol=1e-4, atol=1e-7)
    np.testing.assert_array_equal(gradient[~MASK], 0)


def test_padding_has_no_gradient():
    functions = {
        "score": lambda now: losses.score_surrogate(now, ADVANTAGE, MASK),
        "dice": lambda now: losses.dice_surrogate(now, ADVANTAGE, MASK),
        "ratio": lambda now: losses.likelihood_ratio_surrogate(now, THEN, ADVANTAGE, MASK),
        "clipped": lambda now: losses.clipped_surrogate(now, THEN, ADVANTAGE, MASK),
    }
    program = jax.jit(
        lambda now: {name: jax.value_and_grad(fn)(now) for name, fn in functions.items()}
    )
    expected = jax.device_get(program(NOW))
    for filling in (300, np.nan):  # the exponential of the one overflows
        for name, (loss, gradient) in jax.device_get(program(np.where(MASK, NOW, filling))).items():
            np.testing.assert_array_equal(gradient[~MASK], 0, err_msg=name)
            np.testing.assert_array_equal(loss, expected[name][0], err_msg=name)


def test_a_clipped_ratio_beyond_float32_has_no_gradient():
    """As in float64: where the clipped term is the smaller one, whatever the ratio is."""

    def loss(now):
        mask = jnp.ones_like(now, bool)
        advantage = jnp.array([2.0, 0.0, 2.0], now.dtype)
        return losses.clipped_surrogate(now, jnp.zeros_like(now), advantage, mask)

    value, gradient = jax.jit(jax.value_and_grad(loss))(np.array([126, 126, -126], np.float32))
    np.testing.assert_allclose(value, -2 * 1.2 / 3, rtol=1e-6)
    np.testing.assert_array_equal(gradient, 0)


def test_dice_starts_at_zero_with_the_gradient_of_score():
    (dice, gradient), (_, expected) = (
        jax.jit(jax.value_and_grad(surrogate))(NOW, ADVANTAGE, MASK)
        for surrogate in (losses.dice_surrogate, losses.score_surrogate)
    )
    assert dice == 0
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-7)


# --- Clipping and the inner optimiser where a task saw no reward ---------------------


@pytest.mark.parametrize("max_norm", [0.5, 100.0])
def test_clipping_agrees_with_optax(max_norm):
    updates = {"a": np.array([3.0, -4.0]), "b": np.array([[12.0]])}
    rules = inner.clip_by_global_norm(max_norm), optax.clip_by_global_norm(max_norm)
    program = jax.jit(lambda updates: [r.update(updates, r.init(updates))[0] for r in rules])
    actual, expected = program(updates)
    for one, other in zip(*map(jax.tree.leaves, (actual, expected)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def _through(rule):
    """Derivative of an updated weight in a number that scales its gradient, at 0."""

    def weight(scale):
        updates = scale * jnp.array([1.0, 2.0])
        step, _ = rule.update(updates, rule.init(updates), updates)
        return jnp.sum(step)

    return jax.jit(jax.grad(weight))(0.0)


def test_zero_gradients_can_be_differentiated_through_our_clipping():
    np.testing.assert_allclose(_through(inner.clip_by_global_norm(1.0)), 3.0)
    assert np.isnan(_through(optax.clip_by_global_norm(1.0))), "the reason for our own"


def test_sgd_is_the_inner_optimiser_that_survives_zero_gradients():
    """Adam divides by the root of a second moment that is zero."""
    np.testing.assert_allclose(_through(optax.sgd(0.1)), -0.3, rtol=1e-6)
    np.testing.assert_allclose(_through(optax.sgd(0.1, momentum=0.9)), -0.3, rtol=1e-6)
    assert np.isnan(_through(optax.adam(0.1)))


def test_step_sizes():
    rates = jax.jit(jax.vmap(inner.step_sizes((0.4, 0.2))))(np.arange(4))
    np.testing.assert_allclose(rates, [0.4, 0.2, 0.2, 0.2])
    np.testing.assert_allclose(inner.step_sizes(0.3)(5), 0.3)
