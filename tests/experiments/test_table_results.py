"""Lines of a table from records: estimates, what is best, what is published."""

from __future__ import annotations

import dataclasses
import math

import pytest
import table_toys

from metajax.core.options import OptionError
from metajax.experiments import rendering, table_cells, table_results
from metajax.experiments.statistics import Estimate
from metajax.experiments.table_definition import Table, load
from metajax.experiments.table_results import Line

pytestmark = pytest.mark.usefixtures("toys")
HERE = {"device": "NVIDIA H200", "backend": "gpu", "num_devices": 8}


@pytest.fixture
def table(tmp_path):
    return table_toys.read(tmp_path)


def _lines(values):
    return [
        Line(name, "selected" if name == "selected" else "measured", [one])
        for name, one in values.items()
    ]


def _estimate(value, width):
    return Estimate(value, value - width, value + width)


def test_the_best_and_all_within_noise_of_it():
    # From the best, 10 with 0.3: noise with b is sqrt(.3^2 + .4^2) = 0.5, with c the same.
    lines = _lines(
        {
            "a": _estimate(10.0, 0.3),
            "b": _estimate(9.5, 0.4),
            "c": _estimate(9.4, 0.4),
            "exact": Estimate(9.85, math.nan, math.nan),
            "selected": _estimate(11.0, 0.1),
            "none": None,
        }
    )
    assert table_results.best(lines, 0, "higher") == {0, 1, 3}
    assert table_results.best(lines, 0, "lower") == {1, 2}
    assert table_results.best(lines[:1], 0, "higher") == set()


def test_rows_are_told_apart_by_their_seeds():
    """The interval of 0.5 is that of the tasks, which both rows share."""
    lines = _lines({"a": _estimate(10.0, 0.5), "b": _estimate(9.5, 0.5)})
    assert table_results.best(lines, 0, "higher") == {0, 1}
    surer = [line._replace(noise=(0.1,)) for line in lines]
    assert table_results.best(surer, 0, "higher") == {0}
    seeds = [{"mean": 6.0, "interval": [1, 11]}, {"mean": 8.0, "interval": [1, 15]}]
    assert table_results.seed_noise(seeds) == pytest.approx([12.706], abs=1e-3)
    assert table_results.seed_noise(seeds[:1]) == (5,)
    assert table_results.seed_noise([{"mean": [1.0, 2.0]}]) == (0, 0)


def test_a_wide_interval_alone_makes_nothing_good():
    lines = _lines(
        {"a": _estimate(10.0, 0.1), "worse": _estimate(8.0, 3.0), "better": _estimate(9.0, 0.1)}
    )
    assert table_results.best(lines, 0, "higher") == {0}


def test_intervals_over_seeds_and_tasks():
    one = {"mean": 6.0, "interval": [5.5, 6.5]}
    assert table_results.estimate([one]) == [Estimate(6.0, 5.5, 6.5)]
    # Two values 2 apart: 12.71 is Student's quantile for one degree of freedom. The tasks,
    # which both seeds were measured in, add a mean half width of 5 and 7 to it.
    exact = [{"mean": 6.0}, {"mean": 8.0, "interval": [None, None]}]
    (of_seeds,) = table_results.estimate(exact)
    assert of_seeds.value == 7
    assert of_seeds.half_width == pytest.approx(12.706, abs=1e-3)
    sampled = [{"mean": 6.0, "interval": [1, 11]}, {"mean": 8.0, "interval": [1, 15]}]
    (of_both,) = table_results.estimate(sampled)
    assert of_both.half_width == pytest.approx(math.hypot(12.706, 6), abs=1e-3)
    # Seeds that agree say nothing of other tasks.
    (agreed,) = table_results.estimate([one, one, one])
    assert agreed.half_width == 0.5
    vector = {"mean": [1.0, 2.0], "interval": [[0.0, 1.5], [2.0, 2.5]]}
    assert [one.half_width for one in table_results.estimate([vector])] == [1, 0.5]
    (exact,) = table_results.estimate([{"mean": 3.0, "interval": [None, None]}])
    assert math.isnan(exact.half_width)


def _records(table):
    """A record for each cell of ``still`` and for the seeds of ``trained/two``."""
    found = []
    for cell in table_cells.cells(table, "full"):
        record = {"settings": cell.settings, "num_tasks": 6, "iterations": 0, "environment": HERE}
        if cell.row.name == "still":
            # The first value is best here, the second on separate trials.
            here = {"mean": [7.0, 5.0, 1.0], "standard_error": [0.5, 0.5, None]}
            separate = {"mean": [4.0, 6.0, 2.0], "standard_error": [0.5, 0.5, 0.5]}
            record["tuned"] = {"values": [0, 0.4, 1]}
            record["tuned"] |= {"on_evaluation": here, "on_separate": separate}
            found.append(record)
        if cell.name == "trained/two":
            record |= {"mean": 1.0 + cell.seed, "interval": [0, 2], "env_steps": 40}
            found.append(record | {"iterations": 4, "seconds": 2.0})
    return found


def _shown(line, column):
    value = line.values[column]
    assert value is not None
    return value


def test_lines(table):
    lines = table_results.lines(table, "full", _records(table))
    values = {line.label: [one and one.value for one in line.values] for line in lines}
    assert values == {
        "optimum": [None, None],
        "trained, A paper 2016 (published)": [0.9, 1.25],
        "trained": [1.5, None],
        "still (tuned on these trials)": [7, 7],
        "still (tuned on separate trials)": [5, 5],
    }
    assert [line.kind for line in lines] == [
        *["reference", "published", "measured", "selected", "measured"]
    ]
    published = lines[1]
    assert published.decimals == (2, 2)
    assert _shown(published, 1).half_width == pytest.approx(0.05)
    place = "8 x NVIDIA H200"
    assert lines[2].costs[0] == table_results.Cost(2, 6, 4, 40, 2.0, frozenset([place]))
    foot = rendering.foot(table, "full", lines)
    assert f"trained: 2 seeds, 40 training steps each. Profile full. On {place}." in foot


def test_the_foot_tells_columns_apart_that_were_trained_differently(table):
    def line(*steps):
        one = {"env_steps": 0, "iterations": 4, "num_tasks": 6}
        records = [[] if each is None else [one | {"env_steps": each}] for each in steps]
        values: list[Estimate | None] = [_estimate(1, 0)] * len(steps)
        return Line("trained", "measured", values, records=records)

    names = [one.name for one in table_results.columns(table, "full")]
    assert len(names) == 2
    same = rendering.foot(table, "full", [line(40, 40)])
    assert "trained: 1 seed, 40 training steps each." in same
    differing = rendering.foot(table, "full", [line(40, 2e6)])
    first, second = names
    assert f"training steps 40 in {first}, 2 million in {second} each." in differing
    alone = rendering.foot(table, "full", [line(40, None)])
    assert "trained: 1 seed, 40 training steps each." in alone


def test_who_sees_the_task_does_not_compete(table):
    row = next(one for one in table.rows if one.algorithm)
    assert row.competes
    assert not dataclasses.replace(row, family={"reveal-task": True}).competes


def test_the_time_of_training_is_not_that_of_a_busy_machine(table):
    records = [one for one in _records(table) if "seconds" in one]
    records = [records[0] | {"seconds": seconds} for seconds in (30.0, 600.0, 35.0)]
    assert table_results.cost(records).seconds == 35


def test_a_profile_shows_its_columns(table):
    lines = table_results.lines(table, "quick", _records(table))
    assert [one.name for one in table_results.columns(table, "quick")] == ["two"]
    assert {len(line.values) for line in lines} == {1}
    assert _shown(lines[2], 0).value == 1  # the quick profile has one seed


def test_a_profile_names_its_columns_by_patterns(tmp_path):
    text = table_toys.TABLE.replace('columns = ["two"]', 'columns = ["t*o"]')
    loaded = load("toys", table_toys.write(tmp_path, text))
    assert isinstance(loaded, Table)
    assert [one.name for one in table_results.columns(loaded, "quick")] == ["two"]
    lines = table_results.lines(loaded, "quick", [])
    assert {len(line.values) for line in lines} == {1}


def test_published_numbers_have_the_decimals_of_their_metric(tmp_path):
    text = table_toys.TABLE.replace("[0.9, [1.25, 0.05]]", "[6.5, 0.766]").replace(
        'name = "three"', 'name = "three"\nmetric = "normalized"\ndecimals = 3', 1
    )
    loaded = load("toys", table_toys.write(tmp_path, text))
    assert isinstance(loaded, Table)
    lines = table_results.lines(loaded, "full", [])
    assert lines[1].decimals == (1, 3)
    rows = rendering.grid(loaded, "full", lines).rows
    assert rows[1] == ["trained, A paper 2016 (published)", "6.5", "0.766"]


def test_records_of_other_settings_are_not_shown(table):
    stale = _records(table)
    for record in stale:
        record["settings"]["algorithm"]["tilt"] = 3.0
    lines = table_results.lines(table, "full", stale)
    assert not any(one for line in lines if line.kind != "published" for one in line.values)


def test_the_latest_record_of_a_cell_counts(table):
    records = _records(table)
    (index,) = (i for i, one in enumerate(records) if one.get("mean") == 2.0)
    later = {**records[index], "mean": 3.0}
    lines = table_results.lines(table, "full", [*records, later])
    assert _shown(lines[2], 0).value == 2


def test_the_value_of_a_tuned_option_is_chosen_by_what_the_table_now_calls_better(table):
    records = _records(table)
    higher = table_results.lines(table, "full", records)[-2:]
    assert [_shown(line, 0).value for line in higher] == [7, 5]
    assert _shown(higher[1], 0).low == pytest.approx(5 - 1.96 * 0.5)
    lower = dataclasses.replace(table, better="lower")
    lines = table_results.lines(lower, "full", records)[-2:]
    assert [_shown(line, 0).value for line in lines] == [1, 1]
    assert math.isnan(_shown(lines[1], 0).low)


def test_points_choose_the_adaptations_that_are_shown(tmp_path):
    text = """
title = "Errors"
source = "A paper 2016"
metric = "error-after-steps"
better = "lower"
family = { name = "toys" }
points = [0, 2]
[[rows]]
name = "still"
label = "still"
algorithm = { name = "mover" }
untrained = true
published = [9, 7]
[[rows]]
name = "later"
label = "not measured yet"
algorithm = { name = "mover", tilt = 0.5 }
untrained = true
"""
    loaded = load("errors", table_toys.write(tmp_path, text, "errors"))
    assert isinstance(loaded, Table)
    cell, _ = table_cells.cells(loaded, "full")
    record = {"settings": cell.settings, "num_tasks": 6, "mean": [3.0, 2.0, 1.0]}
    record |= {"interval": [[2.5, 1.5, 0.5], [3.5, 2.5, 1.5]], "adapted_weights": 12_345}
    lines = table_results.lines(loaded, "full", [record])
    shown = rendering.grid(loaded, "full", lines)
    assert shown.headers[:4] == ["method", "0 steps", "2 steps", "adapted weights"]
    assert [row[1:4] for row in shown.rows] == [
        ["9.0", "7.0", ""],
        ["3.0 ± 0.5", "1.0 ± 0.5", "12,345"],
        ["–", "–", ""],
    ]
    record |= {"mean": [3.0, 2.0, None], "interval": [[2.5, 1.5, None], [3.5, 2.5, None]]}
    shown = rendering.grid(loaded, "full", table_results.lines(loaded, "full", [record]))
    assert shown.rows[1][1:3] == ["3.0 ± 0.5", "diverges"]
    wrong = text.replace("error-after-steps", "total") + '\n[[columns]]\nname = "one"\n'
    with pytest.raises(OptionError, match=r"points: .* only of after-steps and error-after-steps"):
        load("errors", table_toys.write(tmp_path, wrong, "errors"))
