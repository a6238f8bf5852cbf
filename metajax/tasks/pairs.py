"""Pairs to be found among others, the data of contrastive learning."""

import jax
import jax.numpy as jnp

from metajax.core.family import DataFamily, DataSpec, Examples
from metajax.losses import partners


def pairs(family: DataFamily, num_tasks: int, set_size: int) -> DataFamily:
    """Members of pairs from several tasks, each labelled with the number of its partner.

    With classes, two examples of one class are a pair, and an input is one example. Otherwise
    two sets of examples of one task are a pair, and an input is one set, its inputs and its
    targets side by side, ``[set_size, inputs + outputs]``. Row i and row n + i of the 2 n rows
    are a pair; classes that two tasks share by chance count as different ones.

    Args:
      family: Family of the tasks.
      num_tasks: Number of tasks whose members are told apart; they are one task of the result.
      set_size: Number of examples of a set.
    """
    spec = family.spec
    half = spec.num_outputs if spec.classes else set_size
    num_pairs = num_tasks * (half if spec.classes else 1)
    shape = spec.input_shape
    if not spec.classes:
        (size,) = shape
        shape = set_size, size + spec.num_outputs

    def sample(key):
        return jax.vmap(family.sample)(jax.random.split(key, num_tasks))

    def draw(key, tasks, num_examples):
        del num_examples  # a partner is among all the others
        keys = jax.random.split(key, num_tasks)
        drawn = jax.vmap(lambda key, task: family.draw(key, task, 2 * half))(keys, tasks)
        rows = drawn.inputs if spec.classes else jnp.concatenate([*drawn], axis=-1)
        members = jnp.swapaxes(rows.reshape(num_tasks, 2, half, *rows.shape[2:]), 0, 1)
        return Examples(members.reshape(2 * num_pairs, *shape), partners(num_pairs))

    name = f"pairs of {spec.name}"
    return DataFamily(DataSpec(name, shape, 2 * num_pairs, classes=True), sample, draw)
