"""Policies that leave the package: in a file, to act where neither family nor algorithm is."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import math
import pathlib
import zipfile
import zlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.export
import jax.numpy as jnp

from metajax.core import files
from metajax.core.algorithm import MetaAlgorithm, MetaState
from metajax.core.checks import check_algorithm, check_integer, check_tree, deployed
from metajax.core.family import Box, Discrete, Key, Spec, Tree
from metajax.core.options import OptionError
from metajax.core.types import ActorInput
from metajax.data.acting import actor_of
from metajax.data.rollout import no_action

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
"""Where an exported policy runs."""

Carry = tuple[jax.Array, ...]

_FORMAT = 1
_PROGRAMS = ("init", "step")
_MOST_BYTES = 2**30


class Policy(NamedTuple):
    """A policy with its weights inside, for one stream of experience or several side by side.

    The loop of a task, with an environment of your own::

        carry, reward, start = policy.init(), 0.0, True
        while True:
            key, key_step = jax.random.split(key)
            action, carry = policy.step(key_step, observation, reward, start, carry)
            observation, reward, done = ...  # take the action, reset after an episode
            start = done

    A policy with a memory learns through ``carry``: keep it from one episode of a task to the
    next, and begin anew with ``init()`` in another task.

    Attributes:
      init: ``() -> carry`` at the start of a task.
      step: ``(key, observation, reward, start, carry) -> (action, carry)``. ``observation`` is
        ``[O]``, ``reward`` that of the last action (0 before the first), ``start`` whether an
        episode begins, the action within its bounds. Of several streams all but the key have a
        leading axis E.
      about: What it acts in and how, as JSON has it: ``family``, ``observation``, ``action``,
        ``explore`` and ``num_streams``.
      programs: ``() -> {"init": bytes, "step": bytes}``, serialised by ``jax.export``.
    """

    init: Callable[[], Carry]
    step: Callable[[Key, Any, Any, Any, Carry], tuple[jax.Array, Carry]]
    about: Mapping[str, Any]
    programs: Callable[[], dict[str, bytes]]

    def __repr__(self) -> str:
        acts = "samples" if self.about["explore"] else "mode"
        number = self.about["num_streams"]
        streams = "" if number is None else f", {number} streams"
        return f"Policy({self.about['family']}, {acts}{streams})"

    def save(self, path: str | pathlib.Path) -> None:
        """Writes a zip file of the programs and ``manifest.json``, for ``load_policy``.

        It holds StableHLO for CPUs, GPUs and TPUs, which ``jax.export`` reads back without this
        package: see docs/tutorials/export.md.
        """
        programs = self.programs()
        digests = {name: hashlib.sha256(data).hexdigest() for name, data in programs.items()}
        manifest = {"format": _FORMAT, **self.about, "sha256": digests}
        with (
            files.replacing(path) as written,
            zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as file,
        ):
            file.writestr("manifest.json", json.dumps(manifest, indent=2) + "\n")
            for name, data in programs.items():
                file.writestr(f"{name}.bin", data)


def policy(
    algorithm: MetaAlgorithm,
    theta: Tree | MetaState,
    phi: Tree = None,
    *,
    explore: bool = True,
    num_streams: int | None = None,
) -> Policy:
    """The policy of a trained algorithm, apart from its family and its adaptation.

    Args:
      algorithm: An algorithm whose learner acts.
      theta: The ``MetaState`` that training ends with, or meta-parameters.
      phi: State of the learner in the task to act in, such as ``Trial.phi`` of
        ``algorithm.adapt``. Default: that at the start of a trial, before any adaptation.
      explore: Sample the actions; otherwise take the mode of the policy.
      num_streams: E, streams side by side. Default: one, without an axis.

    Raises:
      OptionError: For a learner of labelled examples, what is of another algorithm, or no stream.
    """
    check_algorithm(algorithm)
    actor, spec = actor_of(algorithm.learner), algorithm.family.spec
    if num_streams is not None:
        check_integer("num_streams", num_streams, 1)
    theta = deployed(algorithm, theta)
    first = functools.partial(algorithm.learner.begin, jax.random.key(0), theta)
    phi = first() if phi is None else phi
    check_tree("phi", phi, jax.eval_shape(first), "Trial.phi of algorithm.adapt")
    structure = jax.tree.structure(actor.memory(theta))

    def begin():
        return (*map(jnp.asarray, jax.tree.leaves(actor.memory(theta))), no_action(spec))

    def act(noise, observation, reward, start, carry):
        observation = jnp.asarray(observation, spec.observation_dtype)
        _check_shape("observation", observation, spec.observation_shape)
        *memory, last_action = carry
        reward, start = jnp.asarray(reward, jnp.float32), jnp.asarray(start, bool)
        seen = ActorInput(observation, last_action, reward, start)
        memory = jax.tree.unflatten(structure, memory)
        output, memory = actor.act(noise, theta, phi, memory, seen)
        action = jnp.asarray(output.action if explore else output.mode, last_action.dtype)
        return _within(spec.action_space, action), (*jax.tree.leaves(memory), action)

    def init():
        streams = () if num_streams is None else (num_streams,)
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (*streams, *leaf.shape)), begin())

    def step(key, *inputs):
        if num_streams is None:
            return act(actor.noise(key), *inputs)
        noise = jax.vmap(actor.noise)(jax.random.split(key, num_streams))
        return jax.vmap(act)(noise, *inputs)

    about = {
        "family": spec.name,
        "observation": {"shape": list(spec.observation_shape), "dtype": spec.observation_dtype},
        "action": _action(spec),
        "explore": explore,
        "num_streams": num_streams,
    }
    begins, steps = jax.jit(init), jax.jit(step)
    return Policy(begins, steps, about, lambda: _exported(begins, steps, about))


def load_policy(path: str | pathlib.Path) -> Policy:
    """The policy in a file that ``Policy.save`` wrote.

    Its programs are compiled for the present device when they are first called. They compute
    and nothing else: they cannot reach files or the network.

    Raises:
      OptionError: For a file that cannot be read, is damaged, or holds something else.
    """
    path = pathlib.Path(path)
    manifest, programs = _read(path)
    try:
        init, step = (jax.export.deserialize(bytearray(programs[name])) for name in _PROGRAMS)
    except Exception as error:
        problem = f"holds no programs that jax {jax.__version__} can read; export it anew"
        raise OptionError(str(path), problem) from error
    about = {name: manifest.get(name) for name in _ABOUT}
    names = ("key", "observation", "reward", "start")

    def act(key, observation, reward, start, carry):
        given = [jax.random.key_data(key), observation, reward, start, *carry]
        given = [jnp.asarray(one, of.dtype) for one, of in zip(given, step.in_avals, strict=True)]
        for name, one, of in zip(names, given, step.in_avals, strict=False):
            _check_shape(name, one, of.shape)
        return step.call(*given[:4], tuple(given[4:]))

    return Policy(jax.jit(init.call), jax.jit(act), about, lambda: programs)


_ABOUT = ("family", "observation", "action", "explore", "num_streams")


def _exported(init: Any, step: Any, about: Mapping[str, Any]) -> dict[str, bytes]:
    """Serialised programs of plain arrays: keys are their data, ``uint32[2]``."""

    def of_data(key_data, *inputs):
        return step(jax.random.wrap_key_data(key_data), *inputs)

    streams = () if about["num_streams"] is None else (about["num_streams"],)
    shape, dtype = about["observation"]["shape"], about["observation"]["dtype"]
    inputs = (
        jax.random.key_data(jax.random.key(0)),
        jax.ShapeDtypeStruct((*streams, *shape), dtype),
        jax.ShapeDtypeStruct(streams, jnp.float32),
        jax.ShapeDtypeStruct(streams, bool),
        jax.eval_shape(init),
    )
    export = functools.partial(jax.export.export, platforms=PLATFORMS)
    return {
        "init": bytes(export(init)().serialize()),
        "step": bytes(export(jax.jit(of_data))(*inputs).serialize()),
    }


def _read(path: pathlib.Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The manifest and the programs of a file, whose digests agree."""

    def part(file, name):
        if file.getinfo(name).file_size > _MOST_BYTES:
            raise ValueError
        return file.read(name)

    try:
        with zipfile.ZipFile(io.BytesIO(files.read(path))) as file:
            manifest = files.parse_json(part(file, "manifest.json"))
            if not isinstance(manifest, dict) or not isinstance(manifest.get("sha256"), dict):
                raise ValueError
            programs = {name: part(file, f"{name}.bin") for name in _PROGRAMS}
    except OSError as error:
        raise OptionError(str(path), f"cannot be read ({error.strerror})") from None
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError):
        raise OptionError(str(path), "is damaged, or no policy; export it anew") from None
    if manifest.get("format") != _FORMAT:
        problem = f"has the format {manifest.get('format')!r:.20}; allowed: {_FORMAT}"
        raise OptionError(str(path), f"{problem}; export it with this version of metajax")
    for name, data in programs.items():
        if hashlib.sha256(data).hexdigest() != manifest["sha256"].get(name):
            raise OptionError(str(path), f"is damaged: {name} has another digest; export it anew")
    return manifest, programs


def _action(spec: Spec) -> dict[str, Any]:
    """The action space, as JSON has it; a bound that is infinite is None."""
    space = spec.action_space
    if isinstance(space, Discrete):
        return {"num_actions": space.num_actions}
    low, high = (
        [one if math.isfinite(one) else None for one in side] for side in (space.low, space.high)
    )
    return {"low": low, "high": high}


def _within(space: Discrete | Box, action: jax.Array) -> jax.Array:
    """An action as a family takes it, within its bounds."""
    if isinstance(space, Discrete):
        return action
    return jnp.clip(action, jnp.asarray(space.low), jnp.asarray(space.high))


def _check_shape(name: str, given: jax.Array, shape: tuple[int, ...]) -> None:
    if given.shape != tuple(shape):
        raise OptionError(name, f"has the shape {given.shape}; allowed: {tuple(shape)}")
