"""Tables that extend another: what they add, what they take over, and what is not run again."""

from __future__ import annotations

import json
import os

import pytest
import table_toys

from metajax.cli import main
from metajax.core.options import OptionError
from metajax.experiments import table_cells
from metajax.experiments.table_definition import Table, load
from metajax.run import records

pytestmark = pytest.mark.usefixtures("toys")

MINE = """
extends = "toys"

[[rows]]
name = "mine"
label = "my own"
algorithm = { name = "mover", start = 0.2 }
train = { num-iterations = 2 }
"""
COLUMN = '[[columns]]\nname = "four"\nfamily = { num-episodes = 4 }\n'


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The working directory, with the toys' table in its place and one of one's own beside."""
    monkeypatch.setattr(os, "environ", os.environ.copy())
    monkeypatch.chdir(tmp_path)
    table_toys.write(tmp_path)
    (tmp_path / "mine.toml").write_text(MINE)
    return tmp_path


def _load(project, text=MINE, name="mine"):
    (project / f"{name}.toml").write_text(text)
    table = load(name, project / "benchmarks" / "tables", own=project)
    assert isinstance(table, Table)
    return table


def test_rows_stand_behind_those_of_the_other_and_take_its_settings(project):
    table = _load(project)
    assert (table.title, table.metric) == ("Toys", "total")
    names = {one.name: one for one in table_cells.cells(table, "quick")}
    assert [*names] == ["optimum/two", "trained/two", "still/two", "mine/two"]
    assert names["mine/two"].config.evaluate.num_tasks == 6
    full = [(one.name, one.seed) for one in table_cells.cells(table, "full")]
    assert full[-4:] == [("mine/two", 0), ("mine/two", 1), ("mine/three", 0), ("mine/three", 1)]


def test_columns_and_profiles(project):
    own = '[profiles.full]\nseeds = [7]\nrows = ["mine"]\n'
    table = _load(project, MINE + COLUMN + own)
    assert [one.name for one in table.columns] == ["two", "three", "four"]
    assert table.rows[1].published == (0.9, (1.25, 0.05), None)
    quick = [one.name for one in table_cells.cells(table, "quick")]
    assert quick[-2:] == ["mine/two", "mine/four"]
    full = [(one.name, one.seed) for one in table_cells.cells(table, "full")]
    assert full == [("mine/two", 7), ("mine/three", 7), ("mine/four", 7)]


def test_rows_of_a_profile_hold_the_own(project):
    text = table_toys.TABLE.replace('columns = ["two"]', 'rows = ["still"]')
    table_toys.write(project, text)
    quick = [one.name for one in table_cells.cells(_load(project), "quick")]
    assert quick == ["still/two", "still/three", "mine/two", "mine/three"]


def test_results_of_the_other_are_not_measured_again(project, capsys):
    assert main(["table", "toys"]) == 0
    before = (project / "benchmarks" / "results" / "toys.jsonl").read_bytes()
    capsys.readouterr()
    assert main(["table", "mine.toml", "--json"]) == 0
    out, err = capsys.readouterr()
    assert "mine, profile quick: 1 of 4 to run; 3 recorded in benchmarks/results and results" in err
    found = json.loads(out)
    rows = [line["row"] for line in found["lines"]]
    assert {"optimum", "trained", "still", "mine"} == {*rows}
    assert all(line["values"]["two"] for line in found["lines"])
    own = records.read(project / "results" / "mine.jsonl")
    assert [one["row"] for one in own] == ["mine"]
    assert (project / "benchmarks" / "results" / "toys.jsonl").read_bytes() == before
    assert main(["table", "mine.toml"]) == 0
    assert "0 of 4 to run" in capsys.readouterr().err
    # The file of a table of the project is that table.
    assert main(["table", "benchmarks/tables/toys.toml"]) == 0
    assert "toys, profile quick: 0 of 3 to run" in capsys.readouterr().err


def test_a_table_may_extend_one_that_extends(project):
    further = 'extends = "mine"\n[[rows]]\nname = "further"\nlabel = "x"\npublished = [1, 2]\n'
    table = _load(project, further, "further")
    assert [one.name for one in table.rows][-2:] == ["mine", "further"]
    paths = [path.relative_to(project).as_posix() for path in table.shared]
    assert paths == ["benchmarks/results/toys.jsonl", "results/mine.jsonl"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('extends = "toy"', 'mine.extends: "toy" is no table; did you mean toys'),
        ("extends = 3", "mine.extends: 3 is no table"),
        ('extends = ["toys"]', "mine.extends: .* is no table"),
        ('extends = "mine"', 'mine.extends: "mine" is no table; .*allowed: .*toys'),
        (
            f"metric = 'regret'\n{MINE}",
            "mine.metric: is that of the table it extends; allowed: title, rows",
        ),
        (f"row = 3\n{MINE}", "mine.row: is that of .*did you mean rows"),
        (MINE.replace('"mine"', '"still"'), "mine.rows.still: is there twice"),
        (MINE.replace("label", "lable"), "mine.rows.mine.lable: unknown option; did you mean"),
        ('extends = "toys"\nrows = 3', "mine.rows: a list of tables is needed"),
        (f"shared = []\n{MINE}", "mine.shared: comes from the file"),
        (f"{MINE}[profiles.quik]", 'mine.profiles.quik: "quik" is unknown'),
        (f"{MINE}{COLUMN}".replace("four", "two"), "mine.columns.two: is there twice"),
        ('extends = "speeds"', 'mine.extends: "speeds" is a table of records'),
        ("profiles = 3\n" + MINE, "mine.profiles: is not a table"),
        ('extends = "broken"', "broken.rows: a list of tables is needed"),
    ],
)
def test_mistakes_are_named(project, text, message):
    table_toys.write(project, 'title = "Speeds"\n[results]\n"a" = "b"\n', "speeds")
    table_toys.write(project, "rows = 3", "broken")
    with pytest.raises(OptionError, match=message):
        _load(project, text)


def test_a_metric_that_has_its_columns_takes_no_others(project):
    text = table_toys.TABLE.replace('"total"', '"per-episode"')
    start, end = text.index("[[columns]]"), text.index("[[rows]]")
    text = text[:start] + text[end:]
    text = text.replace("tune = { start = [0.0, 0.4, 1.0] }", "untrained = true")
    table_toys.write(project, text.replace('columns = ["two"]', ""))
    assert _load(project).rows[-1].name == "mine"
    with pytest.raises(
        OptionError, match=r"mine\.columns: metric .per-episode. has none of its own"
    ):
        _load(project, MINE + COLUMN)
