"""Options from names and values, and registries."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
import pytest

from metajax.core.kinds import words
from metajax.core.options import (
    Count,
    Fraction,
    OptionError,
    Options,
    Positive,
    bounds,
    build,
    check,
)
from metajax.core.registry import Registry


@dataclasses.dataclass(frozen=True, kw_only=True)
class Example(Options):
    num_tasks: Count = 4
    rate: Positive | tuple[Positive, ...] = 0.1
    kind: Literal["a", "b"] = "a"
    clip: float | None = None
    label: str | None = None
    pair: tuple[int, str] = (1, "x")
    flag: bool = False
    network: Any = dataclasses.field(default=None, metadata={"api": True})


@dataclasses.dataclass(frozen=True)
class Required:
    name: str


@pytest.mark.parametrize(
    ("given", "name", "expected"),
    [
        ({"num-tasks": 2}, "num_tasks", 2),
        ({"num_tasks": 2}, "num_tasks", 2),
        ({"rate": 1}, "rate", 1.0),
        ({"rate": [1, 0.5]}, "rate", (1.0, 0.5)),
        ({"clip": "none"}, "clip", None),
        ({"label": "none"}, "label", None),
        ({"label": "some"}, "label", "some"),
        ({"pair": [2, "y"]}, "pair", (2, "y")),
        ({"flag": True}, "flag", True),
        ({"rate": math.inf}, "rate", math.inf),
        ({"rate": 16_000_000_000}, "rate", 16e9),
    ],
)
def test_value_is_taken(given, name, expected):
    value = getattr(build(Example, given), name)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"num-task": 2}, "here.num-task: unknown option; did you mean num-tasks? allowed: "),
        ({"zzz": 2}, "here.zzz: unknown option; allowed: num-tasks, rate"),
        ({"num-tasks": 2.5}, "here.num-tasks: 2.5 does not fit; allowed: an integer"),
        ({"num-tasks": 2**32}, "here.num-tasks: 4294967296 does not fit; allowed: an integer of"),
        ({"rate": 10**400}, "here.rate: 1"),
        ({"num-tasks": True}, "here.num-tasks: true does not fit; allowed: an integer"),
        ({"num-tasks": 0}, "here.num-tasks: 0 is not possible; allowed: a number, at least 1"),
        ({"rate": [0.1, 0]}, "here.rate: (0.1, 0.0) is not possible"),
        ({"rate": math.nan}, "here.rate: nan does not fit"),
        ({"rate": ["x"]}, "here.rate: ['x'] does not fit; allowed: a number or a list"),
        ({"kind": "c"}, 'here.kind: "c" does not fit; allowed: "a", "b"'),
        ({"pair": [2]}, "here.pair: [2] does not fit; allowed: a list of 2"),
        ({"flag": 1}, "here.flag: 1 does not fit; allowed: true or false"),
        ({"network": 1}, "here.network: takes a Python object"),
        ({"num-tasks": 1, "num_tasks": 1}, "here.num-tasks: set twice"),
    ],
)
def test_value_is_refused(given, message):
    with pytest.raises(OptionError) as error:
        build(Example, given, "here", toml=True)
    assert str(error.value).startswith(message)


def test_python_names_are_spelled_as_in_python():
    with pytest.raises(ValueError, match=r"^maml\.num_tasks: 0 is not possible"):
        build(Example, {"num_tasks": 0}, "maml")
    with pytest.raises(ValueError, match="did you mean num_tasks"):
        build(Example, {"num_task": 1}, "maml")


def test_missing_value_is_named():
    with pytest.raises(OptionError, match=r"^x\.name: is missing"):
        build(Required, {}, "x")


def test_python_object_is_taken_from_python():
    thing = object()
    assert build(Example, {"network": thing}).network is thing


def test_arrays_and_tracers_are_numbers():
    assert build(Example, {"rate": jnp.float32(0.5)}).rate == 0.5
    rates: Any = jax.vmap(lambda rate: build(Example, {"rate": rate}).rate)(jnp.arange(3.0))
    assert rates.tolist() == [0, 1, 2]
    with pytest.raises(OptionError, match="rate"):
        build(Example, {"rate": jnp.float32(-1)})


def test_check_takes_arrays():
    check(jnp.array([True, True]), "x", 1, "anything")
    with pytest.raises(OptionError, match="x: 1 is not possible; allowed: nothing"):
        check(jnp.array([True, False]), "x", 1, "nothing")


def test_types_in_words():
    assert words(int | None) == 'an integer or "none"'
    assert words(tuple[float, ...]) == "a list, each a number"
    assert words(tuple[float, float]) == "a list of 2, each a number"
    assert words(tuple[int, str]) == "a list of 2: an integer, a string"
    assert words(Count | None) == words(int | None)


def test_bounds_of_a_type():
    assert bounds(int | None) == ()
    assert [str(one) for one in bounds(Fraction)] == ["at least 0", "at most 1"]
    assert bounds(Fraction | tuple[Fraction, ...] | None) == bounds(Fraction)


def test_registry_imports_on_demand_and_suggests():
    registry = Registry("thing", {"decimal": "decimal:Decimal", "own": Example})
    assert registry.names() == ("decimal", "own")
    assert registry.get("decimal").__name__ == "Decimal"
    assert registry.get("own") is Example
    with pytest.raises(
        OptionError, match=r'^thing\.name: "decimals" is unknown; did you mean decim'
    ):
        registry.get("decimals")
    registry.register("new", Example)
    assert "new" in registry
    with pytest.raises(OptionError, match="already registered"):
        registry.register("new", Example)
