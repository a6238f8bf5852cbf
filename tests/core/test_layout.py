"""Layouts: other platforms, populations, blocks and devices."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import toys

import metajax
from metajax.core.layout import building_for

SCRIPT = """
import jax
import numpy as np
import optax
import toys

import metajax

family = toys.line()
layout = metajax.Layout.build(4, population=4)
assert (layout.population_devices, layout.num_devices) == (4, 2), layout
assert dict(layout.mesh.shape) == {"population": 4, "tasks": 2}


def final(layout):
    def run(row):
        seed, rate = row
        problem = toys.make("maml", family, inner_lr=rate, devices=1).problem
        objective = metajax.outer.post_adaptation(problem)
        rule = metajax.outer.once(metajax.outer.backprop(objective, layout), optax.sgd(0.1))
        mine = metajax.compose(problem, rule)
        return metajax.train(mine, jax.random.key(seed), 2)[0].theta

    return run


rows = np.arange(4), np.array([0.1, 0.2, 0.3, 0.4], np.float32)
spread = jax.jit(layout.over_population(final(layout)))(rows)
alone = metajax.Layout.build(4, num_devices=1)
plain = jax.jit(alone.over_population(final(alone)))(rows)
for one, other in zip(*map(jax.tree.leaves, (spread, plain)), strict=True):
    assert len(one.sharding.device_set) == 8, one.sharding
    np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-6)
print("done")
"""


def test_a_population_on_eight_devices_is_that_on_one():
    """Four members, each with its tasks on two devices."""
    here = Path(__file__).parent
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        "PYTHONPATH": os.pathsep.join([str(here), *sys.path]),
    }
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout == "done\n"


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
