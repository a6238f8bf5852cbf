"""Tables in documents: right in the README, and found where they are not."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

from metajax.report import records, rendering

TOML = """
[point]
kind = "learning"
rows = [
  { label = "MAML, a paper", published = [-40.41, -11.68, -3.33] },
  { label = "MAML", results = "maml" },
  { label = "random", results = "maml", actions = "untrained" },
]
[speed]
kind = "throughput"
rows = [{ label = "MAML", results = "speed" }]
"""
POINT = """\
| method | 0 steps | 1 step | 2 steps | seeds | iterations | env steps | training time |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
| MAML, a paper (published) | -40.41 | -11.68 | -3.33 |  |  |  |  |
| MAML | -41.00 ± 12.71 | -10.00 ± 0.00 |  | 2 | 500 | 2 million | 90 s |
| random | -50.00 ± 0.00 | -40.00 ± 0.00 |  | 2 |  |  |  |
"""
SPEED = """\
| setting | tasks | env steps/s | of matrix-product rate | compilation | peak memory |
| --- | ---: | ---: | ---: | ---: | ---: |
| MAML | 40 | 712,345 | 53% | 9.9 s | 512 MiB |
"""


SCRIPT = pathlib.Path(__file__).parents[2] / "benchmarks" / "tables.py"


def _run(root, *arguments):
    return subprocess.run(
        [sys.executable, SCRIPT, "--root", root, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def project(tmp_path):
    """A directory with results, definitions and a README with two places."""
    for seed, start in ((0, -40), (1, -42)):
        evaluation = {"sampled": {"mean": [start, -10]}, "untrained": {"mean": [-50, -40]}}
        record = {"seed": seed, "config": {"train": {"seed": seed}}, "evaluation": evaluation}
        record |= {"iterations": 500, "env_steps": 2_000_000, "run_seconds": 80.0 + 20 * seed}
        records.append(tmp_path / "benchmarks" / "results" / "maml.jsonl", record)
    speed = {"setting": {"num-tasks": 40}, "env_steps_per_second": 712_345.4}
    speed |= {"fraction_of_matmul_ceiling": 0.531, "compile_seconds": 9.87}
    speed |= {"peak_memory_bytes": 512 * 2**20}
    records.append(tmp_path / "benchmarks" / "results" / "speed.jsonl", speed)
    (tmp_path / "benchmarks" / "tables.toml").write_text(TOML)
    (tmp_path / "README.md").write_text(
        "a\n<!-- table: point -->\nold\n<!-- end -->\nb\n<!-- table: speed -->\n<!-- end -->\n"
    )
    return tmp_path


def test_tables_are_written_checked_and_then_agree(project):
    assert _run(project, "--check").returncode == 1
    done = _run(project)
    assert done.returncode == 0, done.stderr
    assert (project / "README.md").read_text() == (
        f"a\n<!-- table: point -->\n{POINT}<!-- end -->\nb\n"
        f"<!-- table: speed -->\n{SPEED}<!-- end -->\n"
    )
    assert _run(project, "--check").returncode == 0


def test_a_number_changed_by_hand_is_found(project):
    _run(project)
    readme = project / "README.md"
    readme.write_text(readme.read_text().replace("-10.00", "-9.00"))
    done = _run(project, "--check")
    assert done.returncode == 1
    assert "README.md: tables differ" in done.stderr


def test_latex(project):
    done = _run(project, "--latex", "speed")
    assert "MAML & 40 & 712,345 & 53\\%" in done.stdout


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (
            "<!-- table: pont -->\n<!-- end -->\n",
            "table pont: is not defined; allowed: point, speed",
        ),
        ("<!-- table: speed -->\n", "table speed: no <!-- end --> follows"),
    ],
)
def test_mistakes_in_documents(project, place, message):
    (project / "README.md").write_text(place)
    done = _run(project)
    assert done.returncode == 1
    assert message in done.stderr
    assert (project / "README.md").read_text() == place


def test_missing_results_are_named(tmp_path):
    definitions = {"a": {"kind": "learning", "rows": [{"label": "MAML", "results": "none"}]}}
    with pytest.raises(ValueError, match=r"table a: .*none\.jsonl has no records"):
        rendering.render("a", definitions, tmp_path)


def test_the_tables_of_this_project_agree_with_its_results(repository):
    done = _run(repository, "--check")
    assert done.returncode == 0, done.stderr
