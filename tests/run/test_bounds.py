"""Bounds of options: every option of every registered name keeps to the bounds of its type."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metajax.algorithms import ALGORITHMS
from metajax.core.kinds import annotation, words
from metajax.core.options import Above, AtLeast, Below, Bound, OptionError, Options, bounds, build
from metajax.run.config import EvaluateOptions, TrainOptions
from metajax.tasks import FAMILIES

CLASSES = [
    *(registry.get(name) for registry in (ALGORITHMS, FAMILIES) for name in registry.names()),
    TrainOptions,
    EvaluateOptions,
]
FREE = {"prior_mean", "signal", "step_reward"}
"""Options of which any number makes sense."""


class Case(NamedTuple):
    """A bound of an option: by the type in the class itself, or in one that it inherits from."""

    cls: Any
    field: dataclasses.Field[Any]
    bound: Bound
    inherited: bool

    @property
    def kind(self) -> Any:
        return annotation(self.cls, self.field)

    @property
    def sign(self) -> int:
        """The direction that leads out of bounds."""
        return -1 if isinstance(self.bound, AtLeast | Above) else 1

    @property
    def is_open(self) -> bool:
        return isinstance(self.bound, Above | Below)

    def value(self, number: float) -> Any:
        """The number as the option takes it, in a list where it is one."""
        number = int(number) if "integer" in words(self.kind) else number
        if "a list of 2" in words(self.kind):
            return (number, number)
        return (number,) if words(self.kind).startswith("a list") else number


def _fields(cls: Any) -> list[dataclasses.Field[Any]]:
    return [field for field in dataclasses.fields(cls) if not field.metadata.get("api")]


CASES = [
    Case(cls, field, bound, base is not cls)
    for cls in CLASSES
    for base in cls.__mro__
    if dataclasses.is_dataclass(base)
    for field in _fields(base)
    if field.name in {one.name for one in _fields(cls)}  # else a subclass has fixed it
    for bound in bounds(annotation(base, field))
]


def test_every_class_has_types_that_are_known_and_every_number_has_a_bound():
    for cls in CLASSES:
        assert issubclass(cls, Options)
        for field in _fields(cls):
            kind = annotation(cls, field)
            assert kind is not Any, (cls, field.name)
            is_number = "an integer" in words(kind) or "a number" in words(kind)
            assert not is_number or bounds(kind) or field.name in FREE, (cls, field.name)


@given(st.sampled_from(CASES), st.integers(0, 1000), st.sampled_from([1.0, 1e-3, 1e-9]))
def test_a_number_out_of_bounds_is_refused(case, steps, size):
    """And by a subclass that says the type again."""
    if math.isinf(case.bound.limit):
        number = case.bound.limit
    else:
        size = 1 if "integer" in words(case.kind) else size
        number = case.bound.limit + case.sign * size * (steps + (not case.is_open))
    name = case.field.name
    with pytest.raises(OptionError) as built:
        build(case.cls, {name: case.value(number)}, "here")
    with pytest.raises(OptionError) as made:
        case.cls(**{name: case.value(number)})
    assert (built.value.field, made.value.field) == (f"here.{name}", name)
    assert built.value.problem == made.value.problem
    assert "is not possible; allowed: a number, " in made.value.problem
    assert case.inherited or str(case.bound) in made.value.problem


@given(st.sampled_from(CASES))
def test_a_number_just_in_bounds_is_taken(case):
    """Unless it does not fit other options, which the message then says in other words."""
    limits = bounds(case.kind)
    number = case.bound.limit
    if case.is_open:
        number = math.nextafter(number, -case.sign * math.inf)
    if not all(limit.holds(number, limit.limit) for limit in limits):
        return  # a subclass has narrower bounds
    try:
        taken = getattr(build(case.cls, {case.field.name: case.value(number)}), case.field.name)
    except OptionError as error:
        words_of_bounds = "a number, " + " and ".join(map(str, limits))
        taken = None if error.problem.endswith(words_of_bounds) else case.value(number)
    assert taken == case.value(number)
