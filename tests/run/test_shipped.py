"""Configs and tables that come with the package are found by name, wherever one works."""

from __future__ import annotations

import json
import pathlib

import pytest

from metajax.core.options import OptionError
from metajax.experiments import table_definition
from metajax.run import config, records, shipped

NAME = "maml-point-navigation"


@pytest.fixture
def foreign(tmp_path, monkeypatch, repository):
    """A working directory that is no checkout, and the metajax of this one."""
    monkeypatch.setattr(shipped, "ROOT", repository)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_checkout_has_them_beside_the_package_and_a_wheel_inside(tmp_path, repository):
    assert repository == shipped.ROOT
    package = tmp_path / "metajax"
    package.mkdir()
    assert shipped._root(package) == tmp_path
    (package / "shipped").mkdir()
    assert shipped._root(package) == package / "shipped"


def test_every_config_has_a_name_and_a_title(repository):
    assert {*shipped.configs()} == {path.stem for path in (repository / "configs").iterdir()}
    for title in shipped.config_titles().values():
        assert 10 < len(title) < 250


@pytest.mark.parametrize("given", [NAME, f"{NAME}.toml"])
def test_a_config_is_found_by_its_name(foreign, repository, given):
    assert config.load(given) == config.load(repository / "configs" / f"{NAME}.toml")


def test_a_run_is_called_by_the_name(command, foreign):
    (foreign / "runs" / f"{NAME}-seed-3").mkdir(parents=True)
    (foreign / "runs" / f"{NAME}-seed-3" / "mine").touch()
    result = command("train", NAME, "--set", "train.seed=3")
    assert (result.code, "is taken" in result.err) == (2, False)
    assert f"--run-dir runs/{NAME}-seed-3: is in use and holds no run" in result.err


def test_a_file_wins_over_a_name_and_this_is_said(command, foreign):
    (foreign / f"{NAME}.toml").write_text('[family]\nname = "fakes"\n')
    for more in ((), ("--seeds", "2")):
        result = command("train", f"{NAME}.toml", *more)
        assert f"{NAME}.toml is taken; metajax has another one of this name, " in result.err
        assert 'family.name: "fakes" is unknown' in result.err
    assert config.load(NAME).algorithm.name == "maml"


def test_a_directory_is_no_config(foreign):
    (foreign / NAME).mkdir()
    assert config.load(NAME).algorithm.name == "maml"


@pytest.mark.parametrize("given", ["maml-point-navigaton", f"configs/{NAME}.toml"])
def test_a_misspelt_config_is_guessed(foreign, given):
    with pytest.raises(OptionError, match=f"did you mean {NAME}\\? allowed: a TOML file, or"):
        config.load(given)


@pytest.mark.parametrize("name", ["configs", "tables", "zoo"])
def test_lists(command, foreign, name):
    titles = json.loads(command("list", name, "--json").out)
    known = {"configs": NAME, "tables": "rl2-bandits", "zoo": NAME}[name]
    shown = command("list", name).out
    assert titles[known] in shown
    assert ("metajax table NAME" in shown) == (name == "tables")
    assert f"did you mean {name}?" in command("list", f"{name}s").err


def test_a_table_of_ones_own_wins_over_one_of_metajax(foreign, repository):
    assert table_definition.load("toys-not", *_tables(foreign, "toys-not")).title == "Mine"
    places = _tables(foreign, "rl2-bandits")
    assert table_definition.load("rl2-bandits", *places).title == "Mine"
    assert "2D point" in table_definition.load("point-navigation", *places).title
    with pytest.raises(OptionError, match=r'no table "rl2-bandit"; did you mean rl2-bandits'):
        table_definition.load("rl2-bandit", *places)


def _tables(foreign, name) -> tuple[pathlib.Path, ...]:
    text = 'title = "Mine"\n[results]\nMAML = "throughput-maml-cpu"\n'
    (foreign / "benchmarks" / "tables").mkdir(parents=True, exist_ok=True)
    (foreign / "benchmarks" / "tables" / f"{name}.toml").write_text(text)
    return table_definition.places()


def test_a_table_in_place_of_one_of_metajax_is_said(command, foreign):
    _tables(foreign, "rl2-bandits")
    result = command("table", "rl2-bandits")
    assert "benchmarks/tables/rl2-bandits.toml is taken; metajax has another" in result.err


def test_speeds_of_metajax_are_shown_anywhere(command, foreign):
    assert "MAML, policy gradient" in command("table", "throughput").out
    assert [*foreign.iterdir()] == [foreign / "fake.toml"]


def test_a_row_names_a_config_of_metajax(foreign):
    row = 'name = "maml"\nlabel = "MAML"\nconfig = "maml-point-navigation.toml"\n'
    text = f'title = "Mine"\nsource = "Me"\nmetric = "after-steps"\n[[rows]]\n{row}'
    (foreign / "mine").mkdir()
    (foreign / "mine" / "table.toml").write_text(text)
    from metajax.experiments import table_cells

    table = table_definition.load("table", foreign / "mine")
    assert isinstance(table, table_definition.Table)
    (cell,) = table_cells.cells(table, "quick")
    assert cell.config.algorithm == config.load(NAME).algorithm


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """What a wheel brings: a table, and records of one of its rows; nobody may write there."""
    root = tmp_path / "site-packages" / "shipped"
    for name in ("tables", "results"):
        (root / "benchmarks" / name).mkdir(parents=True)
    rows = "".join(
        f'[[rows]]\nname = "{name}"\nlabel = "{name}"\nalgorithm = {{ name = "{name}" }}\n'
        for name in ("greedy", "random")
    )
    text = 'title = "T"\nsource = "S"\nmetric = "total"\nfamily = { name = "bernoulli-bandit" }\n'
    text += f'[[columns]]\nname = "all"\n{rows}'
    (root / "benchmarks" / "tables" / "little.toml").write_text(text)
    monkeypatch.setattr(shipped, "ROOT", root)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return root


def test_a_table_of_metajax_is_measured_in_the_present_directory(installed, monkeypatch, capsys):
    from metajax.cli import main
    from metajax.experiments import table_cells, table_command

    table = table_definition.load("little", shipped.tables())
    assert isinstance(table, table_definition.Table)
    greedy, random = (
        {"row": cell.row.name, "column": "all", "settings": cell.settings, "mean": 1.0, "seed": 0}
        | {"label": cell.row.name, "metric": "total", "standard_error": 0.1, "num_tasks": 9}
        for cell in table_cells.cells(table, "quick")
    )
    records.append(installed / "benchmarks" / "results" / "little.jsonl", greedy)

    def run(missing, options, file, trained):
        assert [cell.row.name for cell in missing] == ["random"]
        assert trained == pathlib.Path("runs", "tables", "trained")
        records.append(file, random)
        return 0

    monkeypatch.setattr(table_command, "_run", run)
    before = {path: path.read_bytes() for path in installed.rglob("*") if path.is_file()}
    assert main(["table", "little"]) == 0
    assert "1 of 2 to run; 1 recorded in" in capsys.readouterr().err
    assert records.read("runs/tables/results/little.jsonl") == [random]
    assert main(["table", "little"]) == 0
    assert "0 of 2 to run; 2 recorded in" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in installed.rglob("*") if path.is_file()} == before
