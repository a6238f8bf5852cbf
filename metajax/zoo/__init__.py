"""Trained thetas that come with metajax, each with the record of its run.

    run = metajax.zoo.load("rl2-gridnavi")
    curve = metajax.evaluate(run.algorithm, key, run.state, run.family, num_tasks=100)

An entry is two files beside this one: ``NAME.npz``, arrays by their path in theta, and
``NAME.json``, see ``record``. ``benchmarks/zoo.py`` makes one from a run directory.
"""

from __future__ import annotations

import hashlib
import io
import json
import pathlib
from typing import TYPE_CHECKING, Any

from metajax.core import files
from metajax.core.options import OptionError, check, suggest

if TYPE_CHECKING:
    from metajax.run.loading import LoadedRun

__all__ = ["load", "names", "record", "titles", "write"]

MOST_BYTES = 200_000
"""The largest theta of an entry."""

_HERE = pathlib.Path(__file__).parent


def names() -> list[str]:
    """The entries of the zoo."""
    return sorted(path.stem for path in _HERE.glob("*.json"))


def titles() -> dict[str, str]:
    """A line on each entry, by name: method, family, and what its meta-test measured."""
    from metajax.core.axes import AXES

    found = {}
    for name in names():
        one = record(name)
        measured, words = one["evaluation"], AXES[one["evaluation"]["axis"]]
        first, last = measured["mean"][0], measured["mean"][-1]
        score = f"{measured['score']} {first:.4g} {words.first}, {last:.4g} {words.last}"
        found[name] = f"{one['algorithm']} on {one['family']}: {score}"
    return found


def record(name: str) -> dict[str, Any]:
    """The record of an entry.

    Returns:
      ``algorithm`` and ``family``; ``config``, all settings of the run by section; ``seed``,
      ``iteration`` and ``env_steps`` of its training; ``environment``, the revision, the versions
      and the device of its meta-test; ``evaluation``, the meta-test as ``evaluation.json`` has it
      without the returns of single tasks; ``sha256`` of the file of arrays.

    Raises:
      OptionError: For a name that is not in the zoo.
    """
    if name not in (known := names()):
        allowed = f"{suggest(str(name), known)}allowed: {', '.join(known)}"
        raise OptionError("name", f'"{name}" is not in the zoo; {allowed}')
    return files.parse_json(files.read(_HERE / f"{name}.json"))


def load(name: str) -> LoadedRun:
    """A trained algorithm with its held-out family, as ``metajax.load_run`` gives them.

    The state has the trained theta; the rest of it, such as the moments of an optimiser, is that
    of a beginning.

    Args:
      name: One of ``names()``.

    Raises:
      OptionError: For a name that is not in the zoo.
      CheckpointError: For files that have changed.
    """
    import jax
    import numpy as np

    from metajax.run import checkpoints
    from metajax.run.config import from_dict
    from metajax.run.loading import LoadedRun
    from metajax.run.loop import run_key

    about = record(name)
    data = files.read(_HERE / f"{name}.npz")
    if hashlib.sha256(data).hexdigest() != about["sha256"]:
        problem = f"{name} of the zoo is damaged: {name}.npz has another digest"
        raise checkpoints.CheckpointError(f"{problem}; install metajax anew")
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        found = dict(arrays)
    config = from_dict(about["config"])
    algorithm, family = config.build()
    state = jax.jit(algorithm.init)(run_key(config))
    theta = checkpoints.rebuilt(state.theta, found, f"{name} of the zoo")
    return LoadedRun(algorithm, family, state._replace(theta=theta), about["iteration"], config)


def write(name: str, run_dir: str | pathlib.Path, directory: pathlib.Path = _HERE) -> pathlib.Path:
    """Makes an entry from a run that ``metajax train`` has finished.

    Args:
      name: Name of the entry.
      run_dir: Directory of the run.
      directory: Where the two files of the entry are written.

    Returns:
      The path of the record.

    Raises:
      OptionError: For a run that has not ended with a meta-test, one that is too large, or one
        whose meta-test has more than theta.
      CheckpointError: For a run whose checkpoint cannot be read.
    """
    import jax
    import numpy as np

    from metajax.run import checkpoints, records
    from metajax.run.directory import RunDirectory
    from metajax.run.loading import load_run

    run, directories = load_run(run_dir), RunDirectory(run_dir)
    with records.shaped(directories.evaluation):
        measured = files.parse_json(files.read(directories.evaluation))
        last = measured["checkpoint"]
        check(last == run.iteration, "evaluation.json", last, f"that of checkpoint {run.iteration}")
        left_out = ("returns", "config", "config_digest", "environment", "from_random")
        evaluation = {one: value for one, value in measured.items() if one not in left_out}
        evaluation["from_random"] = {
            one: measured["from_random"][one] for one in ("mean", "interval")
        }
    arrays = checkpoints.arrays(run.state.theta)
    deployed = checkpoints.arrays(jax.jit(run.algorithm.deploy)(run.state))
    same = arrays.keys() == deployed.keys()
    same = same and all(np.array_equal(arrays[one], deployed[one]) for one in arrays)
    check(same, "algorithm", run.config.algorithm.name, "one whose meta-test has theta alone")
    data = io.BytesIO()
    np.savez_compressed(data, allow_pickle=False, **arrays)
    size = len(data.getvalue())
    check(size <= MOST_BYTES, "theta", f"{size} bytes", f"at most {MOST_BYTES}, a smaller network")
    stored = checkpoints.about(directories.checkpoints, run.iteration)
    about = {
        "algorithm": run.config.algorithm.name,
        "family": run.config.family.name,
        "seed": run.config.train.seed,
        "iteration": run.iteration,
        "env_steps": stored.get("env_steps"),
        "sha256": hashlib.sha256(data.getvalue()).hexdigest(),
        "evaluation": evaluation,
        "environment": measured["environment"],
        "config": run.config.to_dict(),
    }
    with files.replacing(directory / f"{name}.npz") as file:
        file.write(data.getvalue())
    path = directory / f"{name}.json"
    files.replace(path, json.dumps(about, indent=1) + "\n")
    return path
