"""Tables, letter for letter."""

from __future__ import annotations

import numpy as np
import pytest

from metajax.core import quantities
from metajax.evaluation import Evaluation
from metajax.run import tables
from metajax.run.tables import Grid


@pytest.fixture
def evaluation():
    returns = np.array([[-40.0, -10.0], [-44.0, -14.0]], np.float32)
    return Evaluation(returns, axis="adaptations", explore=True, env_steps=400)


def test_adaptation_table(evaluation):
    # The error of the mean of two values 4 apart is 2; 1.96 of it is 3.92.
    lines = tables.adaptation_table(evaluation).splitlines()
    assert lines[0] == "Return on 2 held-out tasks, sampled actions"
    assert lines[2].split() == ["adaptations", "mean", "return", "95%", "interval", "gain"]
    assert lines[4].split() == ["0", "-42.00", "-45.92", "to", "-38.08"]
    assert lines[5].split() == ["1", "-12.00", "-15.92", "to", "-8.08", "+30.00"]
    assert len(lines) == 6


def test_markdown_aligns_numbers_to_the_right():
    rows = [["MAML", "-9.12 ± 0.66", "5"], ["a|b", "–", ""]]
    assert tables.markdown(Grid(["method", "1 step", "seeds"], rows)) == (
        "| method | 1 step | seeds |\n"
        "| --- | ---: | ---: |\n"
        "| MAML | -9.12 ± 0.66 | 5 |\n"
        "| a\\|b | – |  |"
    )


def test_latex():
    assert tables.latex(Grid(["method", "rate"], [["a_b", "50%"]])) == (
        "\\begin{tabular}{lr}\n\\toprule\nmethod & rate \\\\\n\\midrule\n"
        "a\\_b & 50\\% \\\\\n\\bottomrule\n\\end{tabular}"
    )


def test_latex_of_what_it_reads_otherwise():
    cells = ["> 2,000", "< 3", "1 ± 2", "a\\b", "{x}", "$5", "a^b~c", "–"]
    row = tables.latex(Grid(["a"] * len(cells), [cells])).splitlines()[4]
    assert row == (
        r"$>$ 2,000 & $<$ 3 & 1 $\pm$ 2 & a\textbackslash{}b & \{x\} & \$5 & "
        r"a\textasciicircum{}b\textasciitilde{}c & -- \\"
    )


def test_rows_must_fit_the_headers():
    with pytest.raises(ValueError, match="3 cells given; allowed: 2"):
        tables.markdown(Grid(["a", "b"], [["1", "2", "3"]]))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.42, "0.42 s"), (61.4, "61 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_durations(seconds, words):
    assert quantities.duration(seconds) == words


@pytest.mark.parametrize(
    ("number", "words"),
    [
        *((160_000, "160,000"), (999_700, "999,700"), (80_000_000, "80 million")),
        *((999_400_000, "999 million"), (999_700_000, "1 billion"), (1.25e9, "1.25 billion")),
    ],
)
def test_counts(number, words):
    assert quantities.count(number) == words


def test_a_lifetime_counts_environment_steps(evaluation):
    lifetime = evaluation._replace(axis="points", steps=np.array([0, 10_000]))
    lines = tables.adaptation_table(lifetime).splitlines()
    assert lines[2].split()[:2] == ["env", "steps"]
    assert lines[5].split()[:2] == ["10,000", "-12.00"]


def test_many_episodes_are_thinned_out_and_summed(evaluation):
    """Of a hundred pulls, each of which returns a hundredth of its number."""
    returns = np.arange(100.0)[None] / 100 + [[-1.0], [1.0]]
    trials = evaluation._replace(returns=returns, axis="episodes")
    _, _, _, _, *rows, foot = tables.adaptation_table(trials, trials).splitlines()
    assert [row.split()[0] for row in rows] == [*map(str, range(1, 101, 11)), "total"]
    assert rows[1].split()[1:6] == ["0.11", "-1.85", "to", "2.07", "+0.11"]
    assert rows[-1].split() == ["total", "49.50", "-146.50", "to", "245.50", "49.50", "+0.00"]
    assert foot == "10 of 100 episodes are shown; evaluation.json holds all."


WIDE = Grid(
    ["method", "one", "two", "three"],
    [
        ["a method of a long name, of a paper (published)", "1.00 ± 0.10", "**2.00 ± 0.10**", "3"],
        ["*heading*", "", "", ""],
        ["b", "–", "", ""],
    ],
    "A foot.",
)


@pytest.mark.parametrize("width", [40, 60, None])
def test_columns_of_a_narrow_terminal_stand_in_parts(monkeypatch, width):
    monkeypatch.setattr("sys.stdout.isatty", lambda: width is not None, raising=False)
    monkeypatch.setenv("COLUMNS", str(width or 40))
    lines = tables.text(WIDE, "Title").splitlines()
    headers = [line.split()[1:] for line in lines if line.startswith("  method")]
    assert [name for names in headers for name in names] == ["one", "two", "three"]
    assert len(headers) == {40: 3, 60: 2, None: 1}[width]
    if width is None:
        assert len(lines) == 1 + 1 + 2 + 3 + 1
        assert lines[4].startswith(
            "  a method of a long name, of a paper (published)   1.00 ± 0.10"
        )
    else:
        number = len(headers)
        assert max(map(len, lines[:-2])) <= width
        assert lines[-1] == (
            f"The terminal is {width} characters wide: the columns stand in {number} parts."
        )
    assert "A foot. * marks the best and all within noise of it." in lines


def test_no_column_is_cut_in_a_file():
    headers = ["method", *(f"column {at}" for at in range(60))]
    grid = Grid(headers, [["m", *map(str, range(60))]])
    header, _, row = tables.text(grid).splitlines()
    assert "…" not in header + row
    assert row.split() == ["m", *map(str, range(60))]
    assert tables.text(grid).count("marks") == 0
