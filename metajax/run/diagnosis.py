"""Where numbers that are not finite come from."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from metajax.core.family import DataFamily, Discrete, Family, Key, TaskFamily
from metajax.core.problem import all_finite

_NUM_TASKS, _MOST_STEPS, _NUM_EXAMPLES = 32, 256, 32


def reason(family: Family) -> str:
    """A sentence on why numbers of a training or a meta-test are not finite."""
    fault = fault_of(family)
    if fault:
        return f"So are {fault}: the family is at fault"
    return "Smaller learning rates or gradient clipping may help"


def fault_of(family: Family) -> str | None:
    """The data of a family that are not finite, in words; None where there are none.

    An environment is sampled with random actions: faults in states that they do not reach stay
    unseen. Terminal observations may be anything.
    """

    def look(key):
        if isinstance(family, TaskFamily):
            return _faulty_steps(family, key)
        return _faulty_examples(family, key)

    found = jax.jit(jax.vmap(look))(jax.random.split(jax.random.key(0), _NUM_TASKS))
    faulty = {name: np.asarray(rows) for name, rows in found.items() if np.any(rows)}
    if not faulty:
        return None
    name = min(faulty, key=lambda name: faulty[name].any(axis=0).argmax())
    number = faulty[name].any(axis=1).sum()
    how = ", under random actions" if isinstance(family, TaskFamily) else ""
    return f"{name} of {family.spec.name} in {number} of {_NUM_TASKS} tasks{how}"


def _faulty_steps(family: TaskFamily, key: Key) -> dict[str, jax.Array]:
    """Bools ``[steps]`` of one task by kind of number."""
    key_task, key_reset, key_steps = jax.random.split(key, 3)
    task = family.sample(key_task)
    space = family.spec.action_space

    def draw(key):
        if isinstance(space, Discrete):
            return jax.random.randint(key, (), 0, space.num_actions)
        low, high = (jnp.clip(jnp.asarray(ends), -10, 10) for ends in (space.low, space.high))
        return jax.random.uniform(key, (space.size,), minval=low, maxval=high)

    def step(carry, key):
        state, observation = carry
        key_action, key_step = jax.random.split(key)
        state, seen = family.step(key_step, task, state, draw(key_action))
        faulty = {"observations": ~all_finite(observation), "rewards": ~all_finite(seen.reward)}
        return (state, seen.observation), faulty

    state, first = family.reset(key_reset, task)
    number = min(2 * family.spec.episode_length, _MOST_STEPS)
    return jax.lax.scan(step, (state, first.observation), jax.random.split(key_steps, number))[1]


def _faulty_examples(family: DataFamily, key: Key) -> dict[str, jax.Array]:
    key_task, key_draw = jax.random.split(key)
    examples = family.draw(key_draw, family.sample(key_task), _NUM_EXAMPLES)
    each = jax.vmap(all_finite)
    return {"inputs": ~each(examples.inputs), "targets": ~each(examples.targets)}
