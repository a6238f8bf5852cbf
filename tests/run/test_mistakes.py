"""Every mistake ends with exit code 2, one message that names it, nothing written."""

from __future__ import annotations

import fake_algorithm as fake
import pytest

TRAIN = ("train", "fake.toml")

ARGUMENTS = [
    # command, what the message says
    ((), "COMMAND"),
    (("train",), "CONFIG: is missing"),
    (("train", "fake.tml"), "fake.tml: cannot be read (No such file or directory); did you mean"),
    (("train", "."), ".: cannot be read (Is a directory)"),
    (("train", "bytes.toml"), "bytes.toml: is not a text file"),
    ((*TRAIN, "--set", "algorithm.rate"), '--set: "algorithm.rate" is not an override'),
    ((*TRAIN, "--set", "rate=3"), '--set: "rate=3" is not an override'),
    ((*TRAIN, "--set", "algoritm.rate=3"), "algoritm: unknown section; did you mean algorithm?"),
    ((*TRAIN, "--set", "algorithm.rat=3"), "algorithm.rat: unknown option; did you mean rate?"),
    ((*TRAIN, "--set", "algorithm.rate=fast"), 'algorithm.rate: "fast" does not fit'),
    ((*TRAIN, "--set", "algorithm.num-tasks=0"), "algorithm.num-tasks: 0 is not possible"),
    ((*TRAIN, "--set", "algorithm.num-tasks=1\nrate=2"), "algorithm.num-tasks: "),
    ((*TRAIN, "--set", "algorithm.network=x"), "algorithm.network: takes a Python object"),
    (
        (*TRAIN, "--set", "algorithm.name=fak"),
        'algorithm.name: "fak" is unknown; did you mean fake',
    ),
    ((*TRAIN, "--set", "family.name=poin-navigation"), "did you mean point-navigation?"),
    ((*TRAIN, "--set", "family.name=3"), "family.name: 3 is not a string"),
    ((*TRAIN, "--set", "evaluate.family.scale=-1"), "evaluate.family.scale: -1.0 is not possible"),
    ((*TRAIN, "--set", "evaluate.family.name=fake"), "evaluate.family.name: cannot differ"),
    ((*TRAIN, "--set", "evaluate.family=3"), "evaluate.family: unknown option"),
    ((*TRAIN, "--set", "train.seed=-1"), "train.seed: -1 is not possible"),
    ((*TRAIN, "--set", "train.seed=4294967296"), "train.seed: 4294967296 does not fit"),
    ((*TRAIN, "--set", "train.block-size=0"), "train.block-size: 0 is not possible"),
    ((*TRAIN, "--set", "train.deep.block-size=1"), "train.deep.block-size: unknown option"),
    ((*TRAIN, "--checkpoint", "3"), "--checkpoint: says where to resume from"),
    (
        (*TRAIN, "--seeds", "0"),
        "--seeds: 0 is not possible; allowed: 1 to 1000, the number of runs",
    ),
    ((*TRAIN, "--seeds", "20240101"), "run of one seed is --set train.seed=SEED"),
    ((*TRAIN, "--seeds", "0", "3", "3"), "--seeds: 3 is there twice"),
    (
        (*TRAIN, "--seeds", "0", "-3"),
        "train.seed: -3 is not possible; allowed: a number, at least 0",
    ),
    ((*TRAIN, "--seeds", "0", "3", "--set", "train.seed=1"), "--set train.seed=1: says one seed"),
    ((*TRAIN, "--seeds", "2", "--checkpoint", "3"), "--checkpoint: is of one run"),
    ((*TRAIN, "--seeds", "2", "--resume", "--overwrite"), "--resume: cannot be given together"),
    (("train", "--seeds", "2"), "CONFIG: is missing; --seeds trains one config"),
    (("train", "--seeds", "2", "fake.toml"), '"fake.toml" is no integer; CONFIG stands before'),
    ((*TRAIN, "--resume"), "--run-dir runs/fake-seed-0: holds no run to resume"),
    ((*TRAIN, "--resume", "--overwrite"), "--resume: cannot be given together"),
    (("train", "--resume"), "CONFIG: is missing; with --resume, name the run"),
    ((*TRAIN, "--run-dir", "fake.toml"), "--run-dir fake.toml: is in use and holds no run"),
    ((*TRAIN, "--run-dir", ".", "--overwrite"), "--run-dir .: is in use and holds no run"),
    (("evaluate", "nowhere"), "nowhere: is not a run directory"),
    (("evaluate", ".", "--num-tasks", "many"), "is not a run directory"),
    (("evaluate", ".", "--checkpoint", "last"), "--checkpoint"),
    (("plot", "nowhere"), "nowhere: is not a run directory"),
    (("trian",), 'COMMAND: "trian" is unknown; did you mean train? allowed: train'),
    (("--resume", *TRAIN), "--resume: stands after the command: metajax train --resume"),
    (
        ("--ressume", *TRAIN),
        "--ressume: is not an option of metajax; allowed: --help, --import, --ve",
    ),
    (("evaluate", ".", "-1"), "-1: is one argument too many; see metajax evaluate --help"),
    (
        (*TRAIN, "--num-iterations", "3"),
        "--num-iterations: is a setting of the config: --set train.num-iterations=VALUE",
    ),
    (
        (*TRAIN, "--sed", "3"),
        "--sed: is not an option of metajax train; did you mean --seeds? allowed",
    ),
    (
        ("evaluate", ".", "--num_tasks=3"),
        "--num_tasks: is not an option of metajax evaluate; did you",
    ),
    ((*TRAIN, "--import", "toys"), "--import: stands before the command: metajax --import MODULE"),
    ((*TRAIN, "fake.toml"), "fake.toml: is one argument too many; see metajax train --help"),
    (("evaluate", ".", "--set", "train.seed=1"), "--set train.seed=1: allowed: evaluate.NAME="),
    (("list", "mam"), 'NAME: "mam" is unknown; did you mean maml?'),
    (("list", "mam", "--json"), 'NAME: "mam" is unknown; did you mean maml?'),
]

CONFIGS = [
    # text, what the message says
    ("", "family.name: is missing; allowed: "),
    ("[family\n", "bad.toml: is not valid TOML: "),
    ("family = 3", "family: 3 is not a section"),
    ("[famly]\nname = 'fake'", "famly: unknown section; did you mean family?"),
    ("num-tasks = 3", "num-tasks: unknown section; allowed: family, algorithm"),
    ("[family]\nname = 'fake'", "algorithm.name: is missing; allowed: "),
    ("[family]\nname = 'fake'\nscale = 'big'", 'family.scale: "big" does not fit'),
    ("[family]\nname = 'fake'\nscale = 0", "family.scale: 0.0 is not possible"),
    (fake.CONFIG + "[evaluate.famly]\nscale = 1", "evaluate.famly: unknown option"),
    (fake.CONFIG.replace("num-tasks", "num-taks"), "evaluate.num-taks: unknown option; did you"),
    (fake.CONFIG.replace("12", "1.5"), "train.num-iterations: 1.5 does not fit"),
    (fake.CONFIG.replace("12", "'12'"), 'train.num-iterations: "12" does not fit'),
    (fake.CONFIG.replace("12", "1979-05-27"), "train.num-iterations: "),
    (fake.CONFIG.replace("12", "12\nnum_iterations = 3"), "train.num-iterations: is set twice"),
    (fake.CONFIG.replace("12", "12\nnum-iterations = 3"), "bad.toml: is not valid TOML"),
    (
        "[family]\nname = 'cartpole'\n[algorithm]\nname = 'maml'\nhorizon = 8\n"
        "[evaluate.family]\nepisode-length = 5",
        "algorithm.horizon: 8 is not possible; allowed: 1 to the episode length of cartpole, 5",
    ),
    (fake.CONFIG.replace("4", "[4]"), "train.checkpoint-every: [4] does not fit"),
    (
        fake.CONFIG.replace("4", "99999999999999999999"),
        "does not fit; allowed: an integer of at most",
    ),
]


def contents(path):
    return {one: one.stat().st_mtime_ns for one in path.rglob("*")}


def assert_refused(result, message):
    assert result.code == 2
    assert message in result.err
    assert result.err.startswith("metajax: ")
    assert result.err.count("\n") == 1
    assert result.out == ""


@pytest.mark.parametrize(("arguments", "message"), ARGUMENTS)
def test_arguments(command, workplace, arguments, message):
    (workplace / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    before = contents(workplace)
    assert_refused(command(*arguments), message)
    assert contents(workplace) == before


@pytest.mark.parametrize(("text", "message"), CONFIGS)
def test_config(command, workplace, text, message):
    (workplace / "bad.toml").write_text(text)
    before = contents(workplace)
    assert_refused(command("train", "bad.toml"), message)
    assert contents(workplace) == before


@pytest.mark.parametrize("backend", ["tensorboard", "wandb"])
def test_backend_that_is_not_installed(command, workplace, monkeypatch, backend):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    before = contents(workplace)
    result = command(*TRAIN, "--set", f"train.{backend}=true")
    assert_refused(result, f"train.{backend}: needs the package")
    assert f"make install EXTRAS={backend}" in result.err
    assert contents(workplace) == before
