"""Returns, advantages and the linear baseline against arrays worked out by hand."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import rlax

from metajax import losses, networks
from metajax.core.family import Box, Spec
from metajax.core.types import Chunk, bootstrap_observation
from metajax.inner import DescentState, reinforce
from metajax.inner.actor_critic import ActorCriticSettings, with_advantages

R = np.array([[1.0, 4.0], [2.0, 5.0], [3.0, 99.0]], np.float32)
MASK = np.array([[True, True], [True, True], [True, False]])
"""Two streams of at most three steps; the second ends after two, 99 is padding."""

returns_to_go = jax.jit(losses.returns_to_go)
generalized_advantages = jax.jit(losses.generalized_advantages)
normalize = jax.jit(losses.normalize)
linear_feature_values = jax.jit(losses.linear_feature_values)


def test_returns_to_go():
    actual = returns_to_go(R, MASK, 0.5)
    np.testing.assert_allclose(actual, [[2.75, 6.5], [3.5, 5], [3, 0]], rtol=1e-6)
    actual = returns_to_go(R, MASK)
    np.testing.assert_allclose(actual, [[6, 9], [5, 5], [3, 0]], rtol=1e-6)


def test_generalized_advantages_by_hand():
    """discount 0.5, lambda 0.5; the second stream was truncated before T."""
    values = np.array([[10.0, 20.0], [30.0, 40.0], [50.0, 77.0]], np.float32)
    bootstrap = np.array([0.0, 8.0], np.float32)
    # Stream 1 terminates: deltas 1 + 15 - 10, 2 + 25 - 30, 3 + 0 - 50.
    # Stream 2 bootstraps from 8: deltas 4 + 20 - 20, 5 + 4 - 40; 77 and 99 never count.
    deltas = np.array([[6.0, 4.0], [-3.0, -31.0], [-47.0, 0.0]])
    expected = [
        [6 + 0.25 * (-3 + 0.25 * -47), 4 + 0.25 * -31],
        [-3 + 0.25 * -47, -31],
        [-47, 0],
    ]
    args = (R, values, bootstrap, MASK)
    actual = generalized_advantages(*args, 0.5, 0.5)
    np.testing.assert_allclose(actual, expected, rtol=1e-6)
    np.testing.assert_allclose(generalized_advantages(*args, 0.5, 0.0), deltas, rtol=1e-6)


_advantages_of_rlax = jax.jit(rlax.truncated_generalized_advantage_estimation)


@pytest.mark.parametrize("lambda_", [0.0, 0.7, 1.0])
def test_generalized_advantages_agree_with_rlax(lambda_):
    """Streams of different lengths, ended by a terminal state or by truncation."""
    random = np.random.default_rng(0)
    horizon, discount = 7, 0.9
    reward = random.normal(size=(horizon, 4)).astype(np.float32)
    values = random.normal(size=(horizon, 4)).astype(np.float32)
    final = random.normal(size=4).astype(np.float32)
    lengths, terminated = [7, 7, 4, 4], [False, True, False, True]
    bootstrap = np.where(terminated, 0, final)
    mask = np.arange(horizon)[:, None] < lengths
    actual = generalized_advantages(reward, values, bootstrap, mask, discount, lambda_)
    for stream, length in enumerate(lengths):
        discounts = np.full(length, discount, np.float32)
        discounts[-1] = 0 if terminated[stream] else discount
        expected = _advantages_of_rlax(
            reward[:length, stream],
            discounts,
            lambda_,
            np.append(values[:length, stream], final[stream]),
        )
        np.testing.assert_allclose(actual[:length, stream], expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(actual[length:, stream], 0)


# --- What the learner makes of an episode's end ------------------------------------


def _chunk(terminated, truncated, mask):
    """Two streams of two steps in a 1-D observation space."""
    fields: dict[str, Any] = {
        "observation": np.array([[[0.1], [0.2]], [[0.3], [0.4]]], np.float32),
        "action": np.zeros((2, 2, 1), np.float32),
        "reward": np.where(mask, 1, 0).astype(np.float32),
        "terminated": np.asarray(terminated),
        "truncated": np.asarray(truncated),
        "mask": np.asarray(mask),
        "log_prob": np.zeros((2, 2), np.float32),
        "next_observation": np.array([[[0.3], [0.6]], [[0.5], [0.6]]], np.float32),
    }
    return Chunk(**fields)


@functools.cache
def _annotation(baseline):
    spec = Spec("line", (1,), Box((-1.0,), (1.0,)), episode_length=2)
    policy = networks.policy(
        spec, networks.MLP((3,)), value_network=networks.MLP((3,)) if baseline == "value" else None
    )
    # A value of 10 times the observation, in place of the network.
    if baseline == "value":
        policy = policy._replace(value=lambda weights, observation: 10 * observation[:, 0])
    learner = reinforce(
        policy,
        optax.sgd(0.1),
        baseline=baseline,
        discount=0.5,
        normalize_advantages=False,
    )

    @jax.jit
    def annotate(chunk):
        theta = learner.init(jax.random.key(0))
        return learner.actor.annotate(theta, DescentState(theta, ()), chunk)

    return annotate


def _annotate(chunk, baseline):
    return jax.device_get(_annotation(baseline)(chunk))


def test_a_terminal_observation_has_no_gradient():
    """Although a truncated one has: the value that it bootstraps from."""
    no, yes = np.zeros((2, 2), bool), np.ones((2, 2), bool)
    ends = np.array([[True, False], [False, True]])
    chunk = _chunk(ends, no, yes)
    diverged = np.where(ends[..., None], np.nan, chunk.next_observation)

    def total(weights, chunk):
        def value(weights, rows):
            return jnp.tanh(rows @ weights)[:, 0]

        nothing: Any = None
        policy = networks.Policy(nothing, nothing, value, nothing)
        return jnp.sum(with_advantages(policy, ActorCriticSettings(), weights, chunk).target)

    gradient = jax.jit(jax.grad(total))
    weights = np.ones((1, 1), np.float32)
    expected = gradient(weights, chunk)
    assert np.isfinite(expected).all()
    actual = gradient(weights, chunk._replace(next_observation=diverged))
    np.testing.assert_array_equal(actual, expected)
    np.testing.assert_array_equal(
        bootstrap_observation(chunk)[~ends], chunk.next_observation[~ends]
    )


def test_truncation_bootstraps_and_termination_does_not():
    yes, no = [True, True], [False, False]
    chunk = _chunk([no[:2], [True, False]], [no, [False, True]], [yes, yes])
    annotated = _annotate(chunk, "value")
    # To go: 1 + .5 * 1 = 1.5 and 1; truncated also .5^2 * 6 and .5 * 6.
    np.testing.assert_allclose(annotated.target, [[1.5, 3.0], [1.0, 4.0]], rtol=1e-6)
    np.testing.assert_allclose(
        annotated.advantage, [[1.5 - 1, 3.0 - 2], [1.0 - 3, 4.0 - 4]], rtol=1e-5, atol=1e-6
    )
    np.testing.assert_array_equal(annotated.scale, np.ones((2, 2)))


def test_a_chunk_cut_by_the_horizon_bootstraps_too():
    no = [False, False]
    annotated = _annotate(_chunk([no, no], [no, no], [[True, True]] * 2), "value")
    np.testing.assert_allclose(annotated.target[1], [1 + 0.5 * 5, 1 + 0.5 * 6], rtol=1e-6)


def test_an_episode_truncated_before_the_chunk_ends():
    mask = [[True, True], [True, False]]
    chunk = _chunk([[False, False]] * 2, [[False, True], [True, False]], mask)
    annotated = _annotate(chunk, "value")
    np.testing.assert_allclose(annotated.target[0, 1], 1 + 0.5 * 6, rtol=1e-6)
    assert annotated.advantage[1, 1] == 0


@pytest.mark.parametrize("baseline", ["linear", "none"])
def test_without_values_the_return_ends_at_the_time_limit(baseline):
    no = [False, False]
    chunk = _chunk([no, no], [no, [True, True]], [[True, True]] * 2)
    annotated = _annotate(chunk, baseline)
    np.testing.assert_allclose(annotated.target, [[1.5, 1.5], [1, 1]], rtol=1e-5)
    if baseline == "none":
        np.testing.assert_allclose(annotated.advantage, annotated.target, rtol=1e-6)


# --- Normalisation and the linear fit -------------------------------------------------


def test_normalize_over_the_mask_only():
    values = np.array([[1.0, 3.0], [8.0, 1e6]], np.float32)
    mask = np.array([[True, True], [True, False]])
    normalized, scale = jax.device_get(normalize(values, mask, values))
    expected = (np.array([1, 3, 8]) - 4) / np.std([1, 3, 8])
    np.testing.assert_allclose(normalized[mask], expected, rtol=1e-6)
    np.testing.assert_allclose(scale, np.std([1, 3, 8]), rtol=1e-6)
    assert normalized[1, 1] == 0


def test_normalize_leaves_nothing_of_nothing():
    zeros, mask = np.zeros((3, 2), np.float32), np.ones((3, 2), bool)
    normalized, scale = normalize(zeros, mask, zeros)
    np.testing.assert_array_equal(normalized, 0)
    assert scale > 0
    # What a baseline leaves of returns near 1000 by rounding stays small.
    noise = (np.random.default_rng(0).normal(size=(3, 2)) * 1e-4).astype(np.float32)
    normalized, _ = normalize(noise, mask, np.full((3, 2), 1000, np.float32))
    assert np.abs(normalized).max() < 0.05


def test_masked_mean():
    masked_mean = jax.jit(losses.masked_mean)
    values = np.array([[1.0, 2.0], [3.0, np.nan]], np.float32)
    assert masked_mean(values, np.array([[True, True], [True, False]])) == 2
    assert masked_mean(values, np.zeros((2, 2), bool)) == 0


def _features(observation):
    steps = observation.shape[0]
    time = np.broadcast_to(np.arange(steps)[:, None, None] / 100, (*observation.shape[:2], 1))
    clipped = np.clip(observation, -10, 10)
    return np.concatenate(
        [clipped, clipped**2, time, time**2, time**3, np.ones_like(time)], axis=-1
    )


@pytest.mark.parametrize("ridge", [1e-2, 1e-12])
def test_linear_baseline_is_ridge_regression(ridge):
    random = np.random.default_rng(1)
    observation = 6 * random.normal(size=(40, 5, 2))
    assert (np.abs(observation) > 10).any()
    target = random.normal(size=(40, 5))
    mask = np.arange(40)[:, None] < np.array([40, 40, 31, 7, 1])
    with jax.enable_x64(True):
        actual = np.asarray(linear_feature_values(observation, target, mask, ridge=ridge))
    rows = _features(observation)[mask]
    rows = rows / np.sqrt(np.mean(rows**2, axis=0))  # the ridge is relative to a feature
    if ridge < 1e-6:
        coefficients = np.linalg.lstsq(rows, target[mask], rcond=None)[0]
    else:
        gram = rows.T @ rows / len(rows) + ridge * np.eye(rows.shape[1])
        coefficients = np.linalg.solve(gram, rows.T @ target[mask] / len(rows))
    np.testing.assert_allclose(actual[mask], rows @ coefficients, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(actual[~mask], 0)


def test_linear_baseline_reads_unsigned_observations_as_numbers():
    random = np.random.default_rng(2)
    observation = random.integers(0, 10, size=(8, 3, 2))
    arguments = random.normal(size=(8, 3)).astype(np.float32), np.ones((8, 3), bool)
    unsigned, floats = (
        linear_feature_values(observation.astype(dtype), *arguments)
        for dtype in (np.uint8, np.float32)
    )
    np.testing.assert_array_equal(unsigned, floats)


@pytest.mark.parametrize("velocity", [(0.1, 0.1), (0.1, -0.1), (0.1, 0.05)])
def test_linear_baseline_survives_features_that_are_multiples_of_each_other(velocity):
    # A policy that runs away in a straight line: position and time are collinear, and
    # the squares are ten thousand times the ones.
    time = np.arange(100, dtype=np.float32)[:, None, None]
    observation = np.broadcast_to(time * np.array(velocity, np.float32), (100, 20, 2))
    target = -np.cumsum(np.linalg.norm(observation, axis=-1)[::-1], axis=0)[::-1]
    values = linear_feature_values(observation, target, np.ones((100, 20), bool))
    assert np.max(np.abs(values - target)) < 0.05 * np.max(np.abs(target))


def test_linear_baseline_in_single_precision():
    """Far observations beside a feature that never varies, and one that another copies."""
    random = np.random.default_rng(3)
    place = np.cumsum(random.normal(size=(100, 20, 1)), axis=0)
    observation = np.concatenate([place, place, np.full_like(place, 9.0)], axis=-1)
    target = -np.abs(place[..., 0]) - np.arange(100)[:, None]
    mask = np.ones((100, 20), bool)
    actual = linear_feature_values(observation.astype(np.float32), target.astype(np.float32), mask)
    rows = _features(observation)[mask]
    best = rows @ np.linalg.lstsq(rows, target[mask], rcond=None)[0]
    left, least = (np.mean((one - target[mask]) ** 2) for one in (np.asarray(actual)[mask], best))
    assert left < 1.05 * least + 1e-3 * target.var()


def test_linear_baseline_ignores_padding_and_survives_no_data():
    random = np.random.default_rng(2)
    observation = random.normal(size=(6, 2, 3)).astype(np.float32)
    target = random.normal(size=(6, 2)).astype(np.float32)
    mask = np.arange(6)[:, None] < np.array([6, 3])
    values = linear_feature_values(observation, target, mask)
    garbage = linear_feature_values(
        np.where(mask[..., None], observation, np.float32(np.nan)),
        np.where(mask, target, np.float32(np.inf)),
        mask,
    )
    np.testing.assert_array_equal(values, garbage)
    empty = linear_feature_values(observation, target, np.zeros((6, 2), bool))
    np.testing.assert_array_equal(empty, 0)


def test_backward_sums_by_hand():
    backward_sums = jax.jit(losses.backward_sums)
    terms = np.array([[1.0, 2.0], [4.0, 8.0], [16.0, 32.0]])
    weights = np.array([[0.5, 2.0], [0.0, 1.0], [9.0, 9.0]])
    expected = [[3.0, 82.0], [4.0, 40.0], [16.0, 32.0]]
    np.testing.assert_array_equal(backward_sums(terms, weights), expected)
    expected = [[7.0, 14.0], [12.0, 24.0], [16.0, 32.0]]
    np.testing.assert_array_equal(backward_sums(terms, 0.5), expected)
    whole = backward_sums(np.ones(3, np.int32), 0.5)
    np.testing.assert_array_equal(whole, [1.75, 1.5, 1.0])
