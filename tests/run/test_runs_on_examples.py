"""A run on labelled examples, from its config to its pictures."""

from __future__ import annotations

import json
import pathlib

import metajax
from metajax.cli import main

CONFIG = pathlib.Path(metajax.__file__).parents[1] / "configs" / "maml-sinusoid.toml"
SMALL = (
    *("train.num-iterations=4", "train.block-size=2", "algorithm.num-tasks=2"),
    *("algorithm.hidden-sizes=[4]", "evaluate.num-tasks=3", "evaluate.num-adaptations=2"),
)


def test_scores_are_called_by_their_name(tmp_path, capsys):
    run = tmp_path / "run"
    overrides = [word for one in SMALL for word in ("--set", one)]
    assert main(["train", str(CONFIG), "--run-dir", str(run), *overrides]) == 0
    out, err = capsys.readouterr()
    assert "Negative squared error on 3 held-out tasks" in out
    assert "mean negative squared error" in out
    assert "negative squared error -" in err
    assert "return" not in out + err
    record = json.loads((run / "evaluation.json").read_text())
    assert record["score"] == "negative squared error"
    assert {path.name for path in run.glob("*.png")} == {"adaptation.png", "training.png"}

    assert main(["evaluate", str(run), "--num-streams", "5"]) == 0
    # Five support examples before each of two steps, ten query examples after them.
    assert json.loads((run / "evaluation.json").read_text())["env_steps"] == 3 * (2 * 5 + 10)
