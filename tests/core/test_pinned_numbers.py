"""Numbers of two meta-iterations and a meta-test of every algorithm, as they were.

A change of code that is to change no result changes none of them. Where results are to
change, ``pytest tests/core/test_pinned_numbers.py --pin`` writes ``pinned_numbers.json``
anew, and the difference says which algorithms the change reached.
"""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import protocol
import toys

import metajax

PINNED = Path(__file__).parent / "pinned_numbers.json"
OUTER_RULES = tuple(rule for rule in toys.OUTER_RULES if rule not in ("backprop", "displacement"))


def _numbers(name: str) -> dict[str, Any]:
    run = protocol.run(name)
    numbers: dict[str, Any] = {}
    if name not in OUTER_RULES:  # which change nothing about a meta-test
        numbers["meta_test"] = run.meta_test.returns
    if jax.tree.leaves(run.theta):
        states, history = run.training
        leaves = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(states[2].theta)]
        numbers["theta"] = sum(leaf.sum() for leaf in leaves), sum((x**2).sum() for x in leaves)
        numbers |= {kind: history[kind] for kind in ("returns", "loss") if kind in history}
    return jax.tree.map(lambda number: float(f"{number:.8g}"), _lists(numbers))


def _lists(numbers: dict[str, Any]) -> dict[str, Any]:
    return {name: np.asarray(value, np.float64).tolist() for name, value in numbers.items()}


@protocol.every(*metajax.list_algorithms(), *OUTER_RULES)
def test_the_numbers_are_as_they_were(name, pytestconfig):
    pinned = json.loads(PINNED.read_text()) if PINNED.exists() else {}
    numbers = _numbers(name)
    if pytestconfig.getoption("pin"):
        pinned[name] = numbers
        lines = (f"{json.dumps(one)}: {json.dumps(pinned[one])}" for one in sorted(pinned))
        PINNED.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    assert numbers.keys() == pinned[name].keys()
    for kind, values in pinned[name].items():
        np.testing.assert_allclose(numbers[kind], values, rtol=1e-4, atol=1e-6, err_msg=kind)


def test_every_pinned_name_is_still_there():
    assert json.loads(PINNED.read_text()).keys() == {*metajax.list_algorithms(), *OUTER_RULES}
