"""Tables in documents: right in the README, and found where they are not."""

from __future__ import annotations

import pathlib
import runpy
import subprocess
import sys
from types import SimpleNamespace

import pytest
import table_toys

from metajax.cli import main
from metajax.core.options import OptionError
from metajax.experiments import rendering, table_cells, table_definition, throughput
from metajax.run import records, tables

POINT_TOML = """
title = "Points"
source = "a paper"
metric = "after-steps"
decimals = 2
[[rows]]
name = "maml"
label = "MAML"
config = "maml.toml"
published = [-40.41, -11.68, -3.33]
[[rows]]
name = "random"
label = "random"
config = "maml.toml"
untrained = true
seeds = [0, 1]
[profiles.quick]
[profiles.full]
seeds = [0, 1]
"""
HERE = {"device": "AMD EPYC", "backend": "cpu", "num_cores": 2, "num_devices": 2}
SPEED_TOML = """
title = "Speed"
results = { MAML = "speed" }
"""
CONFIG = """
[family]
name = "point-navigation"
[algorithm]
name = "maml"
[train]
num-iterations = 500
[evaluate]
num-tasks = 70
"""
POINT = """\
| method | 0 steps | 1 step | 2 steps | adapted weights | seeds | iterations | env steps | \
training time |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
| MAML, a paper (published) | -40.41 | -11.68 | -3.33 |  |  |  |  |  |
| MAML | **-41.00 ± 12.71** | **-10.00 ± 0.00** | – | 10,604 | 2 | 500 | 2 million | 90 s |
| random | **-50.00 ± 0.00** | -40.00 ± 0.00 | – |  | 2 |  |  |  |

Mean ± half of the 95% interval over seeds and evaluation tasks (70), of a single seed over \
tasks alone.
"""
SPEED = """\
| setting | tasks | env steps/s | of matrix-product rate | compilation | peak memory | on |
| --- | ---: | ---: | ---: | ---: | ---: | --- |
| MAML | 40 | 712,345 | 53% | 9.9 s | 512 MiB | AMD EPYC, 2 cores |
"""


SCRIPT = pathlib.Path(__file__).parents[2] / "benchmarks" / "tables.py"


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the script in this process, and returns what ``subprocess.run`` does."""

    def run(root, *arguments):
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--root", str(root), *arguments])
        capsys.readouterr()
        status = None
        try:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        except SystemExit as error:
            status = error.code
        out, err = capsys.readouterr()
        message = status if isinstance(status, str) else ""
        code = 1 if message else int(status or 0)
        return SimpleNamespace(returncode=code, stdout=out, stderr=err + message)

    return run


@pytest.fixture
def project(tmp_path):
    """A directory with results, definitions and a README with two places."""
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "maml.toml").write_text(CONFIG)
    table = table_definition.load("point", table_toys.write(tmp_path, POINT_TOML, "point"))
    assert isinstance(table, table_definition.Table)
    for cell in table_cells.cells(table, "full"):
        cost = {"iterations": 0, "env_steps": 0, "seconds": 0.0}
        mean = [-50, -40]
        if cell.row.is_trained:
            seconds = 80.0 + 20 * cell.seed
            cost = {"iterations": 500, "env_steps": 2_000_000, "seconds": seconds}
            mean = [-40 - 2 * cell.seed, -10]
            cost["adapted_weights"] = 10_604
        record = {"seed": cell.seed, "mean": mean, "num_tasks": 70, "settings": cell.settings}
        records.append(tmp_path / "benchmarks" / "results" / "point.jsonl", record | cost)
    speed = {"setting": {"num-tasks": 40}, "env_steps_per_second": 712_345.4}
    speed |= {"fraction_of_matmul_ceiling": 0.531, "compile_seconds": 9.87}
    speed |= {"peak_memory_bytes": 512 * 2**20, "environment": HERE}
    records.append(tmp_path / "benchmarks" / "results" / "speed.jsonl", speed)
    table_toys.write(tmp_path, SPEED_TOML, "speed")
    (tmp_path / "README.md").write_text(
        "a\n<!-- table: point -->\nold\n<!-- end -->\nb\n<!-- table: speed -->\n<!-- end -->\n"
    )
    return tmp_path


def test_tables_are_written_checked_and_then_agree(run, project):
    assert run(project, "--check").returncode == 1
    done = run(project)
    assert done.returncode == 0, done.stderr
    assert (project / "README.md").read_text() == (
        f"a\n<!-- table: point -->\n{POINT}<!-- end -->\nb\n"
        f"<!-- table: speed -->\n{SPEED}<!-- end -->\n"
    )
    assert run(project, "--check").returncode == 0


def test_a_number_changed_by_hand_is_found(run, project):
    run(project)
    readme = project / "README.md"
    readme.write_text(readme.read_text().replace("-10.00", "-9.00"))
    done = run(project, "--check")
    assert done.returncode == 1
    assert "README.md: tables differ" in done.stderr


def test_a_row_of_speeds_is_of_one_setting(run, project):
    path = project / "benchmarks" / "results" / "speed.jsonl"
    (speed,) = records.read(path)
    layout = {**speed["setting"], "microbatch": 8}
    records.append(path, {**speed, "setting": {**layout, "horizon": 100}})
    assert run(project).returncode == 0  # as it was, laid out in another way
    records.append(path, {**speed, "setting": {**layout, "horizon": 50}})
    done = run(project)
    assert done.returncode == 1
    assert "speed.jsonl: MAML: has records with horizon 100 and 50; allowed: one" in done.stderr


def test_latex(run, project):
    done = run(project, "--latex", "speed")
    assert "MAML & 40 & 712,345 & 53\\%" in done.stdout


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (
            "<!-- table: pont -->\n<!-- end -->\n",
            'no table "pont" in',
        ),
        ("<!-- table: speed -->\n", "table speed: no <!-- end --> follows"),
    ],
)
def test_mistakes_in_documents(run, project, place, message):
    (project / "README.md").write_text(place)
    done = run(project)
    assert done.returncode == 1
    assert message in done.stderr
    assert (project / "README.md").read_text() == place


def test_missing_results_are_named(run, project):
    (project / "benchmarks" / "results" / "speed.jsonl").unlink()
    done = run(project)
    assert done.returncode == 1
    assert "speed.jsonl has no records" in done.stderr
    (project / "benchmarks" / "results" / "point.jsonl").unlink()
    assert "no results of its full profile; run metajax table point" in run(project).stderr


def test_a_place_may_show_the_quick_profile(run, project):
    readme = project / "README.md"
    readme.write_text("<!-- table: point quick -->\n<!-- end -->\n")
    assert run(project).returncode == 0
    assert "| MAML | **-40.00** | **-10.00** | – | 10,604 | 1 | 500 |" in readme.read_text()
    readme.write_text("<!-- table: point slow -->\n<!-- end -->\n")
    assert "profile slow; allowed: quick, full" in run(project).stderr


GRID = tables.Grid(
    ["method", "n=1"],
    [["*block*", ""], ["a_b (published)", "6.6 ± 0.1"], ["c", "**6.55 ± 0.02**"], ["d", "–"]],
    "Mean of 3 seeds.",
)


def test_markdown_of_a_grid():
    assert tables.markdown(GRID) == (
        "| method | n=1 |\n| --- | ---: |\n| *block* |  |\n| a_b (published) | 6.6 ± 0.1 |\n"
        "| c | **6.55 ± 0.02** |\n| d | – |\n\nMean of 3 seeds."
    )


def test_latex_of_a_grid():
    assert tables.latex(GRID).splitlines() == [
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"method & n=1 \\",
        r"\midrule",
        r"\emph{block} &  \\",
        r"a\_b (published) & 6.6 $\pm$ 0.1 \\",
        r"c & \textbf{6.55 $\pm$ 0.02} \\",
        r"d & -- \\",
        r"\bottomrule",
        r"\end{tabular}",
        "% Mean of 3 seeds.",
    ]


def test_text_of_a_grid():
    shown = tables.text(GRID, "Title")
    assert "6.55 ± 0.02 *" in shown
    assert "**" not in shown
    assert "\n  block" in shown


@pytest.mark.further
def test_the_tables_of_this_project_agree_with_its_results(repository):
    check = [sys.executable, SCRIPT, "--root", repository, "--check"]
    done = subprocess.run(check, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


RECORDS_TOML = """
title = "Faults"
records = "faults"
made-by = "python faults.py"

[columns]
what = "fault"
tried = "tried"
"""


def test_records_as_they_are(tmp_path, monkeypatch, capsys):
    directory = table_toys.write(tmp_path, RECORDS_TOML, "tried")
    table = table_definition.load("tried", directory)
    assert isinstance(table, table_definition.RecordsTable)
    results = tmp_path / "benchmarks" / "results"
    with pytest.raises(OptionError, match=r"has no records; python faults\.py"):
        rendering.of_records(table, results)
    for fault, tried in (("kill", 3), ("link", 2), ("kill", 1234)):  # the last one counts
        one = {"fault": fault, "tried": tried, "environment": HERE}
        records.append(results / "faults.jsonl", one)
    grid = rendering.of_records(table, results)
    assert (grid.headers, grid.rows) == (["what", "tried"], [["kill", "1,234"], ["link", "2"]])
    assert grid.foot == "On AMD EPYC, 2 cores."
    monkeypatch.chdir(tmp_path)
    assert main(["table", "tried"]) == 0
    assert "1,234" in capsys.readouterr().out
    assert main(["table", "tried", "--only", "kill"]) == 2
    assert "rendered from records of python faults.py" in capsys.readouterr().err


def test_a_yardstick_and_its_family_are_named(tmp_path):
    """Records of two families from one file, both measured beside something else."""
    speed = {"env_steps_per_second": 300, "fraction_of_matmul_ceiling": None}
    speed |= {"compile_seconds": 1.0, "peak_memory_bytes": 2**20, "environment": HERE}
    for family, ratio in (("line", 1.5), ("arms", 2.25)):
        setting = {"num-tasks": 8, "family": family}
        records.append(tmp_path / "speed.jsonl", {**speed, "setting": setting, "ratio": ratio})
    table = table_definition.load("speed", table_toys.write(tmp_path, SPEED_TOML, "speed"))
    assert isinstance(table, table_definition.ThroughputTable)
    shown = throughput.grid(table, tmp_path).rows
    assert [row[:4] for row in shown] == [
        ["MAML, line", "8", "300", "1.50"],
        ["MAML, arms", "8", "300", "2.25"],
    ]


def test_speeds_of_several_machines_are_told_apart(tmp_path):
    """Of one machine the last record of a setting counts."""
    there = {"device": "NVIDIA H200", "backend": "gpu", "num_devices": 8}
    speed = {"fraction_of_matmul_ceiling": None, "compile_seconds": 1.0, "peak_memory_bytes": 2**20}
    for number, place, lifetime in ((1, HERE, 50), (2, HERE, 5000), (3, HERE, 50), (4, there, 50)):
        setting = {"num-tasks": 8, "lifetime": lifetime}
        record = {**speed, "setting": setting, "environment": place, "env_steps_per_second": number}
        records.append(tmp_path / "speed.jsonl", record)
    table = table_definition.load("speed", table_toys.write(tmp_path, SPEED_TOML, "speed"))
    assert isinstance(table, table_definition.ThroughputTable)
    shown = throughput.grid(table, tmp_path).rows
    assert [[row[0], row[2], row[-1]] for row in shown] == [
        ["MAML, lifetimes of 50 transitions", "3", "AMD EPYC, 2 cores"],
        ["MAML, lifetimes of 5,000 transitions", "2", "AMD EPYC, 2 cores"],
        ["MAML, lifetimes of 50 transitions", "4", "8 x NVIDIA H200"],
    ]
