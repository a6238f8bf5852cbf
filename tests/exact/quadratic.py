"""A learner whose meta-gradients are known in closed form.

A task is a point c, the only observation of its only episode; theta is a point w,
the loss of both loops is ``|w - c|^2 / 2``, and nothing is random but c.
"""

import jax
import jax.numpy as jnp
import optax

from metajax import losses
from metajax.core.family import Box, Spec, TaskFamily, TimeStep
from metajax.core.problem import Problem
from metajax.core.types import Actor, ActorOutput, Chunk, Learner, Outputs
from metajax.data.fresh import fresh
from metajax.inner import as_rule, descent, step_sizes

SIZE = 3


def family() -> TaskFamily:
    """Tasks are normal points ``[D]``; an episode is one step."""
    spec = Spec("points", (SIZE,), Box((-1.0,), (1.0,)), episode_length=1)
    no = jnp.zeros((), bool)

    def reset(key, task):
        del key
        return (), TimeStep(task, jnp.zeros(()), no, no, task)

    def advance(key, task, state, action):
        del key, action
        return state, TimeStep(task, jnp.zeros(()), no, ~no, task)

    return TaskFamily(spec, lambda key: jax.random.normal(key, (SIZE,)), reset, advance, advance)


def learner(rates=(), rule=None, **options) -> Learner:
    """Gradient descent on the loss; the predicted value is w, ``[T, E, D]``."""

    def predict(weights, chunk):
        zeros = jnp.zeros(chunk.mask.shape)
        return Outputs((), zeros, zeros, jnp.broadcast_to(weights, chunk.observation.shape))

    def act(noise, theta, phi, memory, seen):
        del noise, theta, phi, seen
        return ActorOutput(jnp.zeros(1), jnp.zeros(1), jnp.zeros(())), memory

    return descent(
        lambda key: jnp.arange(1.0, 1 + SIZE),
        predict,
        losses.term(loss),
        as_rule(rule or optax.sgd(step_sizes(rates))),
        actor=lambda weights_of: Actor(lambda theta: (), act, lambda old, new: jnp.zeros(())),
        **options,
    )


def problem(learner: Learner, num_adaptations: int, num_streams: int = 1) -> Problem:
    """The learner in trials of one-step episodes."""
    return fresh(family(), learner, num_adaptations=num_adaptations, num_streams=num_streams)


def loss(outputs: Outputs, chunk: Chunk) -> jax.Array:
    """``|w - c|^2 / 2``, mean over the chunk."""
    squared = jnp.sum((outputs.value - chunk.observation) ** 2, axis=-1)
    return 0.5 * jnp.mean(squared)
