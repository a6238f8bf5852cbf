"""One measurement of throughput, in a process of its own.

``metajax.experiments.throughput`` starts it, so that peak memory is that of one setting and a
process that runs out of memory takes nothing else with it::

    python -m metajax.experiments.measurement '{"config": {...}, "repeats": 5, ...}'

prints one JSON object. Exit code 2 says that an option does not fit, 3 that memory does not
suffice.
"""

from __future__ import annotations

import dataclasses
import json
import os
import runpy
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from metajax.algorithms import ALGORITHMS
from metajax.algorithms.gradient.base import GradientBased
from metajax.core.family import DataSpec, Spec
from metajax.core.options import OptionError
from metajax.run import extensions, machine, records
from metajax.run.config import Config, from_dict
from metajax.run.console import is_out_of_memory
from metajax.run.numbers import whole
from metajax.training import initial_state, train

MISTAKE, OUT_OF_MEMORY = 2, 3
_SHARED = (
    *("num_tasks", "num_streams", "num_query", "horizon", "inner_steps", "hidden_sizes"),
    *("conv_filters", "devices"),
)


def measure(
    config: Config,
    *,
    iterations: int | None = None,
    repeats: int = 5,
    seed: int = 0,
    yardstick: Callable[[Any, Any], tuple[Callable, Callable]] | None = None,
) -> dict[str, Any]:
    """Times meta-iterations of a config, interleaved with plain matrix products.

    One call of the compiled program warms up; each of ``repeats`` calls is then timed until all
    its results are there. Every transition that happened counts as an environment step, none
    that padding masks.

    Args:
      config: config whose algorithm and family are used.
      iterations: meta-iterations in one call. Default: chosen by the number of tasks.
      repeats, seed: number of timed calls, and seed of the run.
      yardstick: ``(family, options) -> (init, step)`` of a program that is timed in turns with
        the config's: ``init(key) -> state``, ``step(key, state) -> (state, info)``, with
        ``env_steps`` in ``info``.

    Returns:
      The record that ``metajax bench --help`` describes.

    Raises:
      MemoryError: if the program would not fit what is free.
    """
    jax.devices()
    baseline = machine.peak_memory()[0]
    algorithm, _ = config.build()
    family, options = algorithm.family, config.algorithm.options
    length = iterations or max(1, 400 // getattr(options, "num_tasks", 1))
    key = jax.random.key(seed)

    def run(key, state):
        return train(algorithm, key, length, state=state)

    ours = _Program(run, initial_state(algorithm, key), key)
    peak, source = machine.peak_memory()  # before a yardstick needs any
    others = [] if yardstick is None else [_beside(*yardstick(family, options), key, length)]
    product = MatrixProduct()
    for _ in range(repeats):
        product.measure()
        for program in (ours, *others):
            program.run()
    product.measure()
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(ours.info)):
        raise FloatingPointError("a metric is not finite; what was measured is not training")
    record = {
        **_speed(ours, length, product.rates(), options, family.spec),
        "peak_memory_bytes": peak,
        "baseline_memory_bytes": baseline,
        "program_memory_bytes": ours.needed_bytes,
        "memory_source": source,
        "iterations": length,
        "repeats": repeats,
        "setting": resolved_setting(config, family),
        "family_options": config.to_dict()["family"],
        "environment": machine.environment(),
    }
    for other in others:
        record["yardstick_env_steps_per_second"] = float(np.median(other.rates()))
        record["yardstick_compile_seconds"] = other.compile_seconds
        record["ratio"] = float(np.median(ours.rates() / other.rates()))
    return record


def _speed(
    program: _Program, length: int, ceilings: np.ndarray, options: Any, spec: Spec | DataSpec
) -> dict[str, Any]:
    """Speed of a program, alone and beside ``ceilings``, the rates of matrix products."""
    rates, seconds = program.rates(), np.array(program.seconds[1:])
    count = getattr(options, "arithmetic", None)
    needed = count and count(spec)
    # Each repeat against the products just before and after it: other load on the machine
    # slows down both.
    possible = (ceilings[1:] + ceilings[:-1]) / 2 * seconds
    return {
        "env_steps_per_second": float(np.median(rates)),
        "env_steps_per_second_min": float(rates.min()),
        "env_steps_per_second_max": float(rates.max()),
        "seconds_per_iteration": float(np.median(seconds)) / length,
        "env_steps_per_iteration": sum(program.env_steps[1:]) / (length * len(seconds)),
        "compile_seconds": program.compile_seconds,
        "lower_seconds": program.lower_seconds,
        "fraction_of_matmul_ceiling": needed and float(np.median(needed.total * length / possible)),
        "flops_per_iteration": needed and needed.total,
        "flops": needed and needed._asdict(),
        "matmul_flops_per_second": float(np.median(ceilings)),
    }


def resolved_setting(config: Config, family: Any) -> dict[str, Any]:
    """The algorithm's options with what it chooses by itself filled in, and the family's name."""
    setting = {**config.to_dict()["algorithm"], "family": config.family.name}
    if "horizon" in setting:
        setting["horizon"] = setting["horizon"] or getattr(family.spec, "episode_length", None)
    if isinstance(config.algorithm.options, GradientBased):
        layout = config.algorithm.options.layout()
        setting["microbatch"] = layout.microbatch
        setting["gradient-microbatch"] = layout.gradient_microbatch
        setting["devices"] = layout.num_devices
    return setting


def _beside(init: Callable, step: Callable, key: jax.Array, length: int) -> _Program:
    """A yardstick of ``length`` steps a call."""

    def run(key, state):
        keys = jax.random.split(key, length)
        return jax.lax.scan(lambda state, key: step(key, state), state, keys)

    return _Program(run, jax.jit(init)(key), key)


def yardstick_of(name: str | None) -> Callable[[Any, Any], tuple[Callable, Callable]] | None:
    """The yardstick of that name: another algorithm, or a function of a Python file.

    An algorithm gets the sizes of the one that it stands beside: those of ``_SHARED`` that both
    have.
    """
    if name is None:
        return None
    if name not in ALGORITHMS:
        return runpy.run_path(name)["yardstick"]

    def of_algorithm(family, options):
        cls = ALGORITHMS.get(name)
        known = {field.name for field in dataclasses.fields(cls)}
        given = {one: getattr(options, one) for one in _SHARED if hasattr(options, one)}
        other = cls(**{one: size for one, size in given.items() if one in known}).build(family)
        return other.init, other.step

    return of_algorithm


class _Program:
    """A compiled training, warmed up, that goes on where its last call stopped.

    ``seconds`` and ``env_steps`` are those of each call, the first one a warm-up.
    """

    def __init__(self, run: Callable, state: Any, key: jax.Array) -> None:
        self._key, self._state = key, jax.block_until_ready(state)
        clock = time.perf_counter()
        lowered = jax.jit(run, donate_argnums=1).lower(key, self._state)
        self.lower_seconds = time.perf_counter() - clock
        self._program = lowered.compile()
        self.compile_seconds = time.perf_counter() - clock
        self.needed_bytes = _check_memory(self._program)
        self.seconds: list[float] = []
        self.env_steps: list[int] = []
        self.run()

    def run(self) -> None:
        """Calls the program once."""
        key = jax.random.fold_in(self._key, len(self.seconds))
        clock = time.perf_counter()
        self._state, info = jax.block_until_ready(self._program(key, self._state))
        self.seconds.append(time.perf_counter() - clock)
        self.info = jax.device_get(info)
        self.env_steps.append(int(whole(self.info["env_steps"]).sum()))

    def rates(self) -> np.ndarray:
        """Transitions a second of each call after the first."""
        return np.array(self.env_steps[1:]) / np.array(self.seconds[1:])


class MatrixProduct:
    """The rate of large float32 matrix products on the devices of this process.

    Measured on one device and on all of them together, since host devices of a CPU may or may
    not share its cores for one product. The precision is jax's default, as the algorithm's.
    """

    def __init__(self) -> None:
        self._size = 2048 if jax.default_backend() == "cpu" else 8192
        self._rates: dict[int, list[float]] = {1: [], jax.local_device_count(): []}
        self._run = jax.jit(lambda matrix: matrix @ matrix)
        self._matrices = {}
        for count in self._rates:
            mesh = jax.sharding.Mesh(jax.local_devices()[:count], "devices")
            sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("devices"))
            matrix = jnp.full((count, self._size, self._size), 1 / self._size, jnp.float32)
            self._matrices[count] = jax.device_put(matrix, sharding)
            self._run(self._matrices[count]).block_until_ready()

    def measure(self, seconds: float = 0.3) -> None:
        """Runs each product for about so long."""
        for count, matrix in self._matrices.items():
            done, clock = 0, time.perf_counter()
            while (passed := time.perf_counter() - clock) < seconds or done < 2:
                self._run(matrix).block_until_ready()
                done += 1
            self._rates[count].append(2 * self._size**3 * count * done / passed)

    def rates(self) -> np.ndarray:
        """Operations a second, ``[measurements]``, of the way that is faster by the median."""
        return np.array(max(self._rates.values(), key=lambda rates: float(np.median(rates))))


def _check_memory(program: Any) -> int | None:
    """Bytes that the program needs besides what is there; raises where they are not free."""
    analysis, free = program.memory_analysis(), machine.free_memory()
    if analysis is None:
        return None
    needed = analysis.temp_size_in_bytes + analysis.output_size_in_bytes
    if needed > 0.95 * free:
        sizes = f"{needed / 2**30:.1f} GiB, {free / 2**30:.1f} are free"
        raise MemoryError(f"the program needs {sizes}")
    return needed


def main(argument: str) -> int:
    """Measures as the JSON argument says and prints the record; returns the exit code."""
    options = json.loads(argument)
    # The record goes to what was standard output; libraries may print to the present one.
    output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        extensions.load(options.pop("imports"))
        config, name = from_dict(options.pop("config")), options.pop("yardstick")
        record = measure(config, yardstick=yardstick_of(name), **options) | {"yardstick": name}
    except OptionError as error:
        print(error, file=sys.stderr)
        return MISTAKE
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        print(f"out of memory: {error}", file=sys.stderr)
        return OUT_OF_MEMORY
    print(records.to_json(record), file=output, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
