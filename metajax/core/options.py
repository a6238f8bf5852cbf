"""Options: how a frozen dataclass of settings is built from names and values.

Algorithms, task families and the sections of a config file are frozen
dataclasses. ``build`` makes one from a mapping and is strict: an unknown name,
a value of the wrong type or an impossible size ends in an ``OptionError`` that
names the field, what was given and what is allowed. This module imports
nothing heavy, so that a config error is answered at once.
"""

from __future__ import annotations

import builtins
import dataclasses
import difflib
import inspect
import json
import math
import sys
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeVar, Union

T = TypeVar("T")

API = {"api": True}
"""Metadata of fields that hold Python objects and can be set from Python only."""

# Seeds are unsigned 32-bit integers, and no count or size in a program is larger.
_LARGEST = 2**32 - 1


class OptionError(ValueError):
    """A setting that cannot be used.

    Attributes:
      field: the setting's name, for example ``algorithm.num-tasks``.
      problem: what is wrong with it, in one sentence.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}" if field else problem)
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
      field: the field's name in the dataclass.
      given: its value.
      allowed: what is allowed, in words: ``"an integer of at least 1"``.
    """
    if hasattr(condition, "dtype"):
        try:
            condition = builtins.bool(condition.all())
        except TypeError:
            return
    if not condition:
        raise OptionError(field, f"{_show(given)} is not possible; allowed: {allowed}")


def check_number(
    field: str,
    value: Any,
    *,
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
    below: float | None = None,
) -> None:
    """Raises ``OptionError`` unless the number (or every one of a tuple) is in range.

    ``minimum`` and ``maximum`` are inside the range, ``above`` and ``below`` are
    not. NaN is never in range, infinity may be. ``None`` and traced values pass.
    """
    if value is None:
        return
    bounds = {"at least": minimum, "above": above, "at most": maximum, "below": below}
    given = {words: bound for words, bound in bounds.items() if bound is not None}
    allowed = "a number, " + " and ".join(f"{words} {bound}" for words, bound in given.items())
    tests = {
        "at least": lambda v, b: v >= b,
        "above": lambda v, b: v > b,
        "at most": lambda v, b: v <= b,
        "below": lambda v, b: v < b,
    }
    for item in value if isinstance(value, tuple | list) else (value,):
        if isinstance(item, float):
            check(not math.isnan(item), field, value, allowed)
        for words, bound in given.items():
            check(tests[words](item, bound), field, value, allowed)


def build(cls: type[T], mapping: Mapping[str, Any], where: str = "", *, toml: bool = False) -> T:
    """An instance of a frozen dataclass from names and values.

    Names may be spelled ``num-tasks`` or ``num_tasks``. Integers are taken for
    floats, lists for tuples, and anything with a ``dtype`` (arrays, tracers) for
    a number. Fields with the metadata ``API`` hold Python objects and can be
    set from Python only.

    Args:
      cls: the dataclass. Its ``__post_init__`` may raise ``OptionError`` for
        impossible values (see ``check``), naming the bare field.
      mapping: what to set; the other fields keep their defaults.
      where: the section, put before the field's name in messages.
      toml: whether the values come from a config file: messages then spell
        names ``num-tasks``, and ``api`` fields are refused.

    Returns:
      The instance.

    Raises:
      OptionError: for an unknown or missing name, a wrong type, an impossible
        value.
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
        if settable[name].metadata.get("api"):
            values[name] = value
            continue
        try:
            values[name] = convert(value, annotation(cls, settable[name]))
        except _Mismatch as mismatch:
            raise OptionError(
                named(name), f"{_show(value)} does not fit; allowed: {mismatch}"
            ) from None
    for name, field in fields.items():
        if name not in values and not _has_default(field):
            raise OptionError(named(name), "is missing, and it has no default")
    try:
        return cls(**values)
    except OptionError as error:
        raise OptionError(named(error.field), error.problem) from None


def annotation(cls: type, field: dataclasses.Field[Any]) -> Any:
    """The type of a field; ``Any`` where its names are not importable at run time."""
    if not isinstance(field.type, str):
        return field.type
    for base in cls.__mro__:
        if field.name in inspect.get_annotations(base):
            names = vars(sys.modules[base.__module__])
            try:
                return eval(field.type, names, dict(vars(base)))
            except (NameError, AttributeError, TypeError):
                return Any
    return Any


class _Mismatch(TypeError):
    """The value is not of the type; the message says what is allowed."""


def convert(value: Any, kind: Any) -> Any:
    """``value`` as the annotation ``kind`` wants it; ``_Mismatch`` if it cannot be."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any or isinstance(kind, TypeVar):
        return value
    if origin is Literal:
        if any(value == choice and type(value) is type(choice) for choice in arguments):
            return value
    elif origin in (Union, types.UnionType):
        if value == "none" and type(None) in arguments:
            return None
        for choice in arguments:
            try:
                return convert(value, choice)
            except _Mismatch:
                continue
    elif kind in (None, type(None)):
        if value is None or value == "none":
            return None
    elif origin is tuple:
        return _tuple(value, kind, arguments)
    elif kind in (int, float):
        if hasattr(value, "dtype"):
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            if kind is int and abs(value) > _LARGEST:
                raise _Mismatch(f"an integer of at most {_LARGEST} in size")
            try:
                return kind(value)
            except OverflowError:  # an integer that no float is as large as
                raise _Mismatch(words(kind)) from None
        if kind is float and isinstance(value, float) and not math.isnan(value):
            return value
    elif isinstance(kind, type) and origin is None:
        if isinstance(value, kind):
            return value
    else:
        return value
    raise _Mismatch(words(kind))


def _tuple(value: Any, kind: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    if hasattr(value, "dtype"):
        return value
    if not isinstance(value, list | tuple):
        raise _Mismatch(words(kind))
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        arguments = (arguments[0],) * len(value)
    if len(arguments) != len(value):
        raise _Mismatch(words(kind))
    try:
        return tuple(convert(item, one) for item, one in zip(value, arguments, strict=True))
    except _Mismatch:
        raise _Mismatch(words(kind)) from None


def words(kind: Any) -> str:
    """A type as a reader of a config file would say it."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return ", ".join(_show(choice) for choice in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(words(choice) for choice in arguments)
    if origin is tuple:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return f"a list, each {words(arguments[0])}"
        return f"a list of {len(arguments)}: " + ", ".join(words(one) for one in arguments)
    simple = {
        int: "an integer",
        float: "a number",
        bool: "true or false",
        str: "a string",
        dict: "a table",
        type(None): '"none"',
        Any: "anything",
    }
    return simple.get(kind) or getattr(kind, "__name__", str(kind))


def _unknown(name: str, fields: Any, settable: Any, spell: Any) -> str:
    if name in fields:
        return "takes a Python object and can be set from Python only, not in a config file"
    spelled = [spell(one) for one in settable]
    allowed = f"allowed: {', '.join(spelled)}" if spelled else "there are no options here"
    return f"unknown option; {suggest(spell(name), spelled)}{allowed}"


def _has_default(field: dataclasses.Field[Any]) -> bool:
    missing = dataclasses.MISSING
    return field.default is not missing or field.default_factory is not missing


def _show(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return repr(value)
