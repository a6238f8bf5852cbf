"""A config of the fake algorithm in an empty working directory, and the command."""

from __future__ import annotations

import importlib
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable
from typing import NamedTuple

import fake_algorithm as fake
import pytest

import metajax
import metajax.experiments.seeds  # before the fakes take the place of its imports
import metajax.experiments.table_command
import metajax.run.report
from metajax.algorithms import ALGORITHMS
from metajax.tasks import FAMILIES

HERE = pathlib.Path(__file__).parent
ROOT = pathlib.Path(metajax.__file__).parents[1]


@pytest.fixture(autouse=True)
def registered(monkeypatch) -> None:
    """The fakes are known to configs here, and to no other test of the same process."""
    monkeypatch.setitem(ALGORITHMS._entries, "fake", fake.Fake)
    monkeypatch.setitem(FAMILIES._entries, "fake", fake.FakeFamily)


class Result(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


@pytest.fixture
def workplace(tmp_path, monkeypatch) -> pathlib.Path:
    """The working directory, with ``fake.toml``; the environment is restored after."""
    monkeypatch.setattr(os, "environ", os.environ.copy())
    for name, module in fake.report().items():
        package, _, attribute = name.rpartition(".")
        monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.setattr(importlib.import_module(package), attribute, module, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fake.toml").write_text(fake.CONFIG)
    return tmp_path


@pytest.fixture
def command(workplace, capsys) -> Callable[..., Result]:
    """``metajax`` in this process."""
    from metajax.cli import main

    def run(*arguments: object) -> Result:
        capsys.readouterr()
        code = main([str(one) for one in arguments])
        return Result(code, *capsys.readouterr())

    return run


@pytest.fixture
def process(workplace) -> Callable[..., subprocess.Popen[str]]:
    """``metajax`` with the fakes, in a process of its own."""

    def start(*arguments: object, **environment: str) -> subprocess.Popen[str]:
        path = os.pathsep.join([str(ROOT), str(HERE)])
        return subprocess.Popen(
            [sys.executable, str(HERE / "fake_algorithm.py"), *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": path, "METAJAX_CACHE": "off", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=workplace,
        )

    return start
