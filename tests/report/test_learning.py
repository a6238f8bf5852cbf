"""Records of learning runs: what they hold, and that a benchmark goes on where it stopped."""

from __future__ import annotations

import numpy as np
import pytest

from metajax.config import parse
from metajax.report import learning, records

CONFIG = """
[family]
name = "point-navigation"
episode-length = 5
[algorithm]
name = "maml"
num-tasks = 2
num-streams = 3
hidden-sizes = [8]
[train]
num-iterations = 6
block-size = 2
[evaluate]
num-tasks = 4
num-adaptations = 2
"""


@pytest.mark.slow
def test_each_seed_is_one_record_and_is_run_once(tmp_path):
    path, said = str(tmp_path / "results.jsonl"), []
    config = parse(CONFIG)
    learning.run_seeds(config, "small", [0], path, said.append)
    learning.run_seeds(config, "small", [0, 1], path, said.append)
    found = records.read(path)
    assert [record["seed"] for record in found] == [0, 1]
    assert any("is in" in text for text in said)
    first, second = found
    assert first["config_digest"] != second["config_digest"]
    assert first["config"]["train"]["num-iterations"] == first["iterations"] == 6
    assert first["env_steps"] <= 6 * 2 * 2 * 3 * 5
    assert first["curve"][-1]["iteration"] == 6
    assert first["curve"][-1]["env_steps"] == first["env_steps"]
    assert {len(one["mean"]) for one in first["evaluation"].values()} == {3}
    assert first["evaluation"]["sampled"] != first["evaluation"]["untrained"]
    estimates = learning.seed_estimates("small", found, "sampled")
    by_hand = [
        np.mean([one["evaluation"]["sampled"]["mean"][k] for one in found]) for k in (0, 1, 2)
    ]
    np.testing.assert_allclose([one.value for one in estimates], by_hand)


def test_histories_are_thinned_to_means():
    returns = np.stack([np.arange(250.0), -np.arange(250.0)], axis=1)
    curve = learning.thin(returns, np.full(250, 7, np.int32))
    assert len(curve) == 100
    assert curve[0] == {"iteration": 3, "env_steps": 21, "returns": [1.0, -1.0]}
    assert curve[-1]["iteration"] == 250
    assert curve[-1]["env_steps"] == 1750
    assert len(learning.thin(returns[:4], np.ones(4))) == 4


def test_environment_steps_do_not_overflow():
    curve = learning.thin(np.zeros((4, 1)), np.full(4, 2**30, np.int32))
    assert curve[-1]["env_steps"] == 2**32


def test_environment_steps_of_a_mean_are_rounded():
    # An int32 sum that was divided and multiplied in float32 may lie just below.
    counts = np.full(2, np.nextafter(np.float32(1000), np.float32(0)))
    assert learning.thin(np.zeros((2, 1)), counts)[-1]["env_steps"] == 2000


def _record(seed: int, config: dict | None = None, mean: float = 0.0) -> dict:
    config = config or {"algorithm": {"name": "maml"}, "train": {"seed": seed}}
    evaluation = {"sampled": {"mean": [mean, mean + 1]}}
    return {"seed": seed, "config": config, "evaluation": evaluation}


def test_estimates_over_seeds():
    first, second = learning.seed_estimates(
        "maml", [_record(0, mean=1.0), _record(1, mean=3.0)], "sampled"
    )
    assert (first.value, second.value) == (2, 3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "maml: there are no records"),
        ([_record(0), _record(0)], "a seed is there twice"),
        ([_record(0), _record(1, {"algorithm": {"name": "x"}, "train": {}})], "different settings"),
    ],
)
def test_records_that_do_not_belong_together(given, message):
    with pytest.raises(ValueError, match=message):
        learning.seed_estimates("maml", given, "sampled")
