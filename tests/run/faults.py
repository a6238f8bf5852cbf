"""What runs survive: kills, damaged files, planted links, races, configs that nobody would write.

    python tests/run/faults.py              # all
    python tests/run/faults.py links races  # some

Real algorithms in small sizes, through the command line. Adds one record for each kind of fault to
benchmarks/results/faults.jsonl, which docs/reliability.md shows (make tables). An attempt is

    unharmed  if it ends with the result of a run that nothing happened to, bit for bit;
    refused   if it ends with one line, under 500 characters, that says what is wrong;
    lost      if it ends otherwise: with another result, a traceback, a file outside of the run
              directory that has changed, or not within the time below.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import functools
import hashlib
import io
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from rich.progress import track
from test_fuzzed_configs import a_config

import metajax
from metajax import cli
from metajax.core.options import OptionError
from metajax.run import config, machine, records

ROOT = pathlib.Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "faults.jsonl"
LONGEST = 10.0
"""Seconds within which a command has to refuse what it is given."""

Outcomes = collections.Counter

KINDS = {
    "gradients, maml": ("point-navigation", "maml", ["num-streams=2", "horizon=5"]),
    "memory, rl2": ("bernoulli-bandit", "rl2", ["hidden-size=8", "num-minibatches=2"]),
    "lifetimes, reptile-dqn": ("catch", "reptile-dqn", ["lifetime=60", "num-points=2"]),
    "labelled examples, maml": ("sinusoid", "maml", ["num-streams=5"]),
    "evolution, es-maml": ("point-navigation", "es-maml", ["population-size=4", "horizon=5"]),
    "learned optimisers, lstm-optimizer": (
        "quadratics",
        "lstm-optimizer",
        ["inner-steps=20", "window=9"],
    ),
    "imitation, matching-imitation": ("gridnavi", "matching-imitation", []),
}
"""One algorithm of each kind: family, algorithm and sizes."""


def text_of(family: str, algorithm: str, sizes: list[str], iterations: int) -> str:
    """A config in small sizes, with a checkpoint after every fourth iteration."""
    sizes = [one.replace("=", " = ") for one in sizes]
    return "\n".join(
        [
            *("[family]", f'name = "{family}"'),
            *("[algorithm]", f'name = "{algorithm}"', "num-tasks = 2", *sizes),
            *("[train]", f"num-iterations = {iterations}", "block-size = 2"),
            *("checkpoint-every = 4", "keep-checkpoints = 3"),
            *("[evaluate]", "num-tasks = 4"),
        ]
    )


# --- Commands, and what they leave ---------------------------------------------------------


def outcome_of(path: pathlib.Path) -> str:
    """Digits of all that a run computed: its last state, its metrics, its meta-test."""
    whole = hashlib.sha256()
    for leaf in jax.tree.leaves(metajax.load_run(path).state):
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        whole.update(np.asarray(jax.random.key_data(leaf) if is_key else leaf).tobytes())
    for line in (path / "metrics.jsonl").read_text().splitlines():
        seen = {k: v for k, v in json.loads(line).items() if k not in ("seconds", "run")}
        whole.update(json.dumps(seen, sort_keys=True).encode())
    whole.update(json.dumps(json.loads((path / "evaluation.json").read_text())["returns"]).encode())
    return whole.hexdigest()


def here(*words: object) -> tuple[int, str]:
    """A command in this process: its exit code and what it wrote to standard error."""
    said = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
        try:
            code = cli.main([str(one) for one in words])
        except Exception as error:
            return -1, f"Traceback: {error!r}"
    return code, said.getvalue()


def elsewhere(*words: object) -> subprocess.Popen[str]:
    """A command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "metajax", *map(str, words)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def is_one_line(said: str) -> bool:
    """Whether a command ended with one message, and nothing of libraries before it."""
    last = (said.splitlines() or [""])[-1]
    short = len(last) < 500 and last.isprintable() and last.startswith("metajax: ")
    return short and "Traceback" not in said


def contents(path: pathlib.Path) -> dict[str, bytes]:
    """Every file below a directory."""
    return {str(one): one.read_bytes() for one in sorted(path.rglob("*")) if one.is_file()}


def judged(path: pathlib.Path, expected: str, code: int, said: str) -> str:
    """The outcome of a command that should have completed a run."""
    if code == 0:
        return "unharmed" if outcome_of(path) == expected else "lost"
    return "refused" if code in (1, 2) and is_one_line(said) else "lost"


# --- Kinds of faults ---------------------------------------------------------------------


def kills(work: pathlib.Path, draw: random.Random, kind: str, number: int = 20) -> Outcomes:
    """kill -9 at a random moment, then --resume; again and again until the run is complete."""
    (work / "kind.toml").write_text(text_of(*KINDS[kind], iterations=120))
    began = time.monotonic()
    assert elsewhere("train", work / "kind.toml", "--run-dir", work / "whole").wait() == 0
    longest = time.monotonic() - began
    run, found = work / "killed", Outcomes()
    for _ in range(number):
        more = ["--resume"] if (run / "config.toml").exists() else []
        process = elsewhere("train", work / "kind.toml", "--run-dir", run, *more)
        try:
            # A run that goes on to its end in the meantime was killed too late to harm it.
            process.wait(timeout=draw.uniform(0, longest))
        except subprocess.TimeoutExpired:
            process.kill()
        assert process.stderr is not None
        said = process.stderr.read()
        process.wait()
        found["lost" if "Traceback" in said else "killed"] += 1
    code, said = here("train", work / "kind.toml", "--run-dir", run, "--resume")
    end = judged(run, outcome_of(work / "whole"), code, said)
    return Outcomes({("unharmed" if end == "unharmed" else "lost"): found.total()})


def damage(path: pathlib.Path, draw: random.Random) -> None:
    """Damages one file in one way."""
    way = draw.choice(["flip", "cut", "empty", "noise", "remove", "pipe", "device", "directory"])
    data = bytearray(path.read_bytes())
    if way == "flip" and data:
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        path.write_bytes(data)
    elif way in ("cut", "empty"):
        path.write_bytes(data[: draw.randrange(len(data)) if way == "cut" and data else 0])
    elif way == "noise":
        path.write_bytes(draw.randbytes(len(data)))
    else:
        path.unlink()
        if way == "pipe":
            os.mkfifo(path)
        elif way == "device":
            path.symlink_to("/dev/zero")
        elif way == "directory":
            path.mkdir()


def damaged_files(work: pathlib.Path, draw: random.Random, number: int = 400) -> Outcomes:
    """A file of a run is changed, cut, removed or replaced; then the run goes on."""
    config_of, found = work / "kind.toml", Outcomes()
    config_of.write_text(text_of(*KINDS["gradients, maml"], iterations=12))
    assert here("train", config_of, "--run-dir", work / "begun")[0] == 0
    going_on = ["--set", "train.num-iterations=16"]
    shutil.copytree(work / "begun", work / "whole")
    assert here("train", "--run-dir", work / "whole", "--resume", *going_on)[0] == 0
    expected = outcome_of(work / "whole")
    files = sorted(one for one in (work / "begun").rglob("*") if one.is_file())
    for _ in track(range(number), "damaged files"):
        run = pathlib.Path(shutil.copytree(work / "begun", work / "damaged"))
        damage(run / draw.choice(files).relative_to(work / "begun"), draw)
        # Both ways on: with the config of the directory, and with the file that it came from.
        command = draw.choice([["train"], ["train", config_of]])
        began = time.monotonic()
        code, said = here(*command, "--run-dir", run, "--resume", *going_on)
        slow = time.monotonic() - began > LONGEST and code != 0
        found["lost" if slow else judged(run, expected, code, said)] += 1
        shutil.rmtree(run)
    return found


def links(work: pathlib.Path, draw: random.Random) -> Outcomes:
    """A link out of the run directory in the place of each thing that a run writes."""
    config_of, found = work / "kind.toml", Outcomes()
    config_of.write_text(text_of(*KINDS["gradients, maml"], iterations=8))
    assert here("train", config_of, "--run-dir", work / "begun")[0] == 0
    (work / "outside" / "run").mkdir(parents=True)
    (work / "outside" / "profile").write_text("umask 022\n")
    shutil.copytree(work / "begun", work / "outside" / "run", dirs_exist_ok=True)
    before = contents(work / "outside")
    names = sorted(str(one.relative_to(work / "begun")) for one in (work / "begun").rglob("*"))
    names += [f"{name}.unfinished" for name in names if "/" not in name and "." in name]
    names += [".adaptation.7.png", "metrics.jsonl.damaged", "policy.zip", "tensorboard", "wandb"]
    commands = [
        ["train", "--resume", "--set", "train.num-iterations=12", "--run-dir"],
        ["train", config_of, "--overwrite", "--run-dir"],
        *(["evaluate"], ["plot"], ["export"]),
    ]
    for name in track(names, "links"):
        for target in ("profile", "run", "nothing"):
            run = pathlib.Path(shutil.copytree(work / "begun", work / "linked"))
            link = run / name
            shutil.rmtree(link) if link.is_dir() else link.unlink(missing_ok=True)
            link.symlink_to(work / "outside" / target)
            command = draw.choice(commands)
            code, said = here(*command, run)
            untouched = contents(work / "outside") == before
            sound = untouched and (code == 0 or (code in (1, 2) and is_one_line(said)))
            found["lost" if not sound else "unharmed" if code == 0 else "refused"] += 1
            shutil.rmtree(run)
    return found


def races(work: pathlib.Path, draw: random.Random, number: int = 10) -> Outcomes:
    """Two processes train into one directory: one does, the other is refused."""
    config_of, found = work / "kind.toml", Outcomes()
    config_of.write_text(text_of(*KINDS["gradients, maml"], iterations=40))
    assert here("train", config_of, "--run-dir", work / "whole")[0] == 0
    expected = outcome_of(work / "whole")
    for at in track(range(number), "races"):
        run = work / f"raced-{at}"
        words = ["train", config_of, "--run-dir", run, *draw.choice([[], ["--overwrite"]])]
        both = [elsewhere(*words)]
        time.sleep(draw.choice([0, draw.uniform(0, 3)]))
        both.append(elsewhere(*words))
        said = [one.communicate()[1] for one in both]
        codes = [one.returncode for one in both]
        losers = [one for one, code in zip(said, codes, strict=True) if code]
        # With --overwrite the second may come when the first is done.
        one_trained = codes.count(0) >= (1 if len(losers) == 1 else 2)
        fine = one_trained and all(map(is_one_line, losers)) and outcome_of(run) == expected
        found["lost" if not fine else "refused" if losers else "unharmed"] += 1
    return found


def replaced_runs(work: pathlib.Path, draw: random.Random, number: int = 5) -> Outcomes:
    """A live run whose directory is removed, and taken by another run: the first one stops."""
    config_of, found = work / "kind.toml", Outcomes()
    config_of.write_text(text_of(*KINDS["gradients, maml"], iterations=40))
    other = ["train", config_of, "--set", "train.seed=1", "--run-dir"]
    assert here(*other, work / "whole")[0] == 0
    expected = outcome_of(work / "whole")
    long = ["--set", "train.num-iterations=100000"]
    for at in track(range(number), "replaced runs"):
        run = work / f"replaced-{at}"
        first = elsewhere("train", config_of, "--run-dir", run, *long)
        while not (run / "metrics.jsonl").exists():
            time.sleep(0.1)
        time.sleep(draw.uniform(0, 2))
        shutil.rmtree(run, ignore_errors=True)
        second = elsewhere(*other, run)
        said = [one.communicate()[1] for one in (first, second)]
        fine = first.returncode == 1 and is_one_line(said[0]) and second.returncode == 0
        found["refused" if fine and outcome_of(run) == expected else "lost"] += 1
    return found


def fuzzed_configs(work: pathlib.Path, draw: random.Random, number: int = 10_000) -> Outcomes:
    """Configs and overrides of random text; one that is taken survives a round trip."""
    found = Outcomes()
    for _ in track(range(number), "configs"):
        text, overrides = a_config(draw)
        began = time.monotonic()
        try:
            parsed = config.parse(text, overrides)
            end = "unharmed" if config.parse(parsed.to_toml()) == parsed else "lost"
        except OptionError as error:
            end = "refused" if len(str(error)) < 500 and str(error).isprintable() else "lost"
        except Exception:
            end = "lost"
        found["lost" if time.monotonic() - began > LONGEST else end] += 1
    return found


FAULTS: dict[str, dict[str, Callable[..., Outcomes]]] = {
    "kills": {f"kill -9 and resume: {kind}": functools.partial(kills, kind=kind) for kind in KINDS},
    "files": {"a damaged file, then resume": damaged_files},
    "links": {"a planted link, then any command": links},
    "races": {
        "two processes, one run directory": races,
        "a live run's directory replaced by another run": replaced_runs,
    },
    "configs": {"a config of random text": fuzzed_configs},
}


def main() -> int:
    """Tries what the arguments name; exit code 1 if anything was lost."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(FAULTS)}")
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers")
    parser.add_argument("--output", type=pathlib.Path, default=RESULTS, help="file of records")
    options = parser.parse_args()
    if unknown := set(options.kinds) - FAULTS.keys():
        parser.error(f"no kind {', '.join(unknown)}; allowed: {', '.join(FAULTS)}")
    lost = 0
    for kind in options.kinds or FAULTS:
        for name, attempt in FAULTS[kind].items():
            draw, began = random.Random(f"{options.seed} {name}"), time.monotonic()
            with tempfile.TemporaryDirectory() as work:
                found = attempt(pathlib.Path(work), draw)
            counts = {one: found[one] for one in ("unharmed", "refused", "lost")}
            lost += found["lost"]
            record = {"fault": name, "tried": found.total(), **counts, "seed": options.seed}
            record |= {"seconds": round(time.monotonic() - began, 1)}
            record |= {"environment": machine.environment()}
            records.append(options.output, record)
            print(f"{name}: {found.total()} tried, {counts}", flush=True)
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
