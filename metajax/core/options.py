"""Options: how a frozen dataclass of settings is built from names and values.

Algorithms, task families and the sections of a config file are frozen
dataclasses that inherit ``Options``. A field's type says what is allowed, bounds
included::

    num_tasks: Count = 40
    discount: Fraction = 0.99
    size: Annotated[int, AtLeast(2)] = 9

``build`` makes one from a mapping and is strict: an unknown name, a value of the wrong type or one
out of bounds ends in an ``OptionError`` that names the field, what was given and what is allowed.
This module imports nothing heavy, so that a config error is answered at once.
"""

from __future__ import annotations

import builtins
import dataclasses
import difflib
import math
import operator
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, ClassVar, TypeVar

from metajax.core.kinds import Mismatch, annotation, convert, one_line, show

T = TypeVar("T")

API = {"api": True}
"""Metadata of fields that hold Python objects and can be set from Python only."""


class OptionError(ValueError):
    """A setting that cannot be used; as a string one line of less than 500 characters.

    Attributes:
      field: the setting's name, for example ``algorithm.num-tasks``.
      problem: what is wrong with it, in one sentence.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(one_line(f"{field}: {problem}" if field else problem))
        self.field = field
        self.problem = problem


def kebab(name: str) -> str:
    """``num_tasks`` as config files spell it: ``num-tasks``."""
    return name.replace("_", "-")


def suggest(given: str, allowed: Iterable[str]) -> str:
    """``"did you mean X? "`` where a name of ``allowed`` is close, else ``""``."""
    close = difflib.get_close_matches(given, list(allowed), n=1, cutoff=0.6)
    return f"did you mean {close[0]}? " if close else ""


def check(condition: Any, field: str, given: Any, allowed: str) -> None:
    """Raises ``OptionError`` unless ``condition`` holds; for ``__post_init__``.

    Args:
      condition: a bool, or an array of bools that must all hold. A traced value
        has no truth yet and passes, so that options may be swept with ``vmap``.
      field, given: the field's name in the dataclass, and its value.
      allowed: what is allowed, in words: ``"an integer of at least 1"``.
    """
    if hasattr(condition, "dtype"):
        try:
            condition = builtins.bool(condition.all())
        except TypeError:
            return
    if not condition:
        raise OptionError(field, f"{show(given)} is not possible; allowed: {allowed}")


@dataclasses.dataclass(frozen=True)
class Bound:
    """A limit on every number of an option, inside ``Annotated``."""

    limit: float

    words: ClassVar[str]
    holds: ClassVar[Callable[[Any, Any], Any]]

    def __str__(self) -> str:
        return f"{self.words} {self.limit}"


class AtLeast(Bound):
    words, holds = "at least", operator.ge


class Above(Bound):
    words, holds = "above", operator.gt


class AtMost(Bound):
    words, holds = "at most", operator.le


class Below(Bound):
    words, holds = "below", operator.lt


@dataclasses.dataclass(frozen=True)
class OrObject:
    """Python objects that an option takes beside the values of a config file, in ``Annotated``.

    Attributes:
      words: their kind, for messages: ``"an optax.GradientTransformation"``.
      fits: whether a value is one.
    """

    words: str
    fits: Callable[[Any], bool]


Count = Annotated[int, AtLeast(1)]
Positive = Annotated[float, Above(0)]
NonNegative = Annotated[float, AtLeast(0)]
Fraction = Annotated[float, AtLeast(0), AtMost(1)]


def bounds(kind: Any) -> tuple[Bound, ...]:
    """The bounds inside a type, each once: of ``Count | None`` that of ``Count``."""
    if isinstance(kind, Bound):
        return (kind,)
    inside = (one for argument in typing.get_args(kind) for one in bounds(argument))
    return tuple(dict.fromkeys(inside))


def objects(kind: Any) -> tuple[OrObject, ...]:
    """The Python objects that an option takes beside values of its type."""
    metadata = kind.__metadata__ if typing.get_origin(kind) is Annotated else ()
    return tuple(one for one in metadata if isinstance(one, OrObject))


def check_number(field: str, value: Any, *bounds: Bound) -> None:
    """Raises ``OptionError`` unless the number (or every one of a tuple) is in bounds.

    NaN never is, infinity may be. ``None`` and traced values pass.
    """
    if value is None or not bounds:
        return
    allowed = "a number, " + " and ".join(map(str, bounds))
    for item in value if isinstance(value, tuple | list) else (value,):
        if isinstance(item, float):
            check(not math.isnan(item), field, value, allowed)
        for bound in bounds:
            check(bound.holds(item, bound.limit), field, value, allowed)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Base of dataclasses of options, which checks the bounds in the types of their fields.

    A subclass that changes a default says the type again, with its bounds. What depends on
    several fields is checked in the ``__post_init__`` of a subclass, after this one's.
    """

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            kind, value = annotation(type(self), field), getattr(self, field.name)
            if not any(one.fits(value) for one in objects(kind)):
                check_number(field.name, value, *bounds(kind))


def build(cls: type[T], mapping: Mapping[str, Any], where: str = "", *, toml: bool = False) -> T:
    """An instance of a frozen dataclass from names and values.

    Names may be spelled ``num-tasks`` or ``num_tasks``. Integers are taken for floats, lists for
    tuples, and anything with a ``dtype`` (arrays, tracers) for a number. Fields with the metadata
    ``API`` hold Python objects and can be set from Python only; so do those of an ``OrObject``,
    beside what a file says.

    Args:
      cls: the dataclass, an ``Options`` if its types have bounds. Its ``__post_init__`` may raise
        ``OptionError`` for impossible values (see ``check``), naming the bare field.
      mapping: what to set; the other fields keep their defaults.
      where: the section, put before the field's name in messages.
      toml: whether the values come from a config file: messages then spell
        names ``num-tasks``, and ``api`` fields are refused.

    Raises:
      OptionError: for an unknown or missing name, a wrong type, an impossible value.
    """
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}  # type: ignore[arg-type]
    spell = kebab if toml else str

    def named(name: str) -> str:
        return f"{where}.{spell(name)}" if where else spell(name)

    settable = {
        name: field for name, field in fields.items() if not (toml and field.metadata.get("api"))
    }
    values: dict[str, Any] = {}
    for key, value in mapping.items():
        name = str(key).replace("-", "_")
        if name not in settable:
            raise OptionError(named(str(key)), _unknown(name, fields, settable, spell))
        if name in values:
            raise OptionError(named(name), "set twice, with - and with _; keep one")
        kind = annotation(cls, settable[name])
        others = () if toml else objects(kind)
        if settable[name].metadata.get("api") or any(one.fits(value) for one in others):
            values[name] = value
            continue
        try:
            values[name] = convert(value, kind)
        except Mismatch as mismatch:
            allowed = " or ".join([str(mismatch), *(one.words for one in others)])
            raise OptionError(
                named(name), f"{show(value)} does not fit; allowed: {allowed}"
            ) from None
    missing = dataclasses.MISSING
    for name, field in fields.items():
        if name not in values and field.default is field.default_factory is missing:
            raise OptionError(named(name), "is missing, and it has no default")
    try:
        return cls(**values)
    except OptionError as error:
        raise OptionError(named(error.field), error.problem) from None


def _unknown(name: str, fields: Any, settable: Any, spell: Any) -> str:
    if name in fields:
        return "takes a Python object and can be set from Python only, not in a config file"
    spelled = [spell(one) for one in settable]
    allowed = f"allowed: {', '.join(spelled)}" if spelled else "there are no options here"
    return f"unknown option; {suggest(spell(name), spelled)}{allowed}"
