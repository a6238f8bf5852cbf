"""Types of options: read from annotations, values converted to them, and their words."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
import math
import reprlib
import sys
import types
import typing
from typing import Annotated, Any, Literal, TypeVar, Union

# Seeds are unsigned 32-bit integers, and no count or size in a program is larger.
_LARGEST = 2**32 - 1


@functools.cache
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


class Mismatch(TypeError):
    """The value is not of the type; the message says what is allowed."""


def convert(value: Any, kind: Any) -> Any:
    """``value`` as the annotation ``kind`` wants it; ``Mismatch`` if it cannot be."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return convert(value, arguments[0])
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
            except Mismatch:
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
                raise Mismatch(f"an integer of at most {_LARGEST} in size")
            try:
                return kind(value)
            except OverflowError:  # an integer that no float is as large as
                raise Mismatch(words(kind)) from None
        if kind is float and isinstance(value, float) and not math.isnan(value):
            return value
    elif isinstance(kind, type) and origin is None:
        if isinstance(value, kind):
            return value
    else:
        return value
    raise Mismatch(words(kind))


def _tuple(value: Any, kind: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    if hasattr(value, "dtype"):
        return value
    if not isinstance(value, list | tuple):
        raise Mismatch(words(kind))
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        arguments = (arguments[0],) * len(value)
    if len(arguments) != len(value):
        raise Mismatch(words(kind))
    try:
        return tuple(convert(item, one) for item, one in zip(value, arguments, strict=True))
    except Mismatch:
        raise Mismatch(words(kind)) from None


def words(kind: Any) -> str:
    """A type as a reader of a config file would say it, without its bounds."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return words(arguments[0])
    if origin is Literal:
        return ", ".join(show(choice) for choice in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(words(choice) for choice in arguments)
    if origin is tuple:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return f"a list, each {words(arguments[0])}"
        each = [words(one) for one in arguments]
        if len(set(each)) == 1:
            return f"a list of {len(each)}, each {each[0]}"
        return f"a list of {len(each)}: {', '.join(each)}"
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


class _Short(reprlib.Repr):
    """``repr`` of values of any size and depth, in so many characters that a message holds them."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxlong, self.maxother = 3, 80, 40, 80

    def repr_int(self, x: int, level: int) -> str:
        try:
            return super().repr_int(x, level)
        except ValueError:  # more digits than Python writes
            return f"an integer of {x.bit_length()} bits"


_SHORT = _Short()


def show(value: Any) -> str:
    """A value as a config file spells it, where it can; what is long is shortened."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        text = value if len(value) <= 80 else f"{value[:60]}...{value[-15:]}"
        return json.dumps(text, ensure_ascii=False)
    return _SHORT.repr(value)


def one_line(text: str) -> str:
    """A message in one line of less than 500 characters, all of them printable."""
    shown = " ".join(text.split())
    if not shown.isprintable():
        shown = "".join(one if one.isprintable() else repr(one)[1:-1] for one in shown)
    return shown if len(shown) < 500 else f"{shown[:490]} ..."
