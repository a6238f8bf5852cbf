"""Tasks that are seen: the setting of the oracle, which has nothing to find out."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, TypeVar

from metajax.core.options import Options

if TYPE_CHECKING:
    import jax

    from metajax.core.family import DataFamily, TaskFamily, Tree

    Known = TypeVar("Known", TaskFamily, DataFamily)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Revealable(Options):
    """Options of every family whose tasks a learner may see.

    Attributes:
      reveal_task: Whether each observation, or input, ends with the numbers of the task. What
        joint training reaches then is the oracle's: no adaptation can know more.
    """

    reveal_task: bool = False

    def shown(self, family: Known) -> Known:
        """The family of these options."""
        return revealed(family) if self.reveal_task else family


def revealed(family: Known) -> Known:
    """The family whose observations, or inputs, are vectors that end with the numbers of the task.

    These are all leaves of the task, one after another, as float32.
    """
    import jax
    import jax.numpy as jnp
    from jax.flatten_util import ravel_pytree

    from metajax.core.family import DataFamily

    def numbers(task: Tree) -> jax.Array:
        return ravel_pytree(task)[0].astype(jnp.float32)

    (added,) = jax.eval_shape(lambda key: numbers(family.sample(key)), jax.random.key(0)).shape

    if isinstance(family, DataFamily):
        (size,) = family.spec.input_shape

        def draw(key, task, num_examples):
            examples = family.draw(key, task, num_examples)
            beside = jnp.broadcast_to(numbers(task), (num_examples, added))
            return examples._replace(inputs=jnp.concatenate([examples.inputs, beside], axis=1))

        spec = dataclasses.replace(family.spec, input_shape=(size + added,))
        return family._replace(spec=spec, draw=draw, pool=None, bayes=None)

    (size,) = family.spec.observation_shape

    def seeing(result, task):
        state, timestep = result

        def seen(observation):
            return jnp.concatenate([observation.astype(jnp.float32), numbers(task)])

        return state, timestep._replace(
            observation=seen(timestep.observation),
            final_observation=seen(timestep.final_observation),
        )

    return family._replace(
        spec=dataclasses.replace(
            family.spec, observation_shape=(size + added,), observation_dtype="float32"
        ),
        reset=lambda key, task: seeing(family.reset(key, task), task),
        step=lambda key, task, *rest: seeing(family.step(key, task, *rest), task),
        advance=lambda key, task, *rest: seeing(family.advance(key, task, *rest), task),
    )
