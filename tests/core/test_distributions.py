"""Action distributions against scipy and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

import metajax
from metajax import networks
from metajax.networks import categorical, diagonal_gaussian

RANDOM = np.random.default_rng(0)
OLD, NEW = RANDOM.normal(size=(2, 4, 3, 5)).astype(np.float32)


def test_categorical():
    distribution = categorical(5)
    action = RANDOM.integers(5, size=(4, 3))
    old, new = scipy.special.softmax(OLD, axis=-1), scipy.special.softmax(NEW, axis=-1)
    np.testing.assert_allclose(
        jax.jit(distribution.log_prob)(OLD, action),
        np.log(np.take_along_axis(old, action[..., None], -1)[..., 0]),
        rtol=1e-5,
    )
    np.testing.assert_allclose(
        jax.jit(distribution.entropy)(OLD), scipy.stats.entropy(old, axis=-1), rtol=1e-5
    )
    np.testing.assert_allclose(
        jax.jit(distribution.divergence)(OLD, NEW),
        scipy.stats.entropy(old, new, axis=-1),
        rtol=1e-4,
    )
    np.testing.assert_array_equal(jax.jit(distribution.mode)(OLD), OLD.argmax(axis=-1))


def test_gaussian():
    distribution = diagonal_gaussian(5)
    action = RANDOM.normal(size=(4, 3, 5)).astype(np.float32)
    log_std = (0.3 * NEW).astype(np.float32)
    parameters = (OLD, log_std)
    np.testing.assert_allclose(
        jax.jit(distribution.log_prob)(parameters, action),
        scipy.stats.norm.logpdf(action, OLD, np.exp(log_std)).sum(axis=-1),
        rtol=1e-5,
    )
    np.testing.assert_allclose(
        jax.jit(distribution.entropy)(parameters),
        scipy.stats.norm.entropy(OLD, np.exp(log_std)).sum(axis=-1),
        rtol=1e-5,
    )
    np.testing.assert_array_equal(distribution.mode(parameters), OLD)
    # KL of Gaussians: log s2/s1 + (s1^2 + (m1 - m2)^2) / (2 s2^2) - 1/2.
    other_mean, other_log_std = OLD[::-1], log_std[::-1]
    s1, s2 = np.exp(log_std), np.exp(other_log_std)
    expected = np.log(s2 / s1) + (s1**2 + (OLD - other_mean) ** 2) / (2 * s2**2) - 0.5
    divergence = jax.jit(distribution.divergence)
    np.testing.assert_allclose(
        divergence(parameters, (other_mean, other_log_std)), expected.sum(axis=-1), rtol=1e-4
    )
    np.testing.assert_allclose(divergence(parameters, parameters), 0, atol=1e-6)


def test_samples_follow_the_distribution():
    keys = jax.random.split(jax.random.key(0), 20_000)
    discrete = categorical(3)
    logits = jnp.array([0.0, 1.0, -1.0])
    sample = jax.jit(jax.vmap(lambda key: discrete.sample(discrete.noise(key), logits[None])[0]))
    counts = np.bincount(sample(keys), minlength=3)
    expected = len(keys) * np.asarray(jax.nn.softmax(logits))
    assert scipy.stats.chisquare(counts, expected).pvalue > 1e-3

    gaussian = diagonal_gaussian(2)
    parameters = (jnp.array([1.0, -2.0]), jnp.log(jnp.array([0.5, 2.0])))
    draws = jax.jit(jax.vmap(lambda key: gaussian.sample(gaussian.noise(key), parameters)))(keys)
    for axis, (mean, std) in enumerate([(1.0, 0.5), (-2.0, 2.0)]):
        reference = scipy.stats.norm(mean, std)
        assert scipy.stats.kstest(np.asarray(draws[:, axis]), reference.cdf).pvalue > 1e-3


@pytest.mark.parametrize("name", ["initial_std", "min_std"])
def test_standard_deviations_may_be_swept(name):
    spec = metajax.tasks.make("point-navigation").spec

    def spread(std):
        policy = networks.policy(spec, networks.MLP((2,)), **{name: std})
        weights = policy.init(jax.random.key(0))
        return policy.apply(weights, jnp.zeros((1, *spec.observation_shape)))[1]

    swept = jax.device_get(jax.jit(jax.vmap(spread))(np.array([0.5, 2.0])))
    np.testing.assert_allclose(swept[1], jax.jit(lambda: spread(2.0))(), rtol=1e-6)
    assert swept[1, 0, 0] == pytest.approx(np.log(2.0))
