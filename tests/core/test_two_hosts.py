"""Two processes, as on two hosts, against one: the same meta-gradient within rounding."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import toys

OPTIONS = {"num_tasks": 4, "optimizer": "sgd", "learning_rate": 1.0}
TIMEOUT = 240

SCRIPT = """
import json
import sys

import jax

jax.config.update("jax_cpu_collectives_implementation", "gloo")
address, host, options = sys.argv[1:]
jax.distributed.initialize(address, num_processes=2, process_id=int(host))
assert (jax.local_device_count(), jax.device_count()) == (1, 2)

import toys
from metajax.core.layout import Layout

algorithm = toys.make("maml", toys.line(), devices=2, **json.loads(options))
layout = Layout.build(4)
assert layout.num_devices == 2, layout
inputs = layout.replicated((jax.random.key(1), algorithm.init(jax.random.key(0))))
after, info = jax.jit(algorithm.step)(*inputs)
# All of the results lie on every host, so that each can read its own copy.
leaves = [leaf.addressable_data(0) for leaf in jax.tree.leaves((after.theta, info))]
print(json.dumps([leaf.tolist() for leaf in leaves]))
"""


def _started(address: str, host: int) -> subprocess.Popen:
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=1",
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
    }
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, address, str(host), json.dumps(OPTIONS)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _two_hosts() -> list[list]:
    """The new theta and the report, leaf by leaf, as each host has them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    hosts = [_started(address, host) for host in range(2)]
    try:
        outputs = [host.communicate(timeout=TIMEOUT) for host in hosts]
    finally:
        for host in hosts:
            host.kill()
    for host, (_, errors) in zip(hosts, outputs, strict=True):
        assert host.returncode == 0, errors[-3000:]
    return [json.loads(out.splitlines()[-1]) for out, _ in outputs]


@pytest.mark.further
def test_two_hosts_give_the_gradient_of_one():
    first, second = _two_hosts()
    assert first == second
    algorithm = toys.make("maml", toys.line(), devices=1, **OPTIONS)
    state = algorithm.init(jax.random.key(0))
    after, info = jax.jit(algorithm.step)(jax.random.key(1), state)
    assert info["gradient_norm"] > 1e-2
    for one, two in zip(jax.tree.leaves((after.theta, info)), first, strict=True):
        np.testing.assert_allclose(two, one, rtol=2e-5, atol=2e-6)
