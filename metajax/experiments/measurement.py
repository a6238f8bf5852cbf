"""One measurement of throughput, in a process of its own.

``metajax.experiments.throughput`` starts it, so that peak memory is that of one setting
and a process that runs out of memory takes nothing else with it::

    python -m metajax.experiments.measurement '{"config": TOML, "repeats": 5, ...}'

prints one JSON object. Exit code 2 says that an option does not fit, 3 that memory does not
suffice.
"""

from __future__ import annotations

import json
import os
import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any

from metajax.core.options import OptionError
from metajax.run import extensions
from metajax.run.console import is_out_of_memory

MISTAKE, OUT_OF_MEMORY = 2, 3


def measure(toml: str, *, iterations: int | None, repeats: int, seed: int) -> dict[str, Any]:
    """Times meta-iterations of a config, interleaved with plain matrix products.

    One call of the compiled program warms up; each repeat is then one call, from
    start until all its results are there. Every transition that happened counts as
    an environment step, none that padding masks.

    Args:
      toml: the config; its algorithm and family are used.
      iterations: meta-iterations in one call; chosen by the number of tasks if None.
      repeats: calls that are timed.
      seed: of the run.

    Returns:
      the record that ``metajax.experiments.throughput`` documents.

    Raises:
      MemoryError: if the program would not fit what is free.
    """
    import jax
    import numpy as np

    from metajax.experiments import arithmetic
    from metajax.run import records
    from metajax.run.config import parse
    from metajax.run.numbers import whole
    from metajax.training import initial_state, train

    jax.devices()
    baseline = peak_memory()[0]
    config = parse(toml)
    algorithm, _ = config.build()
    setting = resolved_setting(config, algorithm.family)
    length = iterations or max(1, 400 // setting.get("num-tasks", 1))
    key = jax.random.key(seed)
    state = jax.block_until_ready(initial_state(algorithm, key))

    def run(key, state):
        return train(algorithm, key, length, state=state)

    clock = time.perf_counter()
    lowered = jax.jit(run, donate_argnums=1).lower(key, state)
    lower_seconds = time.perf_counter() - clock
    program = lowered.compile()
    compile_seconds = time.perf_counter() - clock
    program_bytes = _check_memory(jax, program)
    state, infos = jax.block_until_ready(program(jax.random.fold_in(key, 0), state))
    peak, memory_source = peak_memory()

    product = MatrixProduct()
    seconds, env_steps = [], []
    for repeat in range(1, repeats + 1):
        product.measure()
        clock = time.perf_counter()
        state, infos = jax.block_until_ready(program(jax.random.fold_in(key, repeat), state))
        seconds.append(time.perf_counter() - clock)
        env_steps.append(int(whole(infos["env_steps"]).sum()))
    product.measure()
    if not all(bool(np.isfinite(leaf).all()) for leaf in jax.tree.leaves(jax.device_get(infos))):
        raise FloatingPointError("a metric is not finite; what was measured is not training")

    rates = np.array(env_steps) / np.array(seconds)
    per_iteration = float(np.median(seconds)) / length
    ceilings = product.rates()
    needed = arithmetic.of_setting(setting, algorithm.family.spec)
    flops = fraction = None
    if needed is not None:
        flops = needed.total
        # Each repeat against the products just before and after it: other load on the
        # machine slows down both.
        nearby = (ceilings[1:] + ceilings[:-1]) / 2
        fraction = float(np.median(flops * length / np.array(seconds) / nearby))
    return {
        "env_steps_per_second": float(np.median(rates)),
        "env_steps_per_second_min": float(rates.min()),
        "env_steps_per_second_max": float(rates.max()),
        "seconds_per_iteration": per_iteration,
        "env_steps_per_iteration": sum(env_steps) / (length * repeats),
        "compile_seconds": compile_seconds,
        "lower_seconds": lower_seconds,
        "fraction_of_matmul_ceiling": fraction,
        "flops_per_iteration": flops,
        "flops": None if needed is None else needed._asdict(),
        "matmul_flops_per_second": float(np.median(ceilings)),
        "peak_memory_bytes": peak,
        "baseline_memory_bytes": baseline,
        "program_memory_bytes": program_bytes,
        "memory_source": memory_source,
        "iterations": length,
        "repeats": repeats,
        "setting": setting,
        "environment": records.environment(),
    }


def resolved_setting(config: Any, family: Any) -> dict[str, Any]:
    """The algorithm's options with what it chooses by itself filled in, and the family's name."""
    from metajax.algorithms.gradient.base import GradientBased
    from metajax.composition import episode_horizon

    setting = {**config.to_dict()["algorithm"], "family": config.family.name}
    if "horizon" in setting:
        setting["horizon"] = episode_horizon(family, setting["horizon"])
    options = config.algorithm.options
    if isinstance(options, GradientBased):
        layout = options.layout()
        setting["microbatch"] = layout.microbatch
        setting["gradient-microbatch"] = layout.gradient_microbatch
        setting["devices"] = layout.num_devices
    return setting


class MatrixProduct:
    """The rate of large float32 matrix products on the devices of this process.

    Measured on one device and on all of them together, since host devices of a CPU
    may or may not share its cores for one product. The precision is jax's default,
    the same that the algorithm's products have.
    """

    def __init__(self, size: int | None = None) -> None:
        import jax
        import jax.numpy as jnp

        self._size = size or (2048 if jax.default_backend() == "cpu" else 8192)
        self._products: list[tuple[Callable[[], Any], int]] = []
        self._rates: list[list[float]] = []
        matmul = jax.jit(jnp.matmul)
        counts = sorted({1, jax.local_device_count()})
        for count in counts:
            mesh = jax.make_mesh(
                (count,),
                ("devices",),
                axis_types=(jax.sharding.AxisType.Auto,),
                devices=jax.local_devices()[:count],
            )
            sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("devices"))
            shape = (count, self._size, self._size)
            matrix = jax.device_put(jnp.full(shape, 1 / self._size, jnp.float32), sharding)
            self._products.append((lambda matrix=matrix: matmul(matrix, matrix), count))
            self._rates.append([])
        for run, _ in self._products:
            jax.block_until_ready(run())

    def measure(self, seconds: float = 0.3) -> None:
        """Runs each product for about so long."""
        for (run, count), rates in zip(self._products, self._rates, strict=True):
            done, clock = 0, time.perf_counter()
            while (passed := time.perf_counter() - clock) < seconds or done < 2:
                run().block_until_ready()
                done += 1
            rates.append(2 * self._size**3 * count * done / passed)

    def rates(self) -> Any:
        """Operations a second, ``[measurements]``, of the way that is faster by the median."""
        import numpy as np

        return np.array(max(self._rates, key=lambda rates: float(np.median(rates))))


def _check_memory(jax: Any, program: Any) -> int | None:
    """Bytes that the program needs besides what is there; raises where they are not free."""
    analysis = program.memory_analysis()
    if analysis is None:
        return None
    needed = analysis.temp_size_in_bytes + analysis.output_size_in_bytes
    free = _free_memory(jax)
    if free is not None and needed > 0.95 * free:
        raise MemoryError(
            f"the program needs {needed / 2**30:.1f} GiB, {free / 2**30:.1f} are free"
        )
    return needed


def _free_memory(jax: Any) -> int | None:
    device = jax.local_devices()[0]
    if device.platform != "cpu":
        stats = device.memory_stats() or {}
        limit = stats.get("bytes_limit")
        return None if limit is None else limit - stats.get("bytes_in_use", 0)
    free = []
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            free.append(int(line.split()[1]) * 1024)
    limit, used = (_lines(f"/sys/fs/cgroup/memory.{name}") for name in ("max", "current"))
    if limit and used and limit[0].isdigit():
        free.append(int(limit[0]) - int(used[0]))
    return min(free, default=None)


def peak_memory() -> tuple[int, str]:
    """Highest use so far in bytes, and whose: all devices together, or this process."""
    import jax

    devices = jax.local_devices()
    stats = [device.memory_stats() for device in devices]
    if devices[0].platform != "cpu" and all(one and "peak_bytes_in_use" in one for one in stats):
        return sum(one["peak_bytes_in_use"] for one in stats), "devices"
    for line in _lines("/proc/self/status"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024, "process"
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024, "process"


def _lines(path: str) -> list[str]:
    try:
        return pathlib.Path(path).read_text().splitlines()
    except OSError:
        return []


def main(argument: str) -> int:
    """Measures as the JSON argument says and prints the record; returns the exit code."""
    from metajax.run import records

    options = json.loads(argument)
    # The record goes to what was standard output; libraries may print to the present one.
    output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        extensions.load(options.pop("imports"))
        record = measure(options.pop("config"), **options)
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
