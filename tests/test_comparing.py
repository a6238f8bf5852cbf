"""The page on comparing methods: its program and its table run as they stand."""

from __future__ import annotations

import pathlib
import re

import pytest

from metajax.experiments import table_cells, table_definition

ROOT = pathlib.Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "comparing.md").read_text(encoding="utf-8")


def _block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    return found


@pytest.mark.further
def test_the_program_runs_with_fewer_tasks(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    program = re.sub(r"num_tasks=\d+", "num_tasks=4", _block("python"))
    program = re.sub(r"num_iterations=\d+", "num_iterations=1", program).replace(
        "range(3)", "(0, 1)"
    )
    found: dict = {}
    exec(program, found)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines] == ["RL2:", "MAML:", "episodes", "0", "4", "8"]
    assert [*found["found"]["RL2"]] == [*range(9)]
    assert [*found["found"]["MAML"]] == [0, 4, 8]
    assert (tmp_path / "episodes.png").read_bytes().startswith(b"\x89PNG")


def test_the_table_adds_cells_to_the_shipped_one(tmp_path):
    (tmp_path / "my.toml").write_text(_block("toml"), encoding="utf-8")
    shipped = ROOT / table_definition.DIRECTORY
    table = table_definition.load("my", tmp_path, shipped)
    other = table_definition.load("rl2-bandits", shipped)
    assert isinstance(table, table_definition.Table)
    assert isinstance(other, table_definition.Table)
    before = {one.name for one in table_cells.cells(other, "quick")}
    added = [one for one in table_cells.cells(table, "quick") if one.name not in before]
    assert [one.name for one in added] == [f"wide/n=10,k={arms}" for arms in (5, 10, 50)]
    assert added[0].config.evaluate.num_tasks == 100_000
    assert table.shared == (ROOT / "benchmarks" / "results" / "rl2-bandits.jsonl",)
