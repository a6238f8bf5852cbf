"""How tasks are laid over the machine: blocks of vmap, scans of blocks, devices.

A meta-gradient over N tasks is a mean, so tasks can be worked off a block at a
time with memory set by the block. What is fastest differs: rollouts like wide
blocks, which turn N small products into one, while a second-order gradient on a
CPU is fastest one task at a time, when all it touches fits the cache.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from metajax.core.options import OptionError
from metajax.core.types import Tree

_AXIS = "tasks"


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
    """Makes ``jax.vmap`` of ``fn`` a loop where that is faster, which is on a CPU.

    For gradient steps with weights of their own in every task: one task's
    activations fit the cache, those of a block do not, and the batched products
    of a block are slower than one product.
    """
    if jax.default_backend() != "cpu":
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
      block_size: rows of a block.
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
class TaskMap:
    """How N tasks are laid over blocks and devices. Results differ by rounding only.

    Attributes:
      num_tasks: N.
      microbatch: tasks whose rollouts run as one block. With the number of devices it
        divides N, save for ``padded``.
      gradient_microbatch: tasks whose gradients are taken as one block.
      num_devices: devices that share the tasks, over the mesh axis ``tasks``.
    """

    num_tasks: int
    microbatch: int
    gradient_microbatch: int
    num_devices: int

    @classmethod
    def build(
        cls,
        num_tasks: int,
        microbatch: int | None = None,
        gradient_microbatch: int | None = None,
        num_devices: int | None = None,
        *,
        at_most: int | None = None,
        whole: bool = False,
        num_minibatches: int = 1,
    ) -> "TaskMap":
        """Checks a layout, and chooses what is left out.

        Default: every local device if their number divides N, else the largest
        number that does; with minibatches, what divides the tasks of each, as one program
        has one set of devices; and as blocks that are given allow. On a CPU blocks of at
        most 32 tasks for rollouts and of one task for gradients; elsewhere of at most 4096
        and 256. With ``whole`` all tasks of a device are one block, for gradients that
        tasks share. Blocks for rollouts that are not given are no larger than ``at_most``.

        Raises:
          OptionError: naming the field, where sizes do not divide.
        """
        available = jax.local_device_count()
        check_minibatches(num_tasks, num_minibatches)
        shared = num_tasks // num_minibatches
        devices = num_devices
        if devices is None:
            dividing = [one for one in range(1, available + 1) if shared % one == 0]
            block = max(1, microbatch or gradient_microbatch or 1)
            whole_blocks = [one for one in dividing if num_tasks // one % block == 0]
            devices = max(whole_blocks or dividing)
        if not 1 <= devices <= available or shared % devices:
            of_what = "num_tasks" if num_minibatches == 1 else "num_tasks / num_minibatches"
            raise OptionError(
                "devices",
                f"{devices} is not possible; allowed: a divisor of {of_what} ({shared}) up to "
                f"the {available} that this process sees",
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
        return cls(num_tasks, size, inner, devices)

    @classmethod
    def padded(cls, num_tasks: int, at_most: int | None = None) -> "TaskMap":
        """A layout for ``collect`` alone, of any number of tasks over all devices.

        Blocks need not divide the tasks: the last ones are filled up with tasks that are
        thrown away, and no number of tasks ends in blocks of one.

        Args:
          num_tasks: N.
          at_most: tasks of a block; as many as in ``build`` by default.
        """
        devices = min(num_tasks, jax.local_device_count())
        local = math.ceil(num_tasks / devices)
        wide = _default_sizes()[0] if at_most is None else at_most
        size = math.ceil(local / math.ceil(local / wide))
        return cls(num_tasks, size, size, devices)

    def resized(self, num_tasks: int) -> "TaskMap":
        """The same layout for another number of tasks, as far as it divides.

        On the same devices, or on one: a program cannot have two sets of them.
        """
        devices = self.num_devices if num_tasks % self.num_devices == 0 else 1
        size = divisor(num_tasks // devices, self.microbatch)
        return TaskMap(num_tasks, size, divisor(size, self.gradient_microbatch), devices)

    @property
    def mesh(self) -> Mesh:
        """The devices, on one axis: sums over it need no topology."""
        devices = np.array(jax.local_devices()[: self.num_devices])
        # Auto axes: under the default Explicit ones a vmapped scan fails.
        return Mesh(devices, (_AXIS,), axis_types=(AxisType.Auto,))

    def replicated(self, tree: Tree) -> Tree:
        """Arrays, wherever they lie, on all devices of the layout."""
        return jax.device_put(tree, NamedSharding(self.mesh, PartitionSpec()))

    def mean(self, fn: Callable[[Any, Tree], Tree], shared: Tree, rows: Tree) -> Tree:
        """Mean over tasks. ``fn(shared, block)`` sums over a block of ``microbatch`` rows.

        Args:
          fn: as above.
          shared: what every task sees (theta, ...), passed through.
          rows: leaves ``[N, ...]``.
        """
        return self.mean_and_rows(lambda *args: (fn(*args), ()), shared, rows)[0]

    def mean_and_rows(
        self, fn: Callable[[Any, Tree], tuple[Tree, Tree]], shared: Tree, rows: Tree
    ) -> tuple[Tree, Tree]:
        """``mean`` where ``fn`` also says what becomes of the rows, ``[N, ...]``."""

        def local(shared, rows):
            sums, kept = total_and_rows(lambda block: fn(shared, block), rows, self.microbatch)
            if self.num_devices > 1:
                sums = jax.lax.psum(sums, _AXIS)
            return jax.tree.map(lambda leaf: leaf / self.num_tasks, sums), kept

        return self._spread(local, (PartitionSpec(), PartitionSpec(_AXIS)))(shared, rows)

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

        outputs = self._spread(local, PartitionSpec(_AXIS))(shared, rows)
        return jax.tree.map(lambda leaf: leaf[: self.num_tasks], outputs) if missing else outputs

    def _spread(
        self, local: Callable, out_specs: PartitionSpec | tuple[PartitionSpec, ...]
    ) -> Callable:
        if self.num_devices == 1:
            return local
        in_specs = (PartitionSpec(), PartitionSpec(_AXIS))
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
    return (32, 1) if jax.default_backend() == "cpu" else (4096, 256)


def _repeat_last(leaf: jax.Array, number: int) -> jax.Array:
    return jnp.concatenate([leaf, jnp.repeat(leaf[-1:], number, axis=0)])


def _check_block(field: str, size: int, whole: int, of_what: str) -> None:
    if size < 1 or whole % size:
        allowed = [number for number in range(1, whole + 1) if whole % number == 0]
        raise OptionError(
            field, f"{size} is not possible; allowed: a divisor of {of_what}, one of {allowed}"
        )
