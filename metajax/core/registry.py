"""Registries: names of algorithms and task families, imported when asked for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from metajax.core.options import OptionError, suggest


class Registry:
    """Maps names to classes without importing them before they are used.

    Args:
      kind: what the names stand for (``"algorithm"``); messages use it.
      entries: name to ``"package.module:Class"``, or to the class itself.
    """

    def __init__(self, kind: str, entries: Mapping[str, str | type]) -> None:
        self.kind = kind
        self._entries: dict[str, str | type] = dict(entries)

    def names(self) -> tuple[str, ...]:
        """All names, sorted."""
        return tuple(sorted(self._entries))

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def get(self, name: str) -> Any:
        """The class of a name; imports its module.

        Raises:
          OptionError: for an unknown name, with the nearest known one.
        """
        if name not in self._entries:
            raise OptionError(
                f"{self.kind}.name",
                f'"{name}" is unknown; {suggest(str(name), self.names())}'
                f"allowed: {', '.join(self.names())}",
            )
        entry = self._entries[name]
        if isinstance(entry, str):
            module, _, attribute = entry.partition(":")
            entry = self._entries[name] = getattr(importlib.import_module(module), attribute)
        return entry

    def register(self, name: str, entry: str | type) -> None:
        """Adds a name, so that configs and ``make`` find a user's own class.

        Raises:
          OptionError: if the name is taken.
        """
        if name in self._entries:
            raise OptionError(f"{self.kind}.name", f'"{name}" is already registered')
        self._entries[name] = entry
