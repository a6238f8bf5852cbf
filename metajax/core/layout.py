"""How tasks lie on the machine: blocks of vmap, scans of blocks, devices of a mesh.

A meta-gradient over N tasks is a mean, so tasks can be processed a block at a time, with memory set
by the block. The fastest block differs: rollouts like wide blocks, which turn N small products into
one, while a second-order gradient on a CPU is fastest one task at a time, with everything it
touches in cache. This module is the only one that asks for the backend.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from metajax.core.family import Tree
from metajax.core.options import OptionError

POPULATION, TASKS = "population", "tasks"
"""Axes of the device mesh."""

_PLATFORM: contextvars.ContextVar[str | None] = contextvars.ContextVar("platform", default=None)


def platform() -> str:
    """Platform that programs are built for: "cpu", "gpu" or "tpu"."""
    return _PLATFORM.get() or jax.default_backend()


@contextlib.contextmanager
def building_for(name: str) -> Iterator[None]:
    """Builds and traces programs for another platform than the present one.

    For lowering on a machine without the accelerator: layouts, blocks and loops are chosen as
    they would be there.
    """
    token = _PLATFORM.set(name)
    try:
        yield
    finally:
        _PLATFORM.reset(token)


def _num_rows(tree: Tree) -> int:
    return jax.tree.leaves(tree)[0].shape[0]


def _blocks(tree: Tree, size: int) -> Tree:
    number = _num_rows(tree) // size
    return jax.tree.map(lambda leaf: leaf.reshape(number, size, *leaf.shape[1:]), tree)


def divisor(number: int, limit: int, multiple_of: int = 1) -> int:
    """The largest divisor of ``number`` up to ``limit``; a multiple, if one of those is."""
    found = [size for size in range(1, min(number, limit) + 1) if number % size == 0]
    return max([size for size in found if size % multiple_of == 0] or found)


def one_task_at_a_time(fn: Callable[..., Tree]) -> Callable[..., Tree]:
    """A function whose ``jax.vmap`` is a loop on a CPU, and itself elsewhere.

    For gradient steps with separate weights in every task: one task's activations fit the cache,
    those of a block do not, and the batched products of a block are slower than one product.
    """
    if platform() != "cpu":
        return fn

    def looped(*args):
        # What fn closes over (a learning rate that is being swept) may itself be
        # batched by an outer vmap, so it must be handed to the loop as arguments.
        program, shape = jax.make_jaxpr(fn, return_shape=True)(*args)

        @jax.custom_batching.sequential_vmap
        def explicit(closed_over, leaves):
            return jaxpr_as_fun(ClosedJaxpr(program.jaxpr, closed_over))(*leaves)

        outputs = explicit(program.consts, jax.tree.leaves(args))
        return jax.tree.unflatten(jax.tree.structure(shape), outputs)

    return looped


def total_and_rows(
    fn: Callable[[Tree], tuple[Tree, Tree]], rows: Tree, block_size: int
) -> tuple[Tree, Tree]:
    """A sum over blocks and what is kept of each row, one block in memory at a time.

    Args:
      fn: maps a block ``[block_size, ...]`` of ``rows`` to a sum over the block and to
        outputs ``[block_size, ...]``.
      rows: leaves ``[n, ...]``, n a multiple of ``block_size``.
    """
    number = _num_rows(rows)
    if number == block_size:
        return fn(rows)

    def add(sums, block):
        more, kept = fn(block)
        return jax.tree.map(jnp.add, sums, more), kept

    blocks = _blocks(rows, block_size)
    first = jax.eval_shape(fn, jax.tree.map(lambda leaf: leaf[0], blocks))[0]
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), first)
    sums, kept = jax.lax.scan(add, zeros, blocks)
    return sums, jax.tree.map(lambda leaf: leaf.reshape(number, *leaf.shape[2:]), kept)


def total(fn: Callable[[Tree], Tree], rows: Tree, block_size: int) -> Tree:
    """``total_and_rows`` where nothing is kept: ``fn`` maps a block to a sum over it."""
    return total_and_rows(lambda block: (fn(block), ()), rows, block_size)[0]


def sum_rows(tree: Tree) -> Tree:
    """Sums the leading axis of every leaf; counts as floats, which do not wrap around."""

    def add(leaf):
        counts = not jnp.issubdtype(leaf.dtype, jnp.inexact)
        return jnp.sum(leaf, axis=0, dtype=float if counts else None)

    return jax.tree.map(add, tree)


def total_of(fn: Callable[[Tree], Tree], rows: Tree, block_size: int) -> Tree:
    """Sum of ``fn(row)`` over rows, ``block_size`` of them vmapped at a time."""
    if block_size == 1:
        return total(lambda block: fn(jax.tree.map(lambda leaf: leaf[0], block)), rows, 1)
    return total(lambda block: sum_rows(jax.vmap(fn)(block)), rows, block_size)


@dataclasses.dataclass(frozen=True)
class Layout:
    """Blocks and devices of N tasks. Results differ by rounding only.

    Attributes:
      num_tasks: N.
      microbatch: Tasks whose rollouts run as one block. Together with the number of devices
        it divides N, except in a ``padded`` layout.
      gradient_microbatch: Tasks whose gradients are taken as one block.
      num_devices: Devices on the axis ``tasks`` of the mesh.
      population_devices: Devices on its axis ``population``.
    """

    num_tasks: int
    microbatch: int
    gradient_microbatch: int
    num_devices: int
    population_devices: int = 1

    @classmethod
    def build(
        cls,
        num_tasks: int,
        microbatch: int | None = None,
        gradient_microbatch: int | None = None,
        num_devices: int | None = None,
        *,
        population: int = 1,
        at_most: int | None = None,
        whole: bool = False,
        num_minibatches: int = 1,
    ) -> Layout:
        """A checked layout.

        Args:
          num_tasks: N.
          microbatch: Tasks of a rollout block. Default: at most 32 on a CPU, 4096 elsewhere.
          gradient_microbatch: Tasks of a gradient block. Default: 1 on a CPU, at most 256
            elsewhere.
          num_devices: Devices that share the tasks. Default: the largest number that
            divides the tasks (of a minibatch) and fits the given blocks, over all processes.
          population: Members of a population that is trained at once (see
            ``over_population``); devices are given to its members first.
          at_most: Largest rollout block to choose.
          whole: All tasks of a device form one block, for gradients that tasks share.
          num_minibatches: Parts of the tasks with separate updates; one program has one set
            of devices, so each part must be shared evenly.

        Raises:
          OptionError: naming the field, where sizes do not divide.
        """
        check_minibatches(num_tasks, num_minibatches)
        shared = num_tasks // num_minibatches
        members = divisor(population, _num_devices())
        available = _num_devices() // members
        devices = num_devices
        if devices is None:
            dividing = [one for one in range(1, available + 1) if shared % one == 0]
            dividing = [one for one in dividing if _all_processes(one * members)] or dividing
            block = max(1, microbatch or gradient_microbatch or 1)
            whole_blocks = [one for one in dividing if num_tasks // one % block == 0]
            devices = max(whole_blocks or dividing)
        if not 1 <= devices <= available or shared % devices:
            of_what = "num_tasks" if num_minibatches == 1 else "num_tasks / num_minibatches"
            raise OptionError(
                "devices",
                f"{devices} is not possible; allowed: a divisor of {of_what} ({shared}) up to "
                f"the {available} that there are",
            )
        local = num_tasks // devices
        wide, narrow = _default_sizes()
        wide = wide if at_most is None else min(wide, at_most)
        if whole:
            wide = narrow = local
        size = microbatch
        if size is None:
            block = max(1, gradient_microbatch or 1)
            size = divisor(local, max(wide, block), multiple_of=block)
        _check_block("microbatch", size, local, "the tasks of one device")
        inner = divisor(size, narrow) if gradient_microbatch is None else gradient_microbatch
        _check_block("gradient_microbatch", inner, size, "the microbatch")
        return cls(num_tasks, size, inner, devices, members)

    @classmethod
    def padded(cls, num_tasks: int, at_most: int | None = None) -> Layout:
        """A layout for ``collect`` alone, of any number of tasks over all devices.

        Blocks need not divide the tasks: the last ones are filled up with tasks whose results
        are thrown away, and no number of tasks ends in blocks of one.

        Args:
          num_tasks: N.
          at_most: Largest number of tasks of a block. Default: as in ``build``.
        """
        devices = _num_devices() if jax.process_count() > 1 else min(num_tasks, _num_devices())
        local = math.ceil(num_tasks / devices)
        wide = _default_sizes()[0] if at_most is None else at_most
        size = math.ceil(local / math.ceil(local / wide))
        return cls(num_tasks, size, size, devices)

    def resized(self, num_tasks: int) -> Layout:
        """The same layout for another number of tasks, as far as it divides.

        On the same devices, or on one: a program cannot have two sets of them.
        """
        devices = self.num_devices if num_tasks % self.num_devices == 0 else 1
        size = divisor(num_tasks // devices, self.microbatch)
        inner = divisor(size, self.gradient_microbatch)
        return Layout(num_tasks, size, inner, devices, self.population_devices)

    @property
    def mesh(self) -> Mesh:
        """The devices of all processes, with the axes ``population`` and ``tasks``."""
        shape = self.population_devices, self.num_devices
        devices = np.array(_devices(math.prod(shape))).reshape(shape)
        # Auto axes: under the default Explicit ones a vmapped scan fails.
        return Mesh(devices, (POPULATION, TASKS), axis_types=(AxisType.Auto,) * 2)

    def over_population(self, fn: Callable[[Tree], Tree]) -> Callable[[Tree], Tree]:
        """``jax.vmap`` of a whole training over the members of a population.

        Args:
          fn: Maps one member (a seed, numbers of the options) to results. Programs inside
            that use this layout keep their tasks on the axis ``tasks``.

        Returns:
          a function of leaves ``[P, ...]``, spread over the axis ``population``.
        """
        if self.population_devices == 1:
            return jax.vmap(fn)
        members = NamedSharding(self.mesh, PartitionSpec(POPULATION))
        mapped = jax.vmap(fn, spmd_axis_name=POPULATION)
        return lambda rows: mapped(jax.lax.with_sharding_constraint(rows, members))

    def replicated(self, tree: Tree) -> Tree:
        """Arrays on all devices of the layout.

        In one process they may lie anywhere. With several, each process gives the same arrays,
        or global ones.
        """
        everywhere = NamedSharding(self.mesh, PartitionSpec())
        if jax.process_count() == 1:
            return jax.device_put(tree, everywhere)
        # device_put hands no random keys to other processes.
        return jax.jit(lambda tree: tree, out_shardings=everywhere)(tree)

    def mean(self, fn: Callable[[Any, Tree], Tree], shared: Tree, rows: Tree) -> Tree:
        """Mean over tasks. ``fn(shared, block)`` sums over a block of ``microbatch`` rows.

        Leaves of rows are ``[N, ...]``; every task sees ``shared`` (theta, ...).
        """
        return self.mean_and_rows(lambda *args: (fn(*args), ()), shared, rows)[0]

    def mean_and_rows(
        self, fn: Callable[[Any, Tree], tuple[Tree, Tree]], shared: Tree, rows: Tree
    ) -> tuple[Tree, Tree]:
        """``mean`` where ``fn`` also says what becomes of the rows, ``[N, ...]``."""

        def local(shared, rows):
            sums, kept = total_and_rows(lambda block: fn(shared, block), rows, self.microbatch)
            if self._spread_out:
                sums = jax.lax.psum(sums, TASKS)
            return jax.tree.map(lambda leaf: leaf / self.num_tasks, sums), kept

        return self._spread(local, (PartitionSpec(), PartitionSpec(TASKS)))(shared, rows)

    def collect(self, fn: Callable[[Any, Tree], Tree], shared: Tree, rows: Tree) -> Tree:
        """``fn(shared, row)`` of every task, outputs stacked to ``[N, ...]``."""
        missing = -self.num_tasks % (self.num_devices * self.microbatch)
        if missing:
            rows = jax.tree.map(lambda leaf: _repeat_last(leaf, missing), rows)

        def local(shared, rows):
            blocks = jax.lax.map(
                jax.vmap(lambda row: fn(shared, row)), _blocks(rows, self.microbatch)
            )
            number = _num_rows(rows)
            return jax.tree.map(lambda leaf: leaf.reshape(number, *leaf.shape[2:]), blocks)

        outputs = self._spread(local, PartitionSpec(TASKS))(shared, rows)
        return jax.tree.map(lambda leaf: leaf[: self.num_tasks], outputs) if missing else outputs

    @property
    def _spread_out(self) -> bool:
        return self.num_devices * self.population_devices > 1

    def _spread(
        self, local: Callable, out_specs: PartitionSpec | tuple[PartitionSpec, ...]
    ) -> Callable:
        if not self._spread_out:
            return local
        in_specs = (PartitionSpec(), PartitionSpec(TASKS))
        # No varying-axes check: with it, gradients with respect to replicated values
        # come already summed over devices, and the psum above would count twice.
        return jax.shard_map(
            local, mesh=self.mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False
        )


def check_minibatches(num_tasks: int, num_minibatches: int) -> None:
    """Raises OptionError unless so many minibatches share the tasks evenly."""
    if num_tasks % num_minibatches:
        raise OptionError(
            "num_minibatches",
            f"{num_minibatches} is not possible; allowed: a divisor of num_tasks ({num_tasks})",
        )


def default_block() -> int:
    """Most tasks whose rollouts are one block, unless told otherwise."""
    return _default_sizes()[0]


def _default_sizes() -> tuple[int, int]:
    """Most tasks of a block, for rollouts and for gradients."""
    return (32, 1) if platform() == "cpu" else (4096, 256)


def _num_devices() -> int:
    return jax.device_count()


def _all_processes(number: int) -> bool:
    """Whether so many devices can be taken evenly from all processes."""
    return number % jax.process_count() == 0


def _devices(number: int) -> list[Any]:
    """The first devices of every process, as many of each."""
    each = max(1, number // jax.process_count())
    taken: dict[int, list[Any]] = {}
    for device in jax.devices():
        mine = taken.setdefault(device.process_index, [])
        if len(mine) < each:
            mine.append(device)
    return [device for devices in taken.values() for device in devices][:number]


def _repeat_last(leaf: jax.Array, number: int) -> jax.Array:
    return jnp.concatenate([leaf, jnp.repeat(leaf[-1:], number, axis=0)])


def _check_block(field: str, size: int, whole: int, of_what: str) -> None:
    if size < 1 or whole % size:
        allowed = [number for number in range(1, whole + 1) if whole % number == 0]
        raise OptionError(
            field, f"{size} is not possible; allowed: a divisor of {of_what}, one of {allowed}"
        )
