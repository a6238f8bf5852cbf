"""What a run may find in the place of its files, or of its arguments: one message, no wait."""

from __future__ import annotations

import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import time

import fake_algorithm as fake
import jax
import pytest

from metajax.run import checkpoints, config, signals
from metajax.run.directory import RunDirectory

DEEP = "[" * 100_000
EVALUATION = {
    "axis": "adaptations",
    "score": "return",
    "explore": True,
    "env_steps": 3,
    "steps": None,
    "checkpoint": 4,
    "returns": [[0.0, 1.0]] * 2,
    "from_random": {"returns": [[0.0, 1.0]] * 2, "env_steps": 3},
    "config": {"family": {"name": "fake", "scale": 1.0}, "evaluate": {"num-tasks": 4}},
}


_WHOLE: list[pathlib.Path] = []


@pytest.fixture
def run(workplace, tmp_path_factory) -> RunDirectory:
    """A run that nobody has trained: written once, copied for each test."""
    if not _WHOLE:
        _WHOLE.append(tmp_path_factory.mktemp("whole"))
        whole = RunDirectory(_WHOLE[0])
        whole.write_config(config.parse(fake.CONFIG))
        algorithm, _ = config.parse(fake.CONFIG).build()
        checkpoints.save(whole.checkpoints, 4, algorithm.init(jax.random.key(0)), keep=3)
        whole.append_metrics([{"iteration": number, "returns": [0.0, 1.0]} for number in (1, 2)])
        whole.write_evaluation(EVALUATION)
    return RunDirectory(shutil.copytree(_WHOLE[0], workplace / "run"))


def assert_said(result, *words):
    assert result.code in (1, 2)
    assert "Traceback" not in result.err
    line = result.err.splitlines()[-1]
    assert line.startswith("metajax: ")
    assert len(line) < 500
    assert line.isprintable()
    for one in words:
        assert one in line


def test_the_run_is_sound(run, command):
    result = command("plot", "run")
    assert result.code == 0, result.err


def changed(**values):
    return {**EVALUATION, **values}


@pytest.mark.parametrize(
    "found",
    [
        *(3, None, [], [1], "text", {}, DEEP, "1" * 5000),
        changed(returns=3),
        changed(returns=[1, 2]),
        changed(returns=[[1, 2], [3]]),
        changed(returns=[[]]),
        changed(returns=[[{}, 2.0]]),
        changed(axis="nowhere"),
        changed(axis=[1]),
        changed(steps=[0, 1, 2]),
        changed(steps=[1e400, 0]),
        changed(checkpoint="last"),
        changed(checkpoint=1e400),
        changed(from_random=[1]),
        changed(from_random=None),
        changed(config=[1]),
        changed(config={"family": 3, "evaluate": {}}),
        changed(config={"family": {"name": "fake"}, "evaluate": {"num-tasks": 0}}),
    ],
    ids=lambda given: str(given)[:30],
)
def test_an_evaluation_of_another_shape(run, command, found):
    run.evaluation.write_text(found if isinstance(found, str) else json.dumps(found))
    assert_said(command("plot", "run"), "is damaged; write it again: metajax evaluate ")


@pytest.mark.parametrize(
    "line",
    [
        *("3", "null", "[1]", '"text"', "{}", DEEP, "1" * 5000, '{"iteration": "3"}'),
        '{"iteration": 3, "env_steps": "many"}',
        '{"iteration": 3, "env_steps": 1e400}',
        '{"iteration": 3, "seconds": [1]}',
    ],
    ids=lambda given: str(given)[:30],
)
def test_a_line_of_metrics_of_another_shape_ends_them(run, line):
    with run.metrics.open("a") as file:
        file.write(line + "\n")
    assert [one["iteration"] for one in run.read_metrics()] == [1, 2]
    assert run.cut_metrics(9)["iteration"] == 2


@pytest.mark.parametrize("returns", [[1], [[1, 2], [3, 4]], 3, {"a": 1}, "text", [None, "x"]])
def test_returns_while_training_of_another_shape(run, command, returns):
    run.append_metrics([{"iteration": 3, "returns": returns}])
    assert_said(command("plot", "run"), "metrics.jsonl holds something of another shape")


@pytest.mark.parametrize("name", ["/dev/zero", "a\0b", "pipe", "../../config.toml", "", "nothing"])
def test_a_manifest_that_names_what_is_not_of_the_checkpoint(run, command, name):
    os.mkfifo(run.checkpoints / "00000004" / "pipe")
    manifest = {"iteration": 4, "files": {name: "0"}}
    manifest["digest"] = checkpoints._digest_of(manifest)
    (run.checkpoints / "00000004" / "manifest.json").write_text(json.dumps(manifest))
    assert_said(command("evaluate", "run"), "checkpoint 4", "is damaged", "is missing")


@pytest.mark.parametrize(
    "text", [DEEP, "[1]", '{"files": []}', "3"], ids=lambda given: str(given)[:30]
)
def test_a_manifest_of_another_shape(run, command, text):
    (run.checkpoints / "00000004" / "manifest.json").write_text(text)
    assert_said(command("evaluate", "run"), "is damaged: manifest.json has changed")


PLACES = [
    ("config.toml", ("evaluate", "run"), "is not a run directory: it has no readable config.toml"),
    ("evaluation.json", ("plot", "run"), "run: has no evaluation to plot"),
    ("checkpoints/00000004/manifest.json", ("evaluate", "run"), "(Not a regular file)"),
    ("metrics.jsonl", ("plot", "run"), "metrics.jsonl"),
]


@pytest.mark.parametrize(("place", "words", "message"), PLACES)
def test_a_pipe_or_a_device_in_the_place_of_a_file(run, command, place, words, message):
    for put in (os.mkfifo, lambda path: path.symlink_to("/dev/zero")):
        (run.path / place).unlink()
        put(run.path / place)
        assert_said(command(*words), message)


@pytest.mark.parametrize("path", ["pipe", "/dev/zero"])
def test_a_config_that_is_no_file(command, workplace, path):
    os.mkfifo(workplace / "pipe")
    assert_said(command("train", path), "cannot be read (Not a regular file)")


def test_a_directory_among_the_checkpoints_whose_name_is_no_number(run):
    for name in ("²", "٤", "4", "00000004x", "0000000"):
        (run.checkpoints / name).mkdir()
    assert checkpoints.iterations(run.checkpoints) == [4]


@pytest.mark.parametrize(
    "command_line", [("evaluate", "run"), ("train", "--run-dir", "run", "--resume")]
)
def test_checkpoints_that_may_not_be_read(run, command, monkeypatch, command_line):
    iterdir = type(run.path).iterdir

    def refuse(path):
        if path.name == "checkpoints":
            raise PermissionError(13, "Permission denied", str(path))
        return iterdir(path)

    monkeypatch.setattr(type(run.path), "iterdir", refuse)
    assert_said(command(*command_line), "run/checkpoints cannot be used (Permission denied)")


def test_arguments_that_are_empty(command, workplace):
    for words in (
        ("train", "fake.toml", "--run-dir", ""),
        ("train", "fake.toml", "--run-dir="),
        *(("train", ""), ("evaluate", ""), ("plot", ""), ("evaluate", "run", "--output", "")),
        ("export", "run", "--output", ""),
        *(("table", "toys", "--tables", ""), ("table", "toys", "--output", "")),
        *(("bench", "--output", ""), ("bench", "--plot", "")),
    ):
        assert_said(command(*words), "is empty, as a variable that is not set; allowed: a path")
    assert [path.name for path in workplace.iterdir()] == ["fake.toml"]


def test_arguments_that_are_not_text(command):
    for words in (("train", "\udcff.toml"), ("--import", "\udcff", "list"), ("list", "\udcff")):
        assert_said(command(*words), "udcff", "is not text; allowed: UTF-8")


@pytest.mark.parametrize("name", [".", "..", ".toys", "a..b", "toys.", "a/b.py", "a b"])
def test_modules_with_names_that_none_has(command, name):
    assert_said(command("--import", name, "list"), f'"{name}" is not found; allowed: a module of')


def test_a_user_without_a_home(workplace, monkeypatch):
    import pwd

    from metajax import cli

    def unknown(number):
        raise KeyError(number)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "XDG_CACHE_HOME", "JAX_COMPILATION_CACHE_DIR"):
        os.environ.pop(name, None)
    cli.prepare_jax(cache=True)
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ


def test_a_full_disk_is_one_message(tmp_path, capfd):
    """Libraries print what they meet before the error that they raise."""
    arrays = {"a": jax.numpy.ones(30_000)}
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, before[1]))
    try:
        with pytest.raises(checkpoints.CheckpointError) as error:
            checkpoints.save(tmp_path, 4, arrays, keep=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert str(error.value).endswith("(File too large); there is no checkpoint yet")
    assert capfd.readouterr().err == ""


TERMINATED = """
import time
from metajax import cli
cli._COMMANDS["list"] = lambda options: print("ready", flush=True) or time.sleep(60)
cli.main(["list"])
"""
INTERRUPTED = """
import time
from metajax.run import signals
with signals.termination(), signals.Interruption(print, lambda: "nothing is kept"):
    print("ready", flush=True)
    time.sleep(60)
"""


def ended(program: str, *numbers: int) -> tuple[int, str]:
    """Exit code and last words of a program that receives signals, one after another."""
    child = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    for number in numbers:
        assert child.stdout.readline()  # "ready", or the number of the first signal
        child.send_signal(number)
    _, err = child.communicate(timeout=10)
    return child.returncode, err


def test_sigterm_outside_of_training_is_said():
    assert ended(TERMINATED, signal.SIGTERM) == (143, "metajax: stopped by SIGTERM\n")


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_training_at_once(second):
    said = "metajax: stopped immediately; nothing is kept\n"
    assert ended(INTERRUPTED, signal.SIGTERM, second) == (128 + second, said)


def test_a_signal_that_is_to_raise_ends_nothing_else():
    def stopped():
        with signals.raising(signal.SIGTERM, InterruptedError()):
            os.kill(os.getpid(), signal.SIGTERM)

    with signals.termination():
        for _ in range(20):
            with pytest.raises(InterruptedError):
                stopped()
        time.sleep(0.05)
