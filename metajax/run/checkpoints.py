"""Checkpoints: the whole training state on disk, written atomically and verified on read.

A checkpoint is a directory named by its iteration. orbax writes the arrays into a temporary
directory, a manifest with a digest of every file is added, and a rename completes the
checkpoint. A run killed at any moment thus leaves no partial checkpoint, and a byte changed
later is detected on read.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import pathlib
import re
import secrets
import sys
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from metajax.core import files

_MANIFEST = "manifest.json"
_TEMPORARY = "unfinished-"


class CheckpointError(Exception):
    """A checkpoint that cannot be read or written.

    Attributes:
      sound: Iteration of the latest undamaged checkpoint before a damaged one; None if there
        is none.
    """

    sound: int | None = None


def iterations(directory: pathlib.Path) -> list[int]:
    """Iterations of all complete checkpoints, ascending."""
    if not directory.is_dir():
        return []
    names = (path.name for path in directory.iterdir())
    numbers = (int(name) for name in names if re.fullmatch("[0-9]{8,}", name))
    return sorted(at for at in numbers if _is_own(_path(directory, at)))


def kept(directory: pathlib.Path) -> str:
    """The latest checkpoint in words, for messages of what went wrong."""
    found = iterations(directory)
    return f"checkpoint {found[-1]} is kept" if found else "there is no checkpoint yet"


def save(
    directory: pathlib.Path,
    iteration: int,
    state: Any,
    keep: int,
    about: Mapping[str, Any] | None = None,
) -> pathlib.Path:
    """Writes a checkpoint, then removes all but the ``keep`` latest ones.

    Args:
      directory: Directory of checkpoints.
      iteration: Number of iterations behind ``state``.
      state: Pytree of arrays, typed keys included.
      keep: Number of checkpoints to keep, at least 1.
      about: What else to store, as JSON has it; the id of the run is its ``"run"``.

    Returns:
      The path of the checkpoint.

    Raises:
      CheckpointError: If writing fails; earlier checkpoints stay intact.
    """
    directory = directory.resolve()
    temporary = _fresh(directory, iteration)
    path = _path(directory, iteration)
    try:
        directory.mkdir(exist_ok=True)
        temporary.mkdir()
        _write_arrays(temporary / "state", arrays(state))
        _write_manifest(temporary, iteration, dict(about or {}))
        remove(directory, iteration)
        temporary.rename(path)
        _sync(directory)
    # A full disk is a ValueError of tensorstore, and any of several errors of orbax.
    except Exception as error:
        files.delete(temporary)
        raise CheckpointError(
            f"checkpoint {iteration} cannot be written to {directory} ({_reason(error)}); "
            f"{kept(directory)}"
        ) from error
    for old in iterations(directory)[:-keep]:
        remove(directory, old)
    return path


def restore(directory: pathlib.Path, iteration: int, template: Any, run: str | None = None) -> Any:
    """The state of a checkpoint, bit for bit as saved, on the host.

    Args:
      directory: Directory of checkpoints.
      iteration: Iteration of the checkpoint.
      template: Pytree of the same structure; leaves need only ``shape`` and ``dtype``, as
        from ``jax.eval_shape`` of ``init``.
      run: Id of the run that it must be of. Default: any.

    Raises:
      CheckpointError: If the checkpoint is missing, damaged, or of another run or structure.
        For a damaged one the message names the latest sound checkpoint before it.
    """
    directory = directory.resolve()
    check(directory, iteration, run)
    try:
        found = _read_arrays(_path(directory, iteration) / "state")
    except Exception as error:
        raise _damaged(directory, iteration, _reason(error), run) from error
    return rebuilt(template, found, f"checkpoint {iteration} in {directory}")


def check(directory: pathlib.Path, iteration: int, run: str | None = None) -> None:
    """Raises CheckpointError if a checkpoint is missing, damaged, or of another run."""
    if iteration not in iterations(directory):
        there = ", ".join(map(str, iterations(directory))) or "none"
        raise CheckpointError(f"there is no checkpoint {iteration} in {directory}; kept: {there}")
    problem = damage(directory, iteration, run)
    if problem:
        raise _damaged(directory, iteration, problem, run)


def about(directory: pathlib.Path, iteration: int) -> dict[str, Any]:
    """What was stored with a checkpoint; empty for older ones, and for damaged ones."""
    try:
        manifest = files.parse_json(files.read(_path(directory, iteration) / _MANIFEST))
        return manifest.get("about", {}) if manifest["digest"] == _digest_of(manifest) else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def damage(directory: pathlib.Path, iteration: int, run: str | None = None) -> str:
    """A description of the damage to the files of a checkpoint; empty if intact.

    One that says that it is of another run than ``run`` counts as damaged.
    """
    path = _path(directory, iteration)
    try:
        manifest = files.parse_json(files.read(path / _MANIFEST))
        digests, other = manifest["files"], manifest.get("about", {}).get("run")
        if manifest["iteration"] != iteration or _digest_of(manifest) != manifest["digest"]:
            return f"{_MANIFEST} has changed"
        if run is not None and other not in (None, run):
            return f"another run ({other}) wrote it, not this one ({run})"
    except OSError as error:
        return f"{_MANIFEST} cannot be read ({error.strerror})"
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{_MANIFEST} has changed"
    there = _files(path)  # a manifest may name a device, of which reading never ends
    for name, expected in digests.items():
        if name not in there:
            return f"{name} is missing"
        try:
            if _digest(path / name) != expected:
                return f"{name} has changed"
        except OSError as error:
            return f"{name} cannot be read ({error.strerror})"
    return ""


def arrays(state: Any) -> dict[str, np.ndarray]:
    """The arrays of a state by path, keys as their data; those without elements are left out."""
    flat, _ = jax.tree_util.tree_flatten_with_path(state)
    found = {}
    for path, leaf in flat:
        if _is_key(leaf):
            leaf = jax.random.key_data(leaf)
        found[jax.tree_util.keystr(path)] = np.asarray(jax.numpy.asarray(leaf))
    return {name: array for name, array in found.items() if array.size}


def rebuilt(template: Any, arrays: Mapping[str, np.ndarray], what: str) -> Any:
    """A state on the host from the result of ``arrays``.

    Args:
      template: Pytree of the same structure, see ``restore``.
      arrays: Arrays by path.
      what: What they are in words, for the message.

    Raises:
      CheckpointError: If they are of another structure.
    """
    flat, treedef = jax.tree_util.tree_flatten_with_path(template)
    leaves, left = [], dict(arrays)
    for path, like in flat:
        name = jax.tree_util.keystr(path)
        if _is_key(like):
            data = left.pop(name, None)
            leaf = None if data is None else _as_keys(data, like)
        elif np.prod(like.shape) == 0:
            leaf = np.zeros(like.shape, like.dtype)
        else:
            leaf = left.pop(name, None)
        if leaf is None or leaf.shape != like.shape or leaf.dtype != like.dtype:
            found = "nothing" if leaf is None else f"{leaf.dtype}{list(leaf.shape)}"
            raise CheckpointError(
                f"{what} belongs to another configuration: {name} should be "
                f"{like.dtype}{list(like.shape)}, and is {found}"
            )
        leaves.append(leaf)  # a host array: the caller chooses the devices
    if left:
        raise CheckpointError(
            f"{what} belongs to another configuration: it also holds {', '.join(sorted(left))}"
        )
    return jax.tree_util.tree_unflatten(treedef, leaves)


def remove(directory: pathlib.Path, iteration: int) -> None:
    """Removes a checkpoint. An interrupted removal leaves a temporary directory, see ``clean``."""
    path = _path(directory, iteration)
    doomed = _fresh(directory, iteration)
    try:
        path.rename(doomed)
    except FileNotFoundError:
        return
    files.delete(doomed)


def clean(directory: pathlib.Path) -> None:
    """Removes the temporary directories of a killed run."""
    for path in directory.glob(f"{_TEMPORARY}*") if directory.is_dir() else ():
        files.delete(path)


def _path(directory: pathlib.Path, iteration: int) -> pathlib.Path:
    return directory / f"{iteration:08d}"


def _fresh(directory: pathlib.Path, iteration: int) -> pathlib.Path:
    return directory / f"{_TEMPORARY}{iteration}-{secrets.token_hex(4)}"


def _is_own(path: pathlib.Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def latest_sound(
    directory: pathlib.Path, run: str | None = None, before: float = math.inf
) -> int | None:
    """Iteration of the latest undamaged checkpoint before ``before``; None if there is none."""
    earlier = (one for one in reversed(iterations(directory)) if one < before)
    return next((one for one in earlier if not damage(directory, one, run)), None)


def _damaged(
    directory: pathlib.Path, iteration: int, problem: str, run: str | None
) -> CheckpointError:
    sound = latest_sound(directory, run, before=iteration)
    offer = "no earlier one is sound" if sound is None else f"checkpoint {sound} is sound"
    error = CheckpointError(f"checkpoint {iteration} in {directory} is damaged: {problem}; {offer}")
    error.sound = sound
    return error


def _is_key(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _as_keys(data: np.ndarray, like: Any) -> jax.Array:
    implementation = jax.random.key_impl(jax.numpy.empty((), like.dtype))
    return jax.random.wrap_key_data(jax.numpy.asarray(data), impl=implementation)


def _write_arrays(path: pathlib.Path, arrays: dict[str, np.ndarray]) -> None:
    hook = sys.unraisablehook
    # Threads of tensorstore print what they meet after the error that is raised here.
    sys.unraisablehook = lambda *_: None
    try:
        with _orbax() as checkpointer:
            checkpointer.save(path, arrays)
            checkpointer.wait_until_finished()
    finally:
        sys.unraisablehook = hook


def _read_arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
    with _orbax() as checkpointer:
        return {name: np.asarray(array) for name, array in checkpointer.restore(path).items()}


def _orbax() -> Any:
    # It logs every error with its traceback, and raises it as well.
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    import orbax.checkpoint as ocp

    return ocp.AsyncCheckpointer(ocp.PyTreeCheckpointHandler())


def _write_manifest(path: pathlib.Path, iteration: int, about: dict[str, Any]) -> None:
    names = _files(path)
    digests = {name: _digest(path / name) for name in names}
    manifest = {"iteration": iteration, "files": digests, "about": about}
    manifest["digest"] = _digest_of(manifest)
    for name in names:
        _sync(path / name)
    with open(path / _MANIFEST, "w", encoding="utf-8") as file:
        json.dump(manifest, file, indent=1)
        file.flush()
        os.fsync(file.fileno())


def _files(path: pathlib.Path) -> list[str]:
    """Names of the regular files of a checkpoint, sorted."""
    return sorted(str(one.relative_to(path)) for one in path.rglob("*") if one.is_file())


def _sync(path: pathlib.Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _digest(path: pathlib.Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest_of(manifest: dict[str, Any]) -> str:
    parts = [manifest["iteration"], sorted(manifest["files"].items())]
    if "about" in manifest:  # older ones have nothing else
        parts.append(manifest["about"])
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if code := re.search(r"os_error_code='(\d+)'", str(error)):  # as tensorstore writes it
        return os.strerror(int(code[1]))
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
