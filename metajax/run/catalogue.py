"""What there is to configure: every algorithm, family and section, with defaults.

All of it is read from the options' dataclasses and their docstrings, without
importing jax.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
import textwrap
from typing import Any

from metajax.core.kinds import annotation, words
from metajax.core.options import OptionError, bounds, kebab, suggest
from metajax.run.config import EvaluateOptions, TrainOptions, toml_value

LISTS = ("configs", "tables", "zoo")
"""Names under which ``metajax list`` has what comes with the package as files."""


def catalogue() -> dict[str, list[dict[str, Any]]]:
    """``algorithms``, ``families`` and ``sections``: name, doc and options of each.

    An option has ``name``, ``type``, ``bounds``, ``default`` (TOML) and ``doc``; those
    that only Python can set are left out.
    """
    from metajax.algorithms import ALGORITHMS
    from metajax.tasks import FAMILIES

    def entries(registry: Any) -> list[dict[str, Any]]:
        return [_entry(name, registry.get(name)) for name in registry.names()]

    return {
        "algorithms": entries(ALGORITHMS),
        "families": entries(FAMILIES),
        "sections": [_entry("train", TrainOptions), _entry("evaluate", EvaluateOptions)],
    }


def listed(name: str | None = None) -> dict[str, Any]:
    """The catalogue, or of one name its entry; raises OptionError for a name that is not in it."""
    groups = catalogue()
    if name is None:
        return groups
    known = {one["name"]: one for entries in groups.values() for one in entries}
    if name not in known:
        raise OptionError(
            "NAME",
            f'"{name}" is unknown; {suggest(name, [*known, *LISTS])}'
            f"allowed: {', '.join([*known, *LISTS])}",
        )
    return known[name]


def render(name: str | None = None) -> str:
    """The catalogue as text: one line a name, or everything about one name.

    Raises OptionError for a name that is not in it.
    """
    groups = catalogue()
    if name is None:
        lines = []
        width = 2 + max(len(one["name"]) for entries in groups.values() for one in entries)
        for title, entries in groups.items():
            each = (f"  {one['name']:<{width}}{one['doc']}" for one in entries)
            lines += [f"{title}:", *each, ""]
        lines.append("metajax list NAME shows the options and defaults of one, and")
        return "\n".join([*lines, f"metajax list {'|'.join(LISTS)} what comes with metajax."])
    entry = listed(name)
    lines = [f"{entry['name']}: {entry['doc']}", ""]
    for option in entry["options"]:
        lines.append(f"  {option['name']} = {option['default']}    ({allowed(option)})")
        lines += textwrap.wrap(option["doc"], 92, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return "\n".join(lines)


def allowed(option: dict[str, str]) -> str:
    """What an option of the catalogue may be: ``an integer, at least 1``."""
    return ", ".join(filter(None, (option["type"], option["bounds"])))


def options_of(cls: type) -> list[dict[str, str]]:
    """The options of a dataclass as the catalogue has them."""
    docs = _attribute_docs(cls)
    fields = [f for f in dataclasses.fields(cls) if f.init and not f.metadata.get("api")]
    kinds = {field.name: annotation(cls, field) for field in fields}
    return [
        {
            "name": kebab(field.name),
            "type": words(kinds[field.name]),
            "bounds": " and ".join(map(str, bounds(kinds[field.name]))),
            "default": _default(field),
            "doc": docs.get(field.name, ""),
        }
        for field in fields
    ]


def _entry(name: str, cls: type) -> dict[str, Any]:
    return {"name": name, "doc": _first_line(cls), "options": options_of(cls)}


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        return toml_value(field.default)
    if field.default_factory is not dataclasses.MISSING:
        return toml_value(field.default_factory())
    return "required"


def _first_line(cls: type) -> str:
    """What a class is in one line; where it only says "Options of", what its file is."""
    doc = inspect.getdoc(cls) or ""
    if not doc or doc.startswith("Options of"):
        doc = sys.modules[cls.__module__].__doc__ or doc
    return " ".join(doc.strip().split("\n\n")[0].split())


def _attribute_docs(cls: type) -> dict[str, str]:
    """Texts of the ``Attributes:`` lists of a class and its bases, by field."""
    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        text = inspect.cleandoc(base.__dict__.get("__doc__") or "")
        match = re.search(r"^(?:Attributes|Args):\n((?:(?: +.*)?\n?)*)", text, re.MULTILINE)
        if match:
            body = textwrap.dedent(match.group(1))
            entry = r"^([\w, ]+):((?:.*\n?)(?:^ +.*\n?)*)"
            for names, doc in re.findall(entry, body, re.MULTILINE):
                docs.update({one.strip(): " ".join(doc.split()) for one in names.split(",")})
    return docs
