"""Glyphs: their splits, and how they are drawn."""

import jax
import numpy as np
import pytest

from metajax import tasks
from metajax.core.options import OptionError
from metajax.tasks.supervised import glyphs


def test_splits_share_no_class_and_tasks_repeat_none():
    seen = {}
    for split, (first, number) in glyphs.SPLITS.items():
        family = tasks.make("glyphs", split=split, num_classes=20)
        keys = jax.random.split(jax.random.key(0), 100)
        drawn = np.asarray(jax.jit(jax.vmap(family.sample))(keys))
        assert all(len(set(task)) == 20 for task in drawn)
        assert first <= drawn.min() < first + 0.1 * number
        assert first + 0.9 * number < drawn.max() < first + number
        seen[split] = set(drawn.ravel())
    assert not seen["train"] & seen["test"] | seen["train"] & seen["validation"]
    assert not seen["validation"] & seen["test"]
    with pytest.raises(OptionError, match="501 is not possible; allowed: from 2 to 500"):
        tasks.make("glyphs", split="test", num_classes=501)


def test_examples_of_a_class_differ_as_they_should():
    @jax.jit
    def drawn(seed, variation):
        classes = jax.vmap(lambda number: glyphs.strokes(seed, number))(np.arange(3))
        curves, ink = jax.tree.map(lambda leaf: leaf[np.arange(6) % 3], classes)
        return glyphs.written(jax.random.key(0), curves, ink, 28, variation)

    alike, varied, other = jax.device_get([drawn(0, 0.0), drawn(0, 1.0), drawn(1, 0.0)])
    assert 0 <= varied.min() < 0.01
    assert 0.6 < varied.max() <= 1
    np.testing.assert_array_equal(alike[:3], alike[3:])
    assert np.abs(varied[:3] - varied[3:]).max(axis=(1, 2, 3)).min() > 0.3
    for images in (alike[:3], [*alike[:1], *other[:1]]):
        assert np.abs(images[0] - images[1]).max() > 0.3


def test_ink_falls_with_the_distance_from_the_curves():
    curves = np.array([[[0.2, 0.3], [0.5, 0.9], [0.8, 0.3]], [[0.1, 0.1], [0.1, 0.5], [0.3, 0.9]]])
    ink = np.array([1.0, 0.0])
    write = jax.jit(glyphs.written, static_argnums=3)
    image = write(jax.random.key(0), curves[None], ink[None], 12, 0.0)[0, :, :, 0]
    expected = np.zeros((12, 12))
    for t in np.linspace(0, 1, glyphs.NUM_POINTS):
        start, middle, end = curves[0]
        right, down = (1 - t) ** 2 * start + 2 * t * (1 - t) * middle + t**2 * end
        for row in range(12):
            for column in range(12):
                square = ((column + 0.5) / 12 - right) ** 2 + ((row + 0.5) / 12 - down) ** 2
                expected[row, column] += np.exp(-square / (2 * glyphs.WIDTH**2))
    np.testing.assert_allclose(image, 1 - np.exp(-glyphs.DENSITY * expected), atol=1e-5)
