"""Layouts: other platforms, blocks and devices."""

import jax
import numpy as np
import pytest
import toys

import metajax
from metajax.core.layout import building_for


@pytest.mark.parametrize(("backend", "platform"), [("gpu", "cuda"), ("tpu", "tpu")])
def test_a_step_lowers_for_an_accelerator(backend, platform):
    """With the blocks that it would have there: one gradient of all tasks, no loop over them."""
    with building_for(backend):
        algorithm = toys.make("maml", toys.line(), devices=1)
        assert metajax.Layout.build(512, num_devices=1).gradient_microbatch == 256
        shapes = jax.eval_shape(algorithm.init, jax.random.key(0))
        exported = jax.export.export(jax.jit(algorithm.step), platforms=[platform])(
            jax.random.key(0), shapes
        )
    assert exported.platforms == (platform,)


def test_blocks_divide_what_they_are_blocks_of():
    layout = metajax.Layout.build(40, population=3)
    assert layout.population_devices == 1, "two devices cannot share three members"
    assert np.prod(list(layout.mesh.shape.values())) == jax.device_count()
