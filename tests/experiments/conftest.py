"""The toys of tables are known to configs where a test asks for them."""

from __future__ import annotations

import pytest
import table_toys

from metajax.algorithms import ALGORITHMS
from metajax.tasks import FAMILIES


@pytest.fixture
def toys(monkeypatch) -> None:
    """Registers them for one test."""
    monkeypatch.setitem(ALGORITHMS._entries, "mover", table_toys.Mover)
    monkeypatch.setitem(FAMILIES._entries, "toys", table_toys.Toys)
