"""Configs, tables and results that come with the package.

In a checkout, and where it is installed to be edited, they are its ``configs/`` and
``benchmarks/``. A wheel carries copies of both inside of the package.
"""

from __future__ import annotations

import pathlib
import re


def _root(package: pathlib.Path) -> pathlib.Path:
    copies = package / "shipped"
    return copies if copies.is_dir() else package.parent


ROOT = _root(pathlib.Path(__file__).resolve().parents[1])
"""The directory that ``configs/`` and ``benchmarks/`` lie in; nothing is written there."""


def configs() -> dict[str, pathlib.Path]:
    """The files of the configs, by name."""
    return {path.stem: path for path in sorted((ROOT / "configs").glob("*.toml"))}


def config(given: str | pathlib.Path) -> pathlib.Path | None:
    """The file of a config, by its name with or without ``.toml``; None if there is none."""
    return configs().get(str(given).removesuffix(".toml"))


def config_titles() -> dict[str, str]:
    """The first sentence of each config, by name."""
    return {name: _title(path.read_text(encoding="utf-8")) for name, path in configs().items()}


def tables() -> pathlib.Path:
    """The directory of the definitions of tables."""
    return ROOT / "benchmarks" / "tables"


def shadowing(path: pathlib.Path, ours: pathlib.Path) -> str:
    """A line of text where a file of the user's is taken in place of ours, else ""."""
    if not (path.exists() and ours.exists()) or path.samefile(ours):
        return ""
    return f"{path} is taken; metajax has another one of this name, {ours}"


def _title(text: str) -> str:
    """The first sentence of the comment that a file begins with."""
    lines = re.match(r"(?:#.*\n)*", text)
    words = " ".join(lines[0].replace("#", " ").split()) if lines else ""
    return re.split(r"\.(?= [A-Z]|$)", words, maxsplit=1)[0]
