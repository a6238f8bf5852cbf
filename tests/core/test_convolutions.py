"""Convolutional torsos: what a block computes, and which algorithms take one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import metajax
from metajax import networks


def test_one_block_by_hand():
    """A filter that passes the image on: what is left are normalisation, rectifier and maxima."""
    images = np.random.default_rng(0).normal(size=(2, 5, 4, 1)).astype(np.float32)
    kernel = np.zeros((3, 3, 1, 1), np.float32)
    kernel[1, 1] = 1
    scale, bias = (np.array([one], np.float32) for one in (2.0, 0.3))
    params = {"kernel_0": kernel, "LayerNorm_0": {"scale": scale, "bias": bias}}
    found = jax.jit(networks.Convolutions((1,)).apply)({"params": params}, images)
    mean, variance = (f(images, axis=(1, 2, 3), keepdims=True) for f in (np.mean, np.var))
    hidden = np.maximum((images - mean) / np.sqrt(variance + 1e-6) * scale + bias, 0)
    pooled = [
        [one[2 * row : 2 * row + 2, 2 * column : 2 * column + 2].max() for row in (0, 1)]
        for one in hidden
        for column in (0, 1)
    ]
    pooled = np.array(pooled).reshape(2, 2, 2).swapaxes(1, 2).reshape(2, 4)
    np.testing.assert_allclose(found, pooled, rtol=1e-4, atol=1e-6)


def test_gradients_on_a_cpu_are_those_of_the_convolution():
    """Of first and second order, in both arguments."""
    images, kernel, weights = (
        jax.random.normal(jax.random.key(seed), shape)
        for seed, shape in enumerate([(2, 4, 5, 3), (3, 3, 3, 2), (2, 4, 5, 2)])
    )

    def second(convolve):
        def first(images, kernel):
            return jax.grad(lambda *x: jnp.sum(weights * convolve(*x) ** 3), (0, 1))(images, kernel)

        def length(images, kernel):
            return sum(jnp.sum(one**2) for one in first(images, kernel))

        return lambda *x: (convolve(*x), first(*x), jax.grad(length, (0, 1))(*x))

    def library(images, kernel):
        return jax.lax.conv_general_dilated(
            images, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    def ours(images, kernel):
        return networks.convolved(images, kernel, (1, 1))

    found, expected = jax.jit(lambda *x: (second(ours)(*x), second(library)(*x)))(images, kernel)
    for one, other in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-2)


def test_four_blocks_of_a_small_image_are_one_pixel():
    network = networks.Convolutions((3, 3, 3, 5))
    shape = jax.eval_shape(network.init_with_output, jax.random.key(0), jnp.zeros((2, 28, 28, 1)))
    assert shape[0].shape == (2, 5)


@pytest.mark.parametrize("name", ["maml", "anil", "prototypical", "joint"])
def test_algorithms_on_images_take_convolutions(name):
    family = metajax.tasks.make("glyphs", size=8)
    algorithm = metajax.make(
        name, family, conv_filters=(3, 2), hidden_sizes=(4,), num_streams=5, num_tasks=2
    )
    state = jax.eval_shape(algorithm.init, jax.random.key(0))
    kernels = [leaf.shape for leaf in jax.tree.leaves(state.theta) if leaf.ndim == 4]
    assert kernels == [(3, 3, 1, 3), (3, 3, 3, 2)]


@pytest.mark.parametrize(
    ("name", "family", "filters", "words"),
    [
        ("maml", "sinusoid", (4,), ["1 blocks do not fit inputs of shape (1,)", "images"]),
        ("rl2", "dark-room", (4,), ["conv_filters: 1 blocks", "or no blocks"]),
        ("cavia", "glyphs", (4,), ["inputs of shape (789,)"]),  # which the context joins
        ("prototypical", "glyphs", (2,) * 5, ["shape (28, 28, 1)", "at least 32 x 32"]),
    ],
)
def test_convolutions_that_do_not_fit_are_named(name, family, filters, words):
    with pytest.raises(metajax.OptionError) as error:
        metajax.make(name, metajax.tasks.make(family), conv_filters=filters)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"relation_filters": (2,)}, "relation_filters: (2,) is not possible; allowed: none with"),
        (
            {"relation_filters": (2,) * 4, "conv_filters": (3,) * 2},
            "relation_filters: 4 blocks do not fit inputs of shape (7, 7, 3)",
        ),
    ],
)
def test_comparisons_of_maps_that_do_not_fit_are_named(options, words):
    with pytest.raises(metajax.OptionError) as error:
        metajax.make("relation", metajax.tasks.make("glyphs"), **options)
    assert words in str(error.value)


def test_relation_networks_compare_maps_of_images():
    """Three blocks, of which two pool, then two that compare, and 8 units."""
    options = {"conv_filters": (3, 2, 4), "relation_filters": (5, 6), "relation_sizes": (8,)}
    algorithm = metajax.make("relation", metajax.tasks.make("glyphs", size=16), **options)
    theta = jax.eval_shape(algorithm.init, jax.random.key(0)).theta
    kernels = [leaf.shape for leaf in jax.tree.leaves(theta) if leaf.ndim > 1]
    found = [(3, 3, 1, 3), (3, 3, 3, 2), (3, 3, 2, 4), (3, 3, 8, 5), (3, 3, 5, 6), (6, 8), (8, 1)]
    assert sorted(kernels) == sorted(found)
