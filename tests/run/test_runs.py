"""Training into a directory: metrics, checkpoints, resuming, and what goes wrong."""

from __future__ import annotations

import errno
import json
import pathlib
import shutil
import signal
import sys
import time
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import metajax
from metajax.core.options import OptionError
from metajax.run import checkpoints, console, extensions, loop, meta_test
from metajax.run.config import parse
from metajax.run.directory import RunDirectory

TRAIN = ("train", "fake.toml", "--run-dir", "run")
RESUME = ("train", "--run-dir", "run", "--resume")


def lines(path):
    """``metrics.jsonl`` without what depends on the clock, and without the id of the run."""
    records = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in one.items() if k not in ("seconds", "run")} for one in records]


def arrays(path, iteration):
    return checkpoints._read_arrays((path / "checkpoints" / f"{iteration:08d}" / "state").resolve())


def assert_same_run(one, other, iteration=12):
    assert lines(one) == lines(other)
    a, b = arrays(one, iteration), arrays(other, iteration)
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].tobytes() == b[name].tobytes(), name


_WHOLE: list = []


@pytest.fixture
def whole(command, workplace, tmp_path_factory):
    """A run that nothing has interrupted: trained once, copied for each test."""
    if not _WHOLE:
        path = tmp_path_factory.mktemp("whole") / "whole"
        result = command("train", "fake.toml", "--run-dir", path)
        assert result.code == 0, result.err
        _WHOLE.append(path)
    return pathlib.Path(shutil.copytree(_WHOLE[0], workplace / "whole"))


def test_metrics_of_runs_as_a_frame(whole, monkeypatch):
    assert repr(metajax.load_run(whole)) == "LoadedRun(fake on fake, seed 0, iteration 12)"
    frame = metajax.load_metrics([whole, whole])
    assert list(frame.iteration) == 2 * list(range(1, 13))
    assert set(frame.run) == {str(whole)}
    assert {"run", "algorithm", "family", "seed", "returns_0", "returns_1"} <= {*frame.columns}
    assert frame.returns_1.tolist()[:12] == [one["returns"][1] for one in lines(whole)]
    assert len(metajax.load_metrics(whole)) == 12
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(OptionError, match="pandas: is needed for a frame and not installed"):
        metajax.load_metrics(whole)


def test_run_directory(whole, command):
    names = {path.name for path in whole.iterdir()}
    assert names >= {"config.toml", "metrics.jsonl", "checkpoints", "evaluation.json"}
    assert checkpoints.iterations(whole / "checkpoints") == [4, 8, 12]
    records = lines(whole)
    assert [one["iteration"] for one in records] == list(range(1, 13))
    assert records[-1]["env_steps"] == 120
    assert len(records[0]["returns"]) == 2
    evaluation = json.loads((whole / "evaluation.json").read_text())
    assert np.shape(evaluation["returns"]) == (4, 2)
    assert len(evaluation["mean"]) == 2
    assert evaluation["checkpoint"] == 12


def test_only_the_latest_checkpoints_are_kept(command, workplace):
    command(*TRAIN, "--set", "train.checkpoint-every=2", "--set", "train.keep-checkpoints=2")
    assert checkpoints.iterations(workplace / "run" / "checkpoints") == [10, 12]


def test_blocks_do_not_change_the_result(whole, command, workplace):
    command(*TRAIN, "--set", "train.block-size=3")
    assert_same_run(whole, workplace / "run")


def test_json_is_one_object(command):
    result = command(*TRAIN, "--json")
    record = json.loads(result.out)
    assert record["iteration"] == 12
    assert record["env_steps"] == 120
    assert len(record["evaluation"]["mean"]) == 2
    result = command("evaluate", "run", "--checkpoint", 8, "--num-adaptations", 3, "--json")
    record = json.loads(result.out)["evaluation"]
    assert record["checkpoint"] == 8
    assert len(record["mean"]) == 4
    assert json.loads(command("plot", "run", "--json").out)["files"]


def test_a_meta_test_gets_what_the_outer_rule_deploys(command):
    """After training and in an evaluation; from trained and from random weights."""
    for arguments in ((*TRAIN, "--set", "algorithm.deployed=1000.0"), ("evaluate", "run")):
        record = json.loads(command(*arguments, "--json").out)["evaluation"]
        assert record["mean"][0] < -1e6
        assert record["from_random"][0] < -1e6


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device", "a.png"), "a.png cannot be written (No"),
        (jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: of 8 bytes"), "out of memory (RESOURCE"),
    ],
)
def test_a_picture_that_cannot_be_drawn_is_one_message(whole, command, monkeypatch, error, said):

    def fail(*arguments):
        raise error

    monkeypatch.setattr(meta_test, "draw", fail)
    for name in ("plot", "evaluate"):
        result = command(name, whole)
        assert result.code == 1
        assert said in result.err
        assert "Traceback" not in result.err


def test_a_plot_is_of_the_tasks_that_were_measured(whole, command, monkeypatch):
    drawn = []
    monkeypatch.setattr(meta_test, "draw", lambda run, config, *_: drawn.append(config) or [])
    other = ("--set", "evaluate.family.scale=3.0")
    assert command("evaluate", whole, "--seed", "5", "--mode", *other).code == 0
    assert command("plot", whole).code == 0
    assert drawn[0].evaluate == drawn[1].evaluate
    assert drawn[0].held_out == drawn[1].held_out != drawn[1].family
    assert (drawn[1].evaluate.seed, drawn[1].evaluate.explore) == (5, False)


def test_used_directory_is_refused(whole, command):
    before = {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()}
    result = command("train", "fake.toml", "--run-dir", "whole")
    assert result.code == 2
    assert "--resume" in result.err
    assert "--overwrite" in result.err
    assert before == {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()}


def test_overwrite_starts_anew_and_leaves_the_rest(whole, command, workplace):
    for name in ("notes.txt", "figure.png"):
        (whole / name).write_text("mine")
    result = command(
        "train", "fake.toml", "--run-dir", "whole", "--overwrite", "--set", "train.num-iterations=4"
    )
    assert result.code == 0
    assert checkpoints.iterations(whole / "checkpoints") == [4]
    assert len(lines(whole)) == 4
    for name in ("notes.txt", "figure.png"):
        assert (whole / name).read_text() == "mine"


def test_all_that_a_run_wrote_is_cleared(whole):
    run = RunDirectory(whole)
    for path in run.pictures.values():
        path.touch()
    run.clear()
    assert {path.name for path in whole.iterdir()} <= {"lock"}


def test_steps_that_a_mean_left_just_below_are_rounded(command, workplace, monkeypatch):
    original = loop._Blocks._records

    def records(self, reached, infos):
        counts = np.nextafter(infos["env_steps"].astype(np.float32), np.float32(0))
        return original(self, reached, {**infos, "env_steps": counts})

    monkeypatch.setattr(loop._Blocks, "_records", records)
    assert command(*TRAIN, "--set", "train.num-iterations=2").code == 0
    assert [one["env_steps"] for one in lines(workplace / "run")] == [10, 20]


def test_directory_in_use_is_refused(command, workplace):
    run = RunDirectory(workplace / "run")
    run.claim()
    (workplace / "run" / "config.toml").write_text((workplace / "fake.toml").read_text())
    result = command(*RESUME)
    assert result.code == 2
    assert "another process" in result.err
    run.release()
    assert command(*RESUME).code == 0


def test_directory_that_cannot_be_created_is_one_message(command, workplace):
    (workplace / "file").write_text("mine")
    result = command("train", "fake.toml", "--run-dir", "file/run")
    assert result.code == 1
    assert "cannot be written (Not a directory)" in result.err
    assert "Traceback" not in result.err


def test_longer_run_continues(whole, command, workplace):
    assert command(*TRAIN, "--set", "train.num-iterations=6").code == 0
    assert command(*RESUME, "--set", "train.num-iterations=12").code == 0
    assert_same_run(whole, workplace / "run")


@pytest.mark.parametrize(
    ("override", "field"),
    [
        ("algorithm.rate=0.2", "algorithm.rate"),
        ("family.scale=2", "family.scale"),
        ("train.seed=3", "train.seed"),
        ("train.num-iterations=3", "train.num-iterations"),
    ],
)
def test_another_run_is_not_a_continuation(whole, command, override, field):
    before = (whole / "config.toml").read_text()
    result = command("train", "--run-dir", "whole", "--resume", "--set", override)
    assert result.code == 2
    assert field in result.err
    assert (whole / "config.toml").read_text() == before


def test_what_only_changes_rounding_may_change_when_a_run_goes_on():
    settings = ["microbatch=1", "gradient-microbatch=1", "devices=1"]
    text = '[family]\nname = "point-navigation"\n[algorithm]\nname = "maml"\nnum-tasks = 4\n'
    before, now = (parse(text, [f"algorithm.{one}" for one in some]) for some in ([], settings))
    loop.check_continuation(before, now, 0)
    with pytest.raises(OptionError, match=r"algorithm\.num-tasks"):
        loop.check_continuation(before, parse(text, ["algorithm.num-tasks=2"]), 0)
    text = '[family]\nname = "cartpole"\n[algorithm]\nname = "dqn"\n'
    loop.check_continuation(parse(text), parse(text, ["algorithm.buffer-budget=1e10"]), 0)


def test_memory_that_does_not_suffice_for_the_meta_test_is_said(whole, command, monkeypatch):
    def fill(*_):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.")

    monkeypatch.setattr(meta_test, "meta_test", fill)
    result = command("evaluate", "whole")
    assert result.code == 1
    assert "metajax: out of memory (RESOURCE_EXHAUSTED: Out of memory" in result.err
    assert "microbatch" not in result.err


def test_a_meta_test_that_is_not_possible_is_refused_before_training(command, workplace):
    text = """
[family]
name = "bernoulli-bandit"
num-arms = 5
[algorithm]
name = "rl2"
num-tasks = 4
hidden-size = 4
[train]
num-iterations = 1
"""
    (workplace / "bandit.toml").write_text(text)
    for override, message in (
        ("evaluate.family.num-arms=10", "evaluate.family: bernoulli-bandit has action_space"),
        ("evaluate.num-adaptations=3", "evaluate.num-adaptations: 3 is not possible; allowed: 0"),
    ):
        result = command("train", "bandit.toml", "--run-dir", "run", "--set", override)
        assert result.code == 2
        assert message in result.err
        assert not (workplace / "run").exists()


@pytest.mark.parametrize("point", ["metrics", "arrays", "rename"])
def test_killed_run_continues_bit_for_bit(whole, command, process, workplace, point):
    child = process(*TRAIN, FAKE_KILL=point)
    child.communicate(timeout=120)
    assert child.returncode == -signal.SIGKILL
    assert len(lines_or_none(workplace / "run")) < 12
    result = command(*RESUME)
    assert result.code == 0, result.err
    assert_same_run(whole, workplace / "run")
    assert {path.name for path in (workplace / "run").iterdir()} == {
        path.name for path in whole.iterdir()
    }
    assert sorted(path.name for path in (workplace / "run" / "checkpoints").iterdir()) == sorted(
        path.name for path in (whole / "checkpoints").iterdir()
    )


def lines_or_none(path):
    return (path / "metrics.jsonl").read_text().splitlines()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_saves_and_exits(whole, command, process, workplace, number):
    child = process(*TRAIN, FAKE_SLOW="1")
    wait_for(workplace / "run" / "metrics.jsonl")
    child.send_signal(number)
    _, err = child.communicate(timeout=120)
    assert child.returncode == 128 + number
    assert "metajax train --run-dir run --resume" in err
    assert "Traceback" not in err
    reached = checkpoints.iterations(workplace / "run" / "checkpoints")[-1]
    assert 0 < reached < 12
    assert len(lines(workplace / "run")) == reached
    assert command(*RESUME).code == 0
    assert_same_run(whole, workplace / "run")


def test_second_ctrl_c_exits_at_once(process, workplace):
    child = process(*TRAIN, FAKE_SLOW="1", FAKE_SLOW_SECONDS="30")
    wait_for(workplace / "run" / "lock")
    for line in child.stderr:
        if "waiting" in line:
            break
    child.send_signal(signal.SIGINT)
    time.sleep(0.2)
    began = time.monotonic()
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert err.endswith("stopped immediately; there is no checkpoint yet\n")
    assert time.monotonic() - began < 5


def wait_for(path, seconds=60):
    for _ in range(seconds * 50):
        if path.exists():
            return
        time.sleep(0.02)
    raise AssertionError(f"{path} did not appear")


@pytest.mark.parametrize("where", ["theta", "loss"])
def test_nan_stops_the_run(command, workplace, where):
    result = command(*TRAIN, "--set", "algorithm.nan-at=7", "--set", f"algorithm.nan-in={where}")
    assert result.code == 1
    # A metric names the iteration; theta is looked at when the block ends.
    said = {"loss": "iteration 7", "theta": "iteration 8"}
    assert said[where] in result.err.splitlines()[-1]
    assert "checkpoint 4 is the last good one" in result.err
    assert "Traceback" not in result.err
    assert checkpoints.iterations(workplace / "run" / "checkpoints") == [4]
    assert not checkpoints.damage(workplace / "run" / "checkpoints", 4)


def test_an_infinite_score_in_the_meta_test_is_an_error(command, workplace):
    result = command(*TRAIN, "--set", "algorithm.deployed=1e30")
    assert result.code == 1
    assert "return of 4 of 4 held-out tasks is not a finite number, first at 0" in result.err
    assert "Smaller learning rates" in result.err
    assert "Traceback" not in result.err
    assert checkpoints.iterations(workplace / "run" / "checkpoints")[-1] == 12
    again = command("evaluate", "run")
    assert again.code == 1
    assert "is not a finite number" in again.err
    assert not (workplace / "run" / "evaluation.json").exists()


def test_what_is_not_finite_first_is_named():
    nan, zero = np.array([0.0, np.nan]), np.zeros(2)
    every = {"entropy": nan, "gradient_norm": nan, "loss": nan, "returns": nan[:, None]}
    assert loop._first_not_finite(every) == (1, "returns")
    assert loop._first_not_finite({**every, "returns": zero[:, None]}) == (1, "loss")
    assert loop._first_not_finite({**every, "entropy": nan[::-1]}) == (0, "entropy")
    adapted = {"returns": np.stack([zero, nan], axis=1)}
    assert loop._first_not_finite(adapted) == (1, "what adaptation made or saw")
    assert loop._first_not_finite({"loss": zero}) is None


def damage_by_flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def damage_by_cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def files_of(run, iteration):
    directory = run / "checkpoints" / f"{iteration:08d}"
    return sorted(path for path in directory.rglob("*") if path.is_file() and path.stat().st_size)


@pytest.mark.parametrize("damage", [damage_by_flip, damage_by_cut, lambda path: path.unlink()])
def test_damaged_checkpoint_is_named(whole, command, damage):
    for path in files_of(whole, 12):
        kept = path.read_bytes()
        damage(path)
        result = command("evaluate", "whole")
        assert result.code == 1, path
        assert "checkpoint 12" in result.err
        assert "is damaged" in result.err
        assert "--checkpoint 8" in result.err
        assert result.err.count("\n") == 1
        path.write_bytes(kept)
    assert command("evaluate", "whole").code == 0


def test_run_continues_from_the_checkpoint_before(whole, command, workplace):
    assert command(*TRAIN).code == 0
    for iteration in (8, 12):
        damage_by_flip(files_of(workplace / "run", iteration)[-1])
    result = command(*RESUME)
    assert result.code == 1
    assert "--checkpoint 4" in result.err
    assert command(*RESUME, "--checkpoint", 4).code == 0
    assert_same_run(whole, workplace / "run")


def test_no_sound_checkpoint(command, workplace):
    command(*TRAIN, "--set", "train.num-iterations=4")
    damage_by_flip(files_of(workplace / "run", 4)[-1])
    result = command(*RESUME)
    assert result.code == 1
    assert "no earlier one is sound" in result.err


def test_an_evaluation_beside_that_of_the_run(whole, command, workplace):
    before = (whole / "evaluation.json").read_bytes()
    options = ["--set", "evaluate.num-tasks=3", "--set", "evaluate.family.scale=2.0"]
    assert command("evaluate", whole, *options, "--checkpoint", 4, "--output", "a/b").code == 0
    assert (whole / "evaluation.json").read_bytes() == before
    record = json.loads((workplace / "a" / "b" / "evaluation.json").read_text())
    assert record["checkpoint"] == 4
    assert record["config"]["evaluate"]["num-tasks"] == 3
    assert record["config"]["evaluate.family"] == {"scale": 2.0}
    assert (workplace / "a" / "b" / "adaptation.png").is_file()


def test_commands_to_be_typed_again(monkeypatch):
    assert console.command("evaluate", "my runs/a") == "metajax evaluate 'my runs/a'"
    monkeypatch.setattr(extensions, "_loaded", ["toys", "more.toys"])
    assert console.command("list") == "metajax --import toys --import more.toys list"


def test_checkpoint_that_is_not_there(whole, command):
    result = command("evaluate", "whole", "--checkpoint", 5)
    assert result.code == 2
    assert "--checkpoint: 5 is not there" in result.err
    assert "4, 8, 12" in result.err


def test_a_run_is_used_from_python(whole):
    run = metajax.load_run(whole)
    assert run.iteration == 12
    assert run.config.train.num_iterations == 12
    measured = meta_test.meta_test(run.config, run.algorithm, run.family, run.state.theta)
    recorded = json.loads((whole / "evaluation.json").read_text())
    np.testing.assert_allclose(measured.mean(), recorded["mean"], rtol=1e-6)
    before = metajax.load_run(whole, checkpoint=4)
    assert before.iteration == 4
    assert not np.array_equal(before.state.theta["w"], run.state.theta["w"])


def test_a_run_that_cannot_be_used_from_python(whole, workplace):
    with pytest.raises(metajax.OptionError, match="is not a run directory"):
        metajax.load_run(workplace / "nowhere")
    with pytest.raises(metajax.CheckpointError, match=r"no checkpoint 5 in .*; kept: 4, 8, 12"):
        metajax.load_run(whole, checkpoint=5)
    shutil.rmtree(whole / "checkpoints")
    with pytest.raises(metajax.CheckpointError, match="no checkpoint; let it train"):
        metajax.load_run(whole)


def test_a_full_disk_at_the_start_leaves_nothing_in_the_way(command, workplace, monkeypatch):
    def full(run, config):
        (run.path / "config.toml.unfinished").touch()
        raise OSError(errno.ENOSPC, "No space left on device", str(run.config))

    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "write_config", full)
        result = command(*TRAIN)
    assert result.code == 1
    assert "config.toml cannot be written (No space left on device); nothing was" in result.err
    assert command(*TRAIN).code == 0


@pytest.mark.parametrize("what", ["arrays", "metrics", "manifest"])
def test_full_disk_keeps_the_checkpoint_before(whole, command, workplace, monkeypatch, what):
    owner, name = {
        "arrays": (checkpoints, "_write_arrays"),
        "manifest": (checkpoints, "_write_manifest"),
        "metrics": (RunDirectory, "append_metrics"),
    }[what]
    original, calls = getattr(owner, name), []

    def fill(*arguments):
        calls.append(arguments)
        if len(calls) > (3 if what == "metrics" else 1):
            raise OSError(errno.ENOSPC, "No space left on device", "here")
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, fill)
        result = command(*TRAIN)
    assert result.code == 1
    message = result.err.splitlines()[-1]
    assert "No space left on device" in message
    assert "checkpoint 4 is kept" in message
    assert "Traceback" not in result.err
    directory = workplace / "run" / "checkpoints"
    assert checkpoints.iterations(directory) == [4]
    assert not checkpoints.damage(directory, 4)
    assert command(*RESUME).code == 0
    assert_same_run(whole, workplace / "run")


def test_checkpoint_holds_every_kind_of_leaf(tmp_path):
    state = {
        "key": jax.random.key(3),
        "keys": jax.random.split(jax.random.key(1), 4),
        "half": jnp.ones(3, jnp.bfloat16),
        "flag": jnp.array(True),
        "count": jnp.uint32(7),
        "empty": jnp.zeros((0, 2)),
        "nothing": (),
        "a/b.c": {"['d']": jnp.float32(0.1)},
    }
    checkpoints.save(tmp_path, 1, state, keep=1)
    again = checkpoints.restore(tmp_path, 1, jax.eval_shape(lambda: state))
    assert jax.tree.structure(again) == jax.tree.structure(state)
    for one, other in zip(jax.tree.leaves(again), jax.tree.leaves(state), strict=True):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        assert jax.numpy.array_equal(_raw(one), _raw(other))


def _raw(leaf):
    is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return jax.random.key_data(leaf) if is_key else leaf


@pytest.mark.parametrize("template", [{"a": jnp.zeros(3)}, {"b": jnp.zeros(2)}, {}])
def test_checkpoint_of_another_structure(tmp_path, template):
    checkpoints.save(tmp_path, 1, {"a": jnp.zeros(2)}, keep=1)
    with pytest.raises(checkpoints.CheckpointError, match="belongs to another configuration"):
        checkpoints.restore(tmp_path, 1, template)


def test_finished_run_is_measured_again(whole, command):
    (whole / "evaluation.json").unlink()
    assert command("train", "--run-dir", "whole", "--resume").code == 0
    assert (whole / "evaluation.json").exists()
    assert len(lines(whole)) == 12


def test_interrupted_meta_test_keeps_the_training(command, workplace, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(meta_test, "meta_test", interrupt)
    result = command(*TRAIN)
    assert result.code == 130
    assert "checkpoint 12 is kept" in result.err


def test_wandb_takes_every_line(command, workplace, monkeypatch):
    logged = []
    run = types.SimpleNamespace(
        log=lambda values, step: logged.append((step, values)), finish=lambda: logged.append("end")
    )
    begun = []

    def init(**options):
        begun.append(options["id"])
        return run

    wandb = types.SimpleNamespace(init=init, __spec__=object())
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    assert command(*TRAIN, "--set", "train.wandb=true").code == 0
    assert logged.pop() == "end"
    assert [step for step, _ in logged] == list(range(1, 13))
    assert {"returns/0", "returns/1", "loss", "env_steps", "seconds"} <= set(logged[0][1])
    # A longer run is the same one, a run in its place another.
    assert command(*RESUME, "--set", "train.num-iterations=13").code == 0
    assert command(*TRAIN, "--overwrite", "--set", "train.wandb=true").code == 0
    assert begun[0] == begun[1] != begun[2]


def test_tensorboard_files_appear(command, workplace):
    pytest.importorskip("tensorboardX")
    assert command(*TRAIN, "--set", "train.tensorboard=true").code == 0
    assert list((workplace / "run" / "tensorboard").iterdir())


def _damage_line(path, number, change):
    lines = path.read_bytes().split(b"\n")
    lines[number - 1] = change(lines[number - 1])
    path.write_bytes(b"\n".join(lines))


@pytest.mark.parametrize(
    "change",
    [
        lambda line: line[:20],
        lambda line: b"\xff" + line,
        lambda line: b"7",
        lambda line: line.replace(b'"iteration"', b'"iterat"'),
        lambda line: line.replace(b'"iteration": ', b'"iteration": 9'),
    ],
)
def test_a_damaged_line_of_metrics_erases_no_other(whole, change):
    run = RunDirectory(whole)
    before = run.read_metrics()
    for number in (5, 11):
        _damage_line(run.metrics, number, change)
    kept = [one for one in before if one["iteration"] not in (5, 11)]
    lines = run.metrics.read_bytes().split(b"\n")
    said = []
    assert run.cut_metrics(12, said.append) == kept[-1]
    assert run.read_metrics() == kept
    assert "metrics.jsonl: 2 damaged lines (5, 11) are set aside" in said[0]
    aside = (whole / "metrics.jsonl.damaged").read_bytes().split(b"\n")
    assert aside == [lines[4], lines[10], b""]
    # Once is enough.
    assert run.cut_metrics(10, said.append) == kept[-2]
    assert len(said) == 1


def test_a_run_with_a_damaged_line_goes_on(whole, command):
    _damage_line(whole / "metrics.jsonl", 12, lambda line: line[:20])
    result = command("train", "--run-dir", whole, "--resume", "--set", "train.num-iterations=14")
    assert result.code == 0
    said = "metrics.jsonl: damaged line 12 is set aside in metrics.jsonl.damaged; the rest is kept"
    assert said in result.err
    kept = lines(whole)
    assert [one["iteration"] for one in kept] == [*range(1, 12), 13, 14]
    assert kept[-1]["env_steps"] == 140  # the checkpoint knows the steps of the line that is gone


def test_lines_that_a_killed_run_had_not_finished_are_no_damage(whole):
    run, said = RunDirectory(whole), []
    with open(run.metrics, "ab") as file:
        file.write(b'{"iteration": 13, "lo')
    assert run.cut_metrics(8, said.append)["iteration"] == 8
    assert run.cut_metrics(0, said.append) == {}
    assert not said
    assert not (whole / "metrics.jsonl.damaged").exists()
