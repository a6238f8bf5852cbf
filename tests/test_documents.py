"""What the documents say of names, commands and code is so."""

from __future__ import annotations

import argparse
import pathlib
import re
import shlex

import pytest

import metajax
from metajax import cli
from metajax.algorithms import ALGORITHMS
from metajax.experiments import table_definition
from metajax.run import catalogue, config
from metajax.tasks import FAMILIES

ROOT = pathlib.Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
TABLES = ROOT / "benchmarks" / "tables"
NAMES = {*ALGORITHMS.names(), *FAMILIES.names()}
README = PAGES[0].read_text(encoding="utf-8")
USAGE = (ROOT / "docs" / "usage.md").read_text(encoding="utf-8")


def _blocks(page: str, language: str) -> list[str]:
    # All of them in order: the end of one is no beginning of a block without a language.
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    return [text for name, text in blocks if name == language]


def _commands() -> list[str]:
    """Commands of blocks, and those inside of sentences that have more than a name."""
    found = []
    for path in (*PAGES, TABLES / "throughput.toml"):
        text = path.read_text(encoding="utf-8")
        lines = "\n".join(_blocks(text, "")) if path.suffix == ".md" else text
        lines = re.sub(r"\n#\s+--", " --", lines)
        found += re.findall(r"^#?\s*(metajax [a-z-].*?)(?:  .*)?$", lines, re.MULTILINE)
        found += re.findall(r"`(metajax \w+ [^`]+)`", text)
    return sorted({" ".join(one.split()) for one in found})


@pytest.mark.parametrize("command", _commands())
def test_commands_are_understood(command):
    words = shlex.split(command.replace("quick|full", "quick"), comments=True)[1:]
    modules, words = cli._imports(words)
    options: argparse.Namespace = cli._parsed(words)
    ours = getattr(options, "tables", None) is None
    if words[0] == "table" and ours and options.name not in ("NAME", "my.toml", None):
        assert options.name in table_definition.names(TABLES)
    if words[0] == "list" and options.name != "NAME" and not modules:
        assert options.name is None or options.name in {*NAMES, *catalogue.LISTS}
    given = getattr(options, "config", None)
    if given is not None and given.startswith("configs/"):
        config.load(ROOT / given, options.set)


def test_what_is_in_it():
    table = README[README.index("## What is in it") : README.index("## The command line")]
    named = set(re.findall(r"`([a-z0-9-]+)`", table))
    assert named >= NAMES
    for row in ("memory", "meta-DQN", "classical", "task families"):
        (line,) = re.findall(rf"^\| {row} \|(.*)\|$", table, re.MULTILINE)
        assert set(re.findall(r"`([a-z0-9-]+)`", line)) <= NAMES


def test_the_config_is_one():
    (text,) = _blocks(USAGE, "toml")
    parsed = config.parse(text)
    assert parsed.family.options.reward == "dense"
    assert parsed.held_out.options.split == "test"


@pytest.mark.further
def test_code_runs_as_it_stands_with_fewer_tasks():
    """All but what needs a class of the reader's own, or a run that is there."""
    blocks = [one for one in _blocks(USAGE, "python") if "My" not in one and "runs/" not in one]
    assert len(blocks) == 3
    assert _blocks(README, "python") == blocks[:1]
    found: dict = {}
    for block in blocks:
        fewer = re.sub(r"num_tasks=\d+", "num_tasks=2, num_streams=3", block, count=1)
        fewer = re.sub(r"num_tasks=\d+", "num_tasks=2", fewer)
        exec(re.sub(r"num_iterations=\d+", "num_iterations=1", fewer), found)
    assert isinstance(found["curve"], metajax.Evaluation)
    assert found["trial"].returns.shape == (4,)
    assert found["trial"].support.observation.shape == (3, 100, 3, 2)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    """Relative links, and the headings that they name."""
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {_anchor(one) for one in headings}, link


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def test_the_readme_is_one_page():
    assert len(README.splitlines()) <= 150
