"""Where results come from."""

from __future__ import annotations

import json
import re

import metajax
from metajax.run import machine


def test_environment_says_what_a_result_depends_on():
    environment = machine.environment()
    assert environment["backend"] == "cpu"
    assert environment["num_cores"] >= 1
    assert environment["num_devices"] >= 1
    assert {"python", "jax", "jaxlib", "flax", "optax", "gymnax", "metajax"} <= set(
        environment["versions"]
    )
    assert environment["versions"]["metajax"] == metajax.__version__
    revision, dirty = environment["revision"], environment["dirty"]
    if revision is None:
        assert dirty is None
    else:
        assert re.fullmatch(r"[0-9a-f]{40}", revision)
        assert isinstance(dirty, bool)
    json.dumps(environment, allow_nan=False)
