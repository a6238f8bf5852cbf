"""Definitions of tables: mistakes are named, layers lie over each other as they should."""

from __future__ import annotations

import pytest
import table_toys

from metajax.core.options import OptionError
from metajax.experiments import table_cells, table_definition
from metajax.experiments.table_definition import Table, load

pytestmark = pytest.mark.usefixtures("toys")

MISTAKES = [
    ("", 'metric = "totl"', 'toys.metric: "totl" does not fit; allowed: "total"'),
    ("", "decimls = 1", "toys.decimls: unknown option; did you mean decimals?"),
    ('title = "Toys"', "", "toys.title: is missing"),
    ('name = "three"\n', 'name = "two"\n', "toys.columns.two: is there twice"),
    ('label = "trained"', "", "toys.rows.trained.label: is missing"),
    ('name = "two"\n', 'name = "two"\ncolour = 1\n', "toys.columns.two.colour: unknown option"),
    ("[0.9, [1.25, 0.05]]", "[0.9]", "toys.rows.trained.published: 1 given; allowed: 2"),
    ("[0.9, [1.25, 0.05]]", '[0.9, "x"]', "toys.rows.trained.published"),
    ("{ start = [0.0, 0.4, 1.0] }", "{ start = 0.4 }", "toys.rows.still.tune.start"),
    ("{ start = [0.0, 0.4, 1.0] }", "{ stat = [0, 1] }", "tune.stat: unknown option; did you mean"),
    ("{ start = [0.0, 0.4, 1.0] }", '{ start = [0, "a"] }', 'tune.start: "a" does not fit'),
    ("tune = {", "train = {}\ntune = {", "toys.rows.still.tune: "),
    (
        "train = { num-iterations = 4, block-size = 1, checkpoint-every = 1 }",
        "",
        "toys.rows.trained.train: is missing, and mover has to be trained; allowed: its options",
    ),
    ("tune = {", "train = {}\nuntrained = true\ntune = {", "toys.rows.still.untrained: "),
    ('algorithm = { name = "mover" }', 'config = "nosuch.toml"', "rows.trained.config: "),
    (
        'columns = ["two"]',
        'columns = ["tow"]',
        'quick.columns: "tow" is unknown; did you mean two?',
    ),
    ('columns = ["two"]', 'rows = ["trained/tow"]', '"trained/tow" is unknown; did you mean'),
    (
        "[profiles.quick]",
        "[profiles.quik]",
        'profiles.quik: "quik" is unknown; did you mean quick?',
    ),
    ("seeds = [0, 1]", "seeds = [-1]", "toys.profiles.full.seeds"),
    ('{ name = "mover" }\ntrain', '{ name = "mver" }\ntrain', "rows.trained[two].algorithm.name: "),
    ("num-iterations = 4", "iterations = 4", "rows.trained[two].train.iterations: unknown option"),
    ("num-episodes = 3", "num-episodes = 0", "rows.optimum[three].family.num-episodes: 0"),
    ("num-tasks = 6", "num-task = 6", "evaluate.num-task: unknown option; did you mean num-tasks?"),
    ('reference = "optimal-policy"', "", "toys.rows.optimum.algorithm: "),
    ("tune = {", "overrides = { tow = {} }\ntune = {", 'rows.still.overrides: "tow" is unknown'),
    ('metric = "total"', 'metric = "per-episode"', 'toys.columns: metric "per-episode" has none'),
    ("title", "= title", "is not valid TOML"),
]


def _check(directory):
    table = load("toys", directory)
    assert isinstance(table, Table)
    for profile in table_definition.PROFILES:
        table_cells.cells(table, profile)


@pytest.mark.parametrize(("old", "new", "message"), MISTAKES)
def test_mistakes_are_named(tmp_path, old, new, message):
    text = table_toys.TABLE
    text = text.replace(old, new, 1) if old else f"{new}\n{text}"
    if old == "" and new.startswith("metric"):
        text = text.replace('\nmetric = "total"', "", 1)
    directory = table_toys.write(tmp_path, text)
    with pytest.raises(OptionError) as caught:
        _check(directory)
    assert message in str(caught.value)


def test_a_metric_that_is_none_is_named_before_the_columns_that_it_may_stand_for(tmp_path):
    text = 'title = "Toys"\nsource = "A paper"\nmetric = "nonsense"\n'
    with pytest.raises(OptionError, match=r'^toys\.metric: "nonsense" does not fit; allowed: "tot'):
        load("toys", table_toys.write(tmp_path, text))


def test_unknown_tables_and_directories(tmp_path):
    with pytest.raises(OptionError, match="nowhere: holds no tables; without --tables"):
        load("toys", tmp_path / "nowhere")
    with pytest.raises(OptionError, match=r'no table "toy" in .*did you mean toys'):
        load("toy", table_toys.write(tmp_path))


def _cells(tmp_path, old="", new="", profile="full"):
    table = table_toys.read(tmp_path, table_toys.TABLE.replace(old, new))
    return table_cells.cells(table, profile)


def test_cells_of_the_profiles(tmp_path):
    quick = [(one.name, one.seed) for one in _cells(tmp_path, profile="quick")]
    assert quick == [("optimum/two", 0), ("trained/two", 0), ("still/two", 0)]
    full = [(one.name, one.seed) for one in _cells(tmp_path)]
    assert full == [
        *[("optimum/two", 0), ("optimum/three", 0)],
        *[("trained/two", 0), ("trained/two", 1), ("trained/three", 0), ("trained/three", 1)],
        *[("still/two", 0), ("still/three", 0)],
    ]


def test_the_special_lies_over_the_general(tmp_path):
    text = table_toys.TABLE.replace("seeds = [0, 1]\n", "")
    text += 'num-tasks = { trained = 5 }\nnum-iterations = { trained = 7, "trained/three" = 8 }\n'
    row = '[rows.overrides.three]\nalgorithm = { tilt = 2 }\n\n[[rows]]\nname = "still"'
    text = text.replace('[[rows]]\nname = "still"', row)
    table = table_toys.read(tmp_path, text.replace("num-tasks = 6", "num-tasks = 6, seed = 3"))
    found = {one.name: one.settings for one in table_cells.cells(table, "full")}
    assert found["trained/two"]["train"] == {"num-iterations": 7}
    assert found["trained/three"]["train"] == {"num-iterations": 8}
    assert found["trained/three"]["algorithm"]["tilt"] == 2
    assert found["trained/two"]["algorithm"]["tilt"] == 0
    assert found["trained/two"]["evaluate"]["num-tasks"] == 5
    assert found["still/two"]["evaluate"]["num-tasks"] == 6
    assert found["still/two"]["evaluate"]["seed"] == 3
    assert "train" not in found["still/two"]
    assert found["still/three"]["family"]["num-episodes"] == 3


def test_options_without_a_name_count_for_all_that_are_named_later(tmp_path):
    common = 'family = { name = "toys" }\nalgorithm = { tilt = 3 }'
    text = table_toys.TABLE.replace('family = { name = "toys" }', common)
    text = text.replace('"mover" }\ntune', '"mover", tilt = 4 }\ntune')
    table = table_toys.read(tmp_path, text)
    found = {one.name: one.settings for one in table_cells.cells(table, "full")}
    assert found["trained/two"]["algorithm"]["tilt"] == 3
    assert found["still/two"]["algorithm"]["tilt"] == 4


def test_only(tmp_path):
    table = table_toys.read(tmp_path)
    chosen = table_cells.only(table, "full", ["still/three", "optimum"])
    assert [one.name for one in chosen] == ["optimum/two", "optimum/three", "still/three"]
    with pytest.raises(OptionError, match='--only: "stil" is not in profile full; did you mean'):
        table_cells.only(table, "full", ["stil"])
    with pytest.raises(OptionError, match="in profile quick; --profile full has it"):
        table_cells.only(table, "quick", ["still/three"])


def test_patterns_choose_rows_and_columns(tmp_path):
    text = table_toys.TABLE.replace(
        "published = [0.9",
        'overrides = { "t*" = { algorithm = { start = 0.1 } }, '
        '"*ee" = { algorithm = { start = 0.2 } } }\npublished = [0.9',
    ).replace('columns = ["two"]', 'columns = ["tw*"]\nrows = ["tr*", "*/two"]')
    text += 'num-tasks = { "*/two" = 9 }\n'
    table = load("toys", table_toys.write(tmp_path, text))
    assert isinstance(table, Table)
    quick = table_cells.cells(table, "quick")
    assert [one.name for one in quick] == ["optimum/two", "trained/two", "still/two"]
    full = table_cells.cells(table, "full")
    found = {one.name: one.settings for one in full}
    starts = [found[f"trained/{name}"]["algorithm"]["start"] for name in ("two", "three")]
    assert starts == [0.1, 0.2]
    sizes = [found[f"still/{name}"]["evaluate"]["num-tasks"] for name in ("two", "three")]
    assert sizes == [9, 6]
    assert len(table_cells.only(table, "full", ["*/three"])) == 4
    with pytest.raises(OptionError, match=r'"\*/thre" is not in profile full'):
        table_cells.only(table, "full", ["*/thre"])


def test_a_record_is_of_a_cell_until_a_setting_changes(tmp_path):
    cell = _cells(tmp_path)[2]
    settings = cell.settings
    assert cell.is_of({"settings": settings})
    older = {name: one for name, one in settings["algorithm"].items() if name != "tilt"}
    assert cell.is_of({"settings": {**settings, "algorithm": older}})
    other = {**settings["algorithm"], "tilt": 0.5}
    assert not cell.is_of({"settings": {**settings, "algorithm": other}})
    assert not cell.is_of({"settings": {**settings, "seed": 1}})
    gone = {**settings["algorithm"], "removed": 1}
    assert not cell.is_of({"settings": {**settings, "algorithm": gone}})
    assert not cell.is_of({})


def test_the_tables_of_this_project_can_be_run(repository):
    directory = repository / table_definition.DIRECTORY
    for name in table_definition.names(directory):
        table = load(name, directory)
        if isinstance(table, Table):
            for profile in table.profiles:
                assert table_cells.cells(table, profile), name
