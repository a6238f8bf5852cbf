"""Training: a scan of meta-iterations, in blocks."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from metajax.core.algorithm import MetaAlgorithm, MetaState
from metajax.core.checks import (
    check_algorithm,
    check_integer,
    check_key,
    check_tree,
    is_traced,
)
from metajax.core.family import Key
from metajax.core.kinds import show
from metajax.core.options import OptionError

Infos = dict[str, Any]

_MOST_KEPT = 32
_kept: dict[tuple[MetaAlgorithm, int], Any] = {}
"""The latest programs of ``_traced_block``, none of which holds anything that is traced."""


def initial_state(algorithm: MetaAlgorithm, key: Key) -> MetaState:
    """The state that ``train`` starts from with this key."""
    check_algorithm(algorithm)
    check_key(key)
    # Compiled, it owns its arrays, which training overwrites: a learner may hand out arrays
    # that it keeps, such as trained weights.
    return jax.jit(algorithm.init)(jax.random.split(key)[0])


def _block(algorithm: MetaAlgorithm, length: int) -> Any:
    def run(key, state, start):
        key_steps = jax.random.split(key)[1]

        def iteration(state, index):
            return algorithm.step(jax.random.fold_in(key_steps, index), state)

        return jax.lax.scan(iteration, state, start + jnp.arange(length, dtype=jnp.uint32))

    return jax.jit(run, donate_argnums=1)


@functools.lru_cache(maxsize=32)
def _compiled_block(algorithm: MetaAlgorithm, length: int, avals: Any) -> Callable:
    """The block as a program, which takes its state from wherever it lies.

    A first state lies on one device and what a block returns on all that share its
    tasks; left to itself ``jax.jit`` would compile once for each.
    """
    leaves, structure = avals
    program = _block(algorithm, length).lower(*jax.tree.unflatten(structure, leaves)).compile()
    shardings = program.input_shardings[0]
    return lambda *arguments: program(*jax.device_put(arguments, shardings))


def _run_block(algorithm: MetaAlgorithm, length: int, *arguments: Any) -> tuple[MetaState, Infos]:
    leaves, structure = jax.tree.flatten(arguments)
    shapes = tuple(jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves)
    return _compiled_block(algorithm, length, (shapes, structure))(*arguments)


def _traced_block(
    algorithm: MetaAlgorithm, length: int, *arguments: Any
) -> tuple[MetaState, Infos]:
    """The block where it may be part of a larger program.

    An algorithm may then hold what is traced, which no cache may keep. It shows in the results
    at the latest, so a program is kept only once it has run.
    """
    try:
        kept = _kept.get((algorithm, length))
    except TypeError:  # a traced option of the family, which has no hash
        kept = None
    program = kept or _block(algorithm, length)
    results = program(*arguments)
    if kept is None and not is_traced((arguments, results)):
        if len(_kept) == _MOST_KEPT:
            del _kept[next(iter(_kept))]
        _kept[algorithm, length] = program
    return results


def _hundredth(total: int) -> int:
    """About a hundredth of iterations; if it can be, without a rest that is compiled anew."""
    least = max(1, total // 100)
    return next((size for size in range(least, 2 * least) if total % size == 0), least)


def train(
    algorithm: MetaAlgorithm,
    key: Key,
    num_iterations: int,
    *,
    state: MetaState | None = None,
    start: int = 0,
    block_size: int | None = None,
    on_block: Callable[[int, MetaState, Infos], bool | None] | None = None,
    progress: bool = False,
) -> tuple[MetaState, Infos]:
    """Runs meta-iterations ``start .. num_iterations - 1``.

    The iterations of a block are one ``lax.scan`` that never leaves the device.
    Iteration i draws its randomness from ``key`` and i alone, so how a run is cut
    into blocks, or whether it was resumed, does not change a bit of the result.

    Args:
      algorithm: The algorithm to train.
      key: Randomness of the whole run; the same one when a run is continued.
      num_iterations: Iteration to end at, counted from the beginning of the run.
      state: State to go on from, which ``train`` then owns and overwrites. Default: a new one.
      start: Iteration that ``state`` has reached.
      block_size: Iterations between two calls of ``on_block``, or two looks of ``progress``.
        Default: all, with ``progress`` about a hundredth.
      on_block: ``(reached, state, infos)`` on the host, with numpy ``infos`` of the block; a
        true result stops the run. ``state`` is on loan: copy what should outlive the call.
      progress: Whether to show on standard error how far training is, the smoothed return and
        the time left: a bar on a terminal, a line now and then elsewhere.

    Returns:
      The last state, and a history: each ``info`` of ``algorithm.step`` stacked to
      ``[iterations, ...]`` (env_steps: transitions, returns: undiscounted), of numpy with
      ``on_block`` or ``progress``. Without them this works inside ``jax.jit`` and ``jax.vmap``.

    Raises:
      OptionError: naming the argument that is of another kind, or belongs to another algorithm.
    """
    check_algorithm(algorithm)
    order = "the order is train(algorithm, key, number)"
    check_integer("start", start, 0)
    check_integer("num_iterations", num_iterations, start, order)
    check_key(key)
    if block_size is not None:
        check_integer("block_size", block_size, 1)
    asked = {"on_block": (on_block is not None, "called"), "progress": (progress, "shown")}
    for name, (given, done) in asked.items():
        if given and is_traced((key, state)):
            problem = f"cannot be {done} inside of jax.jit or jax.vmap; allowed: none"
            raise OptionError(name, problem)
    allowed = "a state of this algorithm, as train and initial_state return it"
    if state is not None:
        if not isinstance(state, MetaState):
            raise OptionError("state", f"{show(state)} is not a MetaState; allowed: {allowed}")
        like = jax.eval_shape(algorithm.init, jax.random.key(0))
        check_tree("state", state, like, allowed)
    elif start:
        raise OptionError("state", f"is missing; allowed: the state that start={start} has reached")
    total = num_iterations - start
    if progress:
        from metajax.progress import progress as shown

        with shown(algorithm, start, num_iterations) as screen:

            def look(reached: int, state: MetaState, infos: Infos) -> bool | None:
                screen.update(reached, infos)
                return on_block is not None and on_block(reached, state, infos)

            given: Any = {"state": state, "start": start, "on_block": look}
            size = block_size or _hundredth(total)
            return train(algorithm, key, num_iterations, block_size=size, **given)
    current = initial_state(algorithm, key) if state is None else state
    size = total if block_size is None else min(block_size, total)
    # On the host a block may be compiled ahead; under a transformation it may not.
    run = _run_block if on_block is not None else _traced_block
    history = []
    while start < num_iterations:
        length = min(size, num_iterations - start)
        current, infos = run(algorithm, length, key, current, jnp.uint32(start))
        start += length
        history.append(infos)
        if on_block is not None:
            history[-1] = infos = jax.device_get(infos)
            if on_block(start, current, infos):
                break
    if len(history) == 1:
        return current, history[0]
    stack = np.concatenate if on_block is not None else jnp.concatenate
    return current, jax.tree.map(lambda *leaves: stack(leaves), *history) if history else {}
