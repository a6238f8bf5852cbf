"""Whether a family is at fault for numbers that are not finite."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import pytest

from metajax.core.family import Box, DataFamily, DataSpec, Discrete, Examples, Spec
from metajax.run import diagnosis
from metajax.tasks.auto_reset import time_step, with_auto_reset

NAN = jnp.nan


def _walk(observations=(0.0, 0.0, 0.0), rewards=(0.0, 0.0), bound=1.0):
    """Episodes of two steps: observations at 0, 1 and at the end, rewards of both steps."""
    seen, earned = jnp.array(observations), jnp.array(rewards)

    def reset(key, task):
        return jnp.int32(0), time_step(seen[:1])

    def advance(key, task, state, action):
        after = state + 1
        ends = after == 2
        return after, time_step(seen[after][None], earned[state], terminated=ends)

    spec = Spec("walk", (1,), Box((-bound,), (bound,)), 2)
    return with_auto_reset(spec, lambda key: jnp.zeros(()), reset, advance)


def _discrete():
    family = _walk()
    return family._replace(spec=dataclasses.replace(family.spec, action_space=Discrete(2)))


def _labelled(inputs: float, target: float) -> DataFamily:
    def draw(key, task, number):
        return Examples(jnp.full((number, 1), inputs), jnp.full((number, 1), target))

    return DataFamily(DataSpec("labelled", (1,), 1), lambda key: (), draw)


@pytest.mark.parametrize(
    ("family", "fault"),
    [
        pytest.param(_walk(), None, id="sound"),
        pytest.param(_discrete(), None, id="discrete actions"),
        pytest.param(_walk((0, 0, NAN)), None, id="terminal observation"),
        pytest.param(_walk(bound=jnp.inf), None, id="unbounded actions"),
        pytest.param(_walk((NAN, 0, 0)), "observations", id="first observation"),
        pytest.param(_walk((0, NAN, 0)), "observations", id="later observation"),
        pytest.param(_walk(rewards=(0, -jnp.inf)), "rewards", id="reward"),
        pytest.param(_walk((0, NAN, 0), (NAN, 0)), "rewards", id="reward before observation"),
        pytest.param(_walk((NAN, 0, 0), (NAN, 0)), "observations", id="observation before reward"),
        pytest.param(_labelled(0, 0), None, id="sound examples"),
        pytest.param(_labelled(NAN, 0), "inputs", id="input"),
        pytest.param(_labelled(0, NAN), "targets", id="target"),
    ],
)
def test_a_fault_of_the_family_is_found(family, fault):
    found = diagnosis.fault_of(family)
    acts = "" if isinstance(family, DataFamily) else ", under random actions"
    expected = fault and f"{fault} of {family.spec.name} in 32 of 32 tasks{acts}"
    assert found == expected


def test_the_reason():
    assert diagnosis.reason(_walk()) == "Smaller learning rates or gradient clipping may help"
    assert diagnosis.reason(_walk(rewards=(NAN, NAN))) == (
        "So are rewards of walk in 32 of 32 tasks, under random actions: the family is at fault"
    )
