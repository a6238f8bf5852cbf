"""The throughput benchmark: what it prints, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from metajax.cli import main
from metajax.experiments import throughput

SMALL = ["--streams", "3", "--horizon", "5", "--hidden-sizes", "8"]
SMALL += ["--repeats", "5", "--iterations", "2"]
KEYS = {
    "env_steps_per_second",
    "compile_seconds",
    "fraction_of_matmul_ceiling",
    "peak_memory_bytes",
    "setting",
    "environment",
}


def _lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.slow
def test_json_has_one_object_a_line(capsys, tmp_path):
    plot, output = tmp_path / "throughput.png", tmp_path / "records.jsonl"
    arguments = ["--num-tasks", "2", "4", "--devices", "2", "--json", *SMALL]
    code = main(["bench", *arguments, "--plot", str(plot), "--output", str(output)])
    assert code == 0
    records = _lines(capsys.readouterr().out)
    assert _lines(output.read_text()) == records
    assert plot.stat().st_size > 0
    assert [record["setting"]["num-tasks"] for record in records] == [2, 4]
    for record in records:
        assert set(record) >= KEYS
        assert record["setting"]["devices"] == 2
        # No episode of 5 steps gets to its goal from the origin in fewer than 1.
        assert 1 <= record["env_steps_per_iteration"] <= record["setting"]["num-tasks"] * 2 * 15
        assert record["env_steps_per_second_min"] <= record["env_steps_per_second"]
        assert record["env_steps_per_second"] <= record["env_steps_per_second_max"]
        assert 0 < record["fraction_of_matmul_ceiling"] < 1
        assert record["compile_seconds"] > record["lower_seconds"] > 0
        assert record["peak_memory_bytes"] > record["baseline_memory_bytes"] > 0
    assert "5" in throughput.table(records)


@pytest.mark.slow
def test_the_command_prints_a_table():
    arguments = ["--algorithm", "reptile", "--num-tasks", "2", "--set", "inner-steps=1", *SMALL]
    arguments += ["--yardstick", "fomaml"]
    done = subprocess.run(
        [sys.executable, "-m", "metajax", "bench", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("reptile, family point-navigation, num-streams 3")
    assert "env steps/s" in done.stdout
    assert "times its yardstick" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--algorithm", "mamll"], "algorithm.name: "),
        (["--family", "point-navigatoin"], "did you mean point-navigation?"),
        (["--set", "inner-step=1"], "did you mean inner-steps?"),
        (["--set", "family.episode-length=0"], "family.episode-length: 0 is not possible"),
        (["--yardstick", "mamll"], '--yardstick: "mamll" is neither a file nor an algorithm'),
        (["--inner-steps", "-1"], "algorithm.inner-steps: -1 is not possible"),
        (["--num-tasks", "0"], "allowed: at least 1"),
        (["--repeats", "many"], "--repeats"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_mistakes(capsys, arguments, message):
    assert main(["bench", *arguments]) == 2
    assert message in capsys.readouterr().err


def _ended(monkeypatch, *outcomes):
    """Lets measurements end as given: a record, or an exit code and the last words."""
    left = list(outcomes)

    def run(command, **_):
        outcome = left.pop(0)
        if isinstance(outcome, dict):
            return subprocess.CompletedProcess(command, 0, json.dumps(outcome), "")
        return subprocess.CompletedProcess(command, outcome[0], "", outcome[1])

    monkeypatch.setattr(throughput.subprocess, "run", run)


@pytest.mark.parametrize("outcome", [(3, "out of memory: needs 9 GiB\n"), (-9, "")])
def test_a_sweep_ends_where_memory_does(monkeypatch, capsys, outcome):
    record = {"setting": {"num-tasks": 40}}
    _ended(monkeypatch, record, outcome)
    assert main(["bench", "--sweep", "--json"]) == 0
    captured = capsys.readouterr()
    assert _lines(captured.out) == [record]
    assert "out of memory" in captured.err
    assert "the sweep ends here" in captured.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "file/records.jsonl"], "--output: file/records.jsonl cannot be written"),
        (["--output", "."], "--output: . cannot be written (Is a directory)"),
        (["--plot", "file/speed.png"], "--plot: file/speed.png cannot be written"),
        (["--plot", "speed.pgn"], '--plot: "speed.pgn" is no picture; allowed endings: '),
    ],
)
def test_what_cannot_be_written_is_said_before_the_measurement(
    tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    _ended(monkeypatch)  # no measurement is expected
    assert main(["bench", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_keeps_what_was_measured(tmp_path, monkeypatch, capsys):
    def full(path, record):
        raise OSError(28, "No space left on device", path)

    monkeypatch.setattr(throughput.records, "append", full)
    record = {"setting": {"num-tasks": 40}}
    _ended(monkeypatch, record)
    output = str(tmp_path / "records.jsonl")
    assert main(["bench", "--sweep", "--json", "--output", output]) == 1
    captured = capsys.readouterr()
    assert _lines(captured.out) == [record]
    assert "records.jsonl cannot be written (No space left on device)" in captured.err


def test_a_measurement_that_fails_says_why(monkeypatch, capsys):
    _ended(monkeypatch, (1, "Traceback ...\nValueError: no such thing\n"))
    assert main(["bench"]) == 1
    assert "ValueError: no such thing" in capsys.readouterr().err


def test_host_devices_and_no_compilation_cache(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_a=1 --xla_force_host_platform_device_count=7")
    kept, chosen = throughput._environment(None), throughput._environment(3)
    assert kept["XLA_FLAGS"].endswith("device_count=7")
    assert chosen["XLA_FLAGS"] == "--xla_a=1 --xla_force_host_platform_device_count=3"
    assert chosen["JAX_ENABLE_COMPILATION_CACHE"] == "false"
